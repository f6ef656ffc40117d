"""One trial: the agents of one prompt, called in the order their inputs allow, timed.

The same code runs inline, in a worker's chunk and, one step at a time, as the nodes of an agent-granular
graph: that is why all of them give the same records.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from quark_bench.agent import Call, Input, Model, Usage, canonical, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import describe
from quark_bench.execute.attempt import Attempted, Callee, Failed, attempt, handed_on, joined_errors, make_callee
from quark_bench.execute.breakers import PASSED, Breakers
from quark_bench.execute.caching import Caching
from quark_bench.execute.deadlines import Branch, Deadlines
from quark_bench.execute.decide import Failure, Next, after_failure, backoff_s
from quark_bench.execute.outcome import FAILED, FALLBACK, GAVE_RESULT, OK, Outcome, conclude
from quark_bench.execute.threads import EngineFaultError, Threads
from quark_bench.pipeline import Pipeline, Step
from quark_bench.plan import Strategy, trial_seed
from quark_bench.record import Record, Span, SpanStatus

clock: Callable[[], float] = time.perf_counter
"""Monotonic, and on Linux shared by all processes of a machine."""

NOTHING_USED = Usage()
"""Stands for agents that take no `call`; never written to."""

Wants = tuple[tuple[Input, int], ...]
"""An agent's inputs, each with the position of the step that gives it."""


class Wired:
    """A pipeline made ready in this process.

    Raises ExecutionError, naming the agent, for a set-up that fails.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.missing = tuple(len(step.needs) for step in self.steps)
        self.wants = tuple(tuple(zip(step.agent.inputs, step.needs, strict=True)) for step in self.steps)
        self.roots = tuple(step.index for step in self.steps if not step.needs)
        self.callees = tuple(make_callee(step.agent, step.index == pipeline.answer_index) for step in self.steps)
        limits = [link.policy.timeout_s for step in self.steps for link in step.agent.chain()]
        self.shortest_limit_s = min((limit for limit in limits if limit is not None), default=math.inf)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a process offers its trials."""

    worker: str
    threads: Threads
    deadlines: Deadlines
    breakers: Breakers = field(default_factory=Breakers)
    caching: Caching | None = None
    """Asked for what agents with `cache=True` have given before; never for warm-ups."""


class Case(NamedTuple):
    """One trial, as a worker sees it. `prompt` is blind."""

    prompt: Prompt
    repeat: int
    seed: int
    run_key: str

    @classmethod
    def of(cls, prompt: Prompt, arm: str, repeat: int, run_seed: int, run_key: str) -> Case:
        # Arms share their seeds but not their idempotency keys: a provider would answer the second arm from memory.
        return cls(prompt, repeat, trial_seed(run_seed, prompt.id, repeat), f"{run_key}-{arm}")


async def run_trial(wired: Wired, case: Case, strategy: Strategy, bench: Bench) -> tuple[Record, list[Span]]:
    """Run every agent of the pipeline for one prompt and say how it went. Raises only when cancelled.

    Where the engine has a fault, agents that have been called keep their results and the others are called one after
    another.
    """
    admitted_s = clock()
    outcomes: list[Outcome | None] = [None] * len(wired.steps)
    if strategy is Strategy.SEQUENTIAL:
        await _one_by_one(wired, case, bench, outcomes)
    else:
        fault = await _Parallel(wired, case, bench, outcomes).run()
        if fault is not None:
            await _one_by_one(wired, case, bench, outcomes, fault)
    done = [outcome for outcome in outcomes if outcome]
    return conclude(wired.pipeline, case.prompt, done, admitted_s, max(outcome.spans[-1].end_s for outcome in done))


async def _one_by_one(
    wired: Wired, case: Case, bench: Bench, outcomes: list[Outcome | None], fault: str | None = None
) -> None:
    """Call the agents that have no outcome yet, in declared order; `fault` is why they have none."""
    branch = open_branch(bench)
    try:
        for step in wired.steps:
            if outcomes[step.index] is None:
                outcome = await run_step(wired, step, case, outcomes, branch, bench)
                outcomes[step.index] = outcome if fault is None else outcome._replace(fault=fault)
    finally:
        bench.deadlines.forget(branch)


class _Parallel:
    """Starts each agent the moment its last input is there.

    A branch goes on with the first agent it made ready and starts a task for each further one, so a chain
    costs no task at all and no agent waits for a sibling that it does not need. After a `fault` of the engine,
    nothing new is called.
    """

    __slots__ = ("bench", "case", "done", "fault", "missing", "open", "outcomes", "tasks", "wired")

    def __init__(self, wired: Wired, case: Case, bench: Bench, outcomes: list[Outcome | None]) -> None:
        self.wired = wired
        self.case = case
        self.bench = bench
        self.outcomes = outcomes
        self.missing = list(wired.missing)
        self.open = 1
        self.done: asyncio.Future[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.fault: str | None = None

    async def run(self) -> str | None:
        """Returns once every call has ended: the fault that kept further ones from being made, or None."""
        first, *others = self.wired.roots
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

    def _start(self, index: int) -> None:
        branch = self._follow(index)
        try:
            task = asyncio.create_task(branch)
        except RuntimeError as error:
            branch.close()
            self.fault = describe(EngineFaultError(f"the event loop started no task ({error}); went on sequentially"))
            return
        self.open += 1
        self.tasks.append(task)

    async def _follow(self, index: int) -> None:
        branch = open_branch(self.bench)
        next_index: int | None = index
        try:
            while next_index is not None and self.fault is None:
                step = self.wired.steps[next_index]
                outcome = await run_step(self.wired, step, self.case, self.outcomes, branch, self.bench, alone=False)
                self.outcomes[next_index] = outcome
                next_index = self._advance(step)
        except EngineFaultError as fault:
            self.fault = f"{describe(fault)}; went on sequentially"
        except Exception as error:
            if self.done is None or self.done.done():
                raise
            self.done.set_exception(error)
        finally:
            self.bench.deadlines.forget(branch)
            self.open -= 1
            if self.open == 0 and self.done is not None and not self.done.done():
                self.done.set_result(None)

    def _advance(self, step: Step) -> int | None:
        follow: int | None = None
        for fed in step.feeds:
            self.missing[fed] -= 1
            if self.missing[fed] == 0:
                if follow is None:
                    follow = fed
                else:
                    self._start(fed)
        return follow


def open_branch(bench: Bench) -> Branch:
    """The running task, watched for calls that outlive their limit."""
    task = asyncio.current_task()
    assert task is not None, "trials run inside a task"
    branch = Branch(task)
    bench.deadlines.watch(branch)
    return branch


async def run_step(
    wired: Wired,
    step: Step,
    case: Case,
    outcomes: list[Outcome | None],
    branch: Branch,
    bench: Bench,
    alone: bool = True,
) -> Outcome:
    """One agent's call, or what an equal one gave; `outcomes` holds those of the agents it needs."""
    arguments = _arguments(step, wired.wants[step.index], case, outcomes)
    if isinstance(arguments, str):
        return _skipped(step, case, arguments, clock(), bench)
    if bench.caching is not None and step.agent.policy.cache and case.repeat >= 0:
        call = functools.partial(_call_step, wired, step, case, arguments, branch, bench, alone)
        return await _reuse_or_call(bench.caching, wired.callees[step.index], case, arguments, bench.worker, call)
    return await _call_step(wired, step, case, arguments, branch, bench, alone)


async def _call_step(
    wired: Wired,
    step: Step,
    case: Case,
    arguments: dict[str, Any],
    branch: Branch,
    bench: Bench,
    alone: bool,
) -> Outcome:
    """All attempts of one agent's call, and of its fallback's.

    A call for which no thread can be started is made on the event loop itself where nothing of its trial stands
    beside it (`alone`): the last resort, which no limit can cut short. Elsewhere EngineFaultError is raised, unless
    an attempt has been made already.
    """
    ready_s = clock()
    callee = wired.callees[step.index]
    threads: Threads | None = bench.threads
    spans: tuple[Span, ...] = ()
    errors: tuple[str, ...] = ()
    fault: str | None = None
    cost_usd, tried = 0.0, 0
    while True:
        tried += 1
        usage, given = NOTHING_USED, arguments
        if callee.agent.takes_call:
            call = _call(callee, case, arguments, len(spans) + 1, wired.pipeline.model)
            usage, given = call.usage, {**arguments, "call": call}
        if callee.guard is None:
            start_s = clock()
            value, answer, failed = await attempt(callee, given, branch, start_s, threads)
            end_s = clock()
        else:
            start_s, end_s, (value, answer, failed) = await _guarded(callee, given, case, branch, bench, threads)
        if failed is None:
            status = FALLBACK if errors else OK
        else:
            status, follows = FAILED, _what_follows(callee, failed, tried)
            if follows is Next.GO_ON_SEQUENTIALLY:
                fault = _last_resort(failed, alone or len(spans) > 0)
                threads, tried = None, tried - 1
                continue
        cost_usd += usage.cost_usd
        times_s = (ready_s, start_s, end_s)
        spans += (_span((case.prompt.id, step.agent.name), len(spans) + 1, status, times_s, failed, usage, bench),)
        if failed is None:
            return Outcome(status, value, spans, answer, errors[0] if errors else None, cost_usd, fault)
        if follows is Next.RETRY:
            await asyncio.sleep(backoff_s(callee.agent.policy, tried, stable_hash(case.seed, callee.agent.name)))
        else:
            errors += (failed.error,)
            if follows is Next.GIVE_UP or callee.fallback is None:
                return Outcome(status, None, spans, None, joined_errors(errors), cost_usd, fault)
            arguments = handed_on(arguments, callee.fallback.agent, case.prompt)
            callee, tried = callee.fallback, 0
        ready_s = clock()


async def _reuse_or_call(
    caching: Caching,
    callee: Callee,
    case: Case,
    arguments: dict[str, Any],
    worker: str,
    call: Callable[[], Awaitable[Outcome]],
) -> Outcome:
    """What an equal call has given, or is about to give, else this one's. All the time that it took was waiting."""
    ready_s = clock()
    outcome = await caching.outcome(callee, arguments, case.seed, call)
    if outcome.spans:
        return outcome
    there_s = clock()
    times = (there_s, there_s, there_s - ready_s)
    span = Span(case.prompt.id, callee.agent.name, 0, outcome.status, *times, outcome.error, 0, 0, None, 0.0, worker)
    return outcome._replace(spans=(span,))


def _arguments(step: Step, wants: Wants, case: Case, outcomes: list[Outcome | None]) -> dict[str, Any] | str:
    """Inputs and prompt by parameter, or why the agent is skipped."""
    arguments: dict[str, Any] = {"prompt": case.prompt} if step.agent.takes_prompt else {}
    for wanted, need in wants:
        outcome = outcomes[need]
        if outcome is not None and outcome.status in GAVE_RESULT:
            arguments[wanted.parameter] = outcome.value
        elif wanted.optional:
            arguments[wanted.parameter] = wanted.default
        else:
            return _skip_reason(wanted, outcome)
    return arguments


def _span(
    whose: tuple[str, str],
    attempt: int,
    status: SpanStatus,
    times_s: tuple[float, float, float],
    failed: Failed | None,
    usage: Usage,
    bench: Bench,
) -> Span:
    """One attempt of the agent of a prompt, ready, begun and ended at these times."""
    ready_s, start_s, end_s = times_s
    error = None if failed is None else failed.error
    spent = (usage.tokens_in, usage.tokens_out, usage.first_token_s, usage.simulated_s)
    # Takes half as long as Span(...), of which every call makes one.
    return Span._make((*whose, attempt, status, start_s, end_s, start_s - ready_s, error, *spent, bench.worker))


def _skip_reason(wanted: Input, outcome: Outcome | None) -> str:
    how = outcome.status.value if outcome is not None else "missing"
    return f"skipped: {canonical(wanted.parameter)} is {how}"


def _skipped(step: Step, case: Case, reason: str, ready_s: float, bench: Bench) -> Outcome:
    never = (0, SpanStatus.SKIPPED, ready_s, ready_s, 0.0, reason, 0, 0, None, 0.0, bench.worker)
    span = Span(case.prompt.id, step.agent.name, *never)
    return Outcome(SpanStatus.SKIPPED, None, (span,), None, reason, 0.0)


def _call(callee: Callee, case: Case, arguments: dict[str, Any], attempt: int, model: Model | None) -> Call:
    agent = callee.agent
    which = (agent.name, case.prompt.id, case.repeat, attempt, case.seed)
    # By position: with twelve keywords this would take twice as long.
    return Call(*which, callee.limit_s, callee.ready, case.run_key, model, not agent.is_async, Usage(), arguments)


def _what_follows(callee: Callee, failed: Failed, tried: int) -> Next:
    return after_failure(callee.agent.policy, failed.kind, tried, callee.fallback is not None)


def _last_resort(failed: Failed, may_be_made: bool) -> str:
    """The fault, told, of a call that is made on the event loop. Raises it where the call may not be made yet."""
    if not may_be_made:
        raise EngineFaultError(failed.error)
    return describe(EngineFaultError(f"{failed.error}; called on the event loop"))


async def _guarded(
    callee: Callee,
    arguments: dict[str, Any],
    case: Case,
    branch: Branch,
    bench: Bench,
    threads: Threads | None,
) -> tuple[float, float, Attempted]:
    """One attempt, if the agent's breaker allows it: when it began and ended, and what it gave."""
    guard = callee.guard
    assert guard is not None, "only agents with a breaker come here"
    key = (case.run_key, case.repeat < 0, guard.name)
    admission = PASSED if bench.breakers.is_closed(key, guard) else await bench.breakers.admit(key, guard)
    start_s = clock()
    if admission.refused is not None:
        return start_s, start_s, (None, None, Failed(Failure.REFUSED, admission.refused))
    attempted = await attempt(callee, arguments, branch, start_s, threads)
    end_s = clock()
    failed = attempted[2]
    if failed is None or failed.kind is not Failure.ENGINE:
        bench.breakers.settle(key, guard, failed is None, admission.probe)
    return start_s, end_s, attempted
