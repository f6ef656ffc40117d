"""One trial: the agents of one prompt, called in the order their inputs allow, timed.

The same code runs inline, in a worker's chunk and, one step at a time, as the nodes of an agent-granular
graph: that is why all of them give the same records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from quark_bench.errors import describe
from quark_bench.execute.outcome import OK, Finished, Outcome, conclude
from quark_bench.execute.steering import Steering
from quark_bench.execute.step import Bench, Case, Course, Wired, clock, leave_out, open_branch, run_step
from quark_bench.execute.threads import EngineFaultError
from quark_bench.pipeline import Step
from quark_bench.plan import Strategy


async def run_trial(
    wired: Wired, case: Case, strategy: Strategy, bench: Bench, steering: Steering | None = None
) -> Finished:
    """Run the agents of the pipeline for one prompt and say how it went: all of them, or those that `steering` tells.

    Raises only when cancelled. Where the engine has a fault, agents that have been called keep their results and the
    others are called one after another.
    """
    admitted_s = clock()
    course = Course(wired, case, bench, [None] * len(wired.steps), steering)
    if steering is not None:
        _settle_beforehand(course, steering)
    if strategy is Strategy.SEQUENTIAL:
        await _one_by_one(course)
    else:
        fault = await _Parallel(course).run()
        if fault is not None:
            await _one_by_one(course, fault)
    done = [outcome for outcome in course.outcomes if outcome]
    return conclude(wired.pipeline, case.prompt, done, admitted_s, max(outcome.spans[-1].end_s for outcome in done))


def _settle_beforehand(course: Course, steering: Steering) -> None:
    """Outcomes of the agents that are not called: the trial does not need them, or has their answer from elsewhere."""
    for step in course.wired.steps:
        if step.index in steering.given:
            told = leave_out(course, step, "given by the caller")
            course.outcomes[step.index] = told._replace(status=OK, value=steering.given[step.index])
        elif step.index in steering.unneeded:
            course.outcomes[step.index] = leave_out(course, step, "not asked for")


async def _one_by_one(course: Course, fault: str | None = None) -> None:
    """Call the agents that have no outcome yet, in declared order; `fault` is why they have none."""
    branch = open_branch(course.bench)
    steps: Sequence[Step] = course.wired.steps
    if course.steering is not None and course.steering.late:
        late = course.steering.late
        steps = sorted(steps, key=lambda step: step.index in late)
    try:
        for step in steps:
            if course.outcomes[step.index] is None:
                outcome = await run_step(course, step, branch)
                outcome = course.outcomes[step.index] = outcome if fault is None else outcome._replace(fault=fault)
                if course.steering is not None:
                    _pass_over(course, course.steering, course.steering.ended(step, outcome))
    finally:
        course.bench.deadlines.forget(branch)


def _pass_over(course: Course, steering: Steering, unneeded: Iterable[int]) -> list[Step]:
    """Settle agents of which it was found that the trial does not need them: those that had no outcome yet."""
    passed: list[Step] = []
    for index in sorted(unneeded):
        outcome, step = course.outcomes[index], course.wired.steps[index]
        if outcome is not None:
            course.outcomes[index] = outcome.unneeded()
            continue
        left_out = course.outcomes[index] = leave_out(course, step)
        passed.append(step)
        if index not in steering.begun:
            steering.ended(step, left_out)
    return passed


class _Parallel:
    """Starts each agent the moment its last input is there.

    A branch goes on with the first agent it made ready and starts a task for each further one, so a chain
    costs no task at all and no agent waits for a sibling that it does not need. After a `fault` of the engine,
    nothing new is called.
    """

    __slots__ = ("course", "done", "fault", "missing", "open", "outcomes", "steps", "tasks")

    def __init__(self, course: Course) -> None:
        self.course = course
        self.steps = course.wired.steps
        self.outcomes = course.outcomes
        self.missing = list(course.wired.missing)
        self.open = 1
        self.done: asyncio.Future[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.fault: str | None = None

    async def run(self) -> str | None:
        """Returns once every call has ended: the fault that kept further ones from being made, or None."""
        steering = self.course.steering
        first, *others = self.course.wired.roots if steering is None else self._steered_roots(steering)
        for index in others:
            self._start(index)
        try:
            await self._follow(first)
            if self.open:
                self.done = asyncio.get_running_loop().create_future()
                await self.done
        except asyncio.CancelledError:
            for task in self.tasks:
                task.cancel()
            raise
        return self.fault

    def _steered_roots(self, steering: Steering) -> Sequence[int | None]:
        """The agents that wait for nothing; None where no agent is called at all."""
        for index in steering.late:
            self.missing[index] += 1
        for step in self.steps:
            if self.outcomes[step.index] is not None:
                for follower in steering.follow(step):
                    self.missing[follower] -= 1
        ready = [n for n, missing in enumerate(self.missing) if missing == 0 and self.outcomes[n] is None]
        return ready or (None,)

    def _start(self, index: int | None) -> None:
        branch = self._follow(index)
        try:
            task = asyncio.create_task(branch)
        except RuntimeError as error:
            branch.close()
            self.fault = describe(EngineFaultError(f"the event loop started no task ({error}); went on sequentially"))
            return
        self.open += 1
        self.tasks.append(task)

    async def _follow(self, next_index: int | None) -> None:
        course = self.course
        branch = open_branch(course.bench)
        try:
            while next_index is not None and self.fault is None:
                step = self.steps[next_index]
                outcome = await run_step(course, step, branch, alone=False)
                if course.steering is None:
                    self.outcomes[next_index] = outcome
                    next_index = self._advance(step.feeds)
                else:
                    next_index = self._steer(course.steering, step, outcome)
        except EngineFaultError as fault:
            self.fault = f"{describe(fault)}; went on sequentially"
        except Exception as error:
            if self.done is None or self.done.done():
                raise
            self.done.set_exception(error)
        finally:
            course.bench.deadlines.forget(branch)
            self.open -= 1
            if self.open == 0 and self.done is not None and not self.done.done():
                self.done.set_result(None)

    def _advance(self, followers: Iterable[int]) -> int | None:
        """An agent has ended that these waited for: start those that wait for nothing more, but for the first."""
        first: int | None = None
        for index in followers:
            self.missing[index] -= 1
            if self.missing[index] == 0 and self.outcomes[index] is None:
                if first is None:
                    first = index
                else:
                    self._start(index)
        return first

    def _steer(self, steering: Steering, step: Step, outcome: Outcome) -> int | None:
        """Take in how an agent ended, and pass over those that are not needed because of it; where to go on."""
        if self.outcomes[step.index] is not None:  # it was passed over while it ran, or waited for its slot
            if step.index in steering.begun:
                self.outcomes[step.index] = outcome.unneeded()
                steering.ended(step, outcome)
            return None
        self.outcomes[step.index] = outcome
        found = steering.ended(step, outcome)
        for passed in _pass_over(self.course, steering, found):
            freed = self._advance(steering.follow(passed))
            if freed is not None:
                self._start(freed)
        return self._advance(steering.follow(step))
