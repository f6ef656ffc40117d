"""One step of a trial: an agent's call with all its attempts, and its fallback's, timed."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from quark_bench.agent import Call, Input, canonical, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import describe
from quark_bench.execute.asked import Asked
from quark_bench.execute.attempt import Attempted, Callee, Failed, attempt, handed_on, joined_errors, make_callee
from quark_bench.execute.breakers import PASSED, Breakers
from quark_bench.execute.caching import Caching
from quark_bench.execute.deadlines import Branch, Deadlines
from quark_bench.execute.decide import Failure, Next, after_failure, backoff_s
from quark_bench.execute.outcome import FAILED, FALLBACK, GAVE_RESULT, OK, Outcome, not_called
from quark_bench.execute.permits import Permits
from quark_bench.execute.steering import Steering
from quark_bench.execute.threads import EngineFaultError, Threads
from quark_bench.execute.values import output_text
from quark_bench.model import Model, Usage
from quark_bench.pipeline import Pipeline, Step
from quark_bench.plan import trial_seed
from quark_bench.record import ModelCall, Span, SpanStatus

clock: Callable[[], float] = time.perf_counter
"""Monotonic, and on Linux shared by all processes of a machine."""

NOTHING_USED = Usage()
"""Stands for agents that take no `call`; never written to."""

Wants = tuple[tuple[Input, int], ...]
"""An agent's inputs, each with the position of the step that gives it."""


class Wired:
    """A pipeline made ready in this process.

    Raises ExecutionError, naming the agent, for a set-up that fails, and for a model that cannot be asked.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.missing = tuple(len(step.needs) for step in self.steps)
        self.wants = tuple(tuple(zip(step.agent.inputs, step.needs, strict=True)) for step in self.steps)
        self.roots = tuple(step.index for step in self.steps if not step.needs)
        make_ready = getattr(pipeline.model, "make_ready", None)
        if make_ready is not None:
            make_ready()
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
    permits: Permits = field(default_factory=Permits)
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


@dataclass(slots=True)
class Course:
    """A trial on its way; `outcomes` holds how the agents that have ended did, by position."""

    wired: Wired
    case: Case
    bench: Bench
    outcomes: list[Outcome | None]
    steering: Steering | None = None


def open_branch(bench: Bench) -> Branch:
    """The running task, watched for calls that outlive their limit."""
    task = asyncio.current_task()
    assert task is not None, "trials run inside a task"
    branch = Branch(task)
    bench.deadlines.watch(branch)
    return branch


async def run_step(course: Course, step: Step, branch: Branch, alone: bool = True) -> Outcome:
    """One agent's call, with all its attempts and its fallback's, or what an equal call gave.

    With `course.steering` each attempt waits for a slot, and an agent that turns out to be unneeded before it has one
    is left out. A call for which no thread can be started is made on the event loop itself where nothing of its trial
    stands beside it (`alone`): the last resort, which no limit can cut short. Elsewhere EngineFaultError is raised,
    unless an attempt has been made already.
    """
    arguments = _arguments(course, step)
    if isinstance(arguments, str):
        return _skipped(course, step, arguments)
    caching = course.bench.caching
    if caching is not None and step.agent.policy.cache and course.case.repeat >= 0:
        call = functools.partial(_attempts, course, step, arguments, branch, alone)
        outcome = await _reuse_or_call(caching, course, step, arguments, call)
    else:
        outcome = await _attempts(course, step, arguments, branch, alone)
    return outcome if step.index not in course.wired.pipeline.keeps else _with_output(outcome)


def _with_output(outcome: Outcome) -> Outcome:
    """The outcome with its value kept in the span of the attempt that gave it, and of none where no attempt did."""
    if outcome.status not in GAVE_RESULT:
        return outcome
    *before, last = outcome.spans
    return outcome._replace(spans=(*before, last._replace(output=output_text(outcome.value))))


async def _reuse_or_call(
    caching: Caching,
    course: Course,
    step: Step,
    arguments: dict[str, Any],
    call: Callable[[], Awaitable[Outcome]],
) -> Outcome:
    """What an equal call has given, or is about to give, else this one's. All the time that it took was waiting."""
    ready_s = clock()
    outcome = await caching.outcome(course.wired.callees[step.index], arguments, course.case.seed, call)
    if outcome.spans:
        return outcome
    there_s = clock()
    who, times = (course.case.prompt.id, step.agent.name, 0, outcome.status), (there_s, there_s, there_s - ready_s)
    return outcome._replace(spans=(Span(*who, *times, outcome.error, 0, 0, None, 0.0, 0.0, course.bench.worker),))


async def _attempts(course: Course, step: Step, arguments: dict[str, Any], branch: Branch, alone: bool) -> Outcome:
    """The call, again as often as its policy says, and then its fallback's."""
    case, bench, ready_s = course.case, course.bench, clock()
    callee = course.wired.callees[step.index]
    threads: Threads | None = bench.threads
    spans: tuple[Span, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    errors: tuple[str, ...] = ()
    fault: str | None = None
    cost_usd, tried = 0.0, 0
    while True:
        tried += 1
        usage, given = NOTHING_USED, arguments
        if callee.agent.takes_call:
            call = _call(callee, case, arguments, len(spans) + 1, _asked(course, branch))
            usage, given = call.usage, {**arguments, "call": call}
        if callee.guard is None and course.steering is None:
            start_s = clock()
            value, answer, failed = await attempt(callee, given, branch, start_s, threads)
            end_s = clock()
        else:
            made = await _when_admitted(course, step, callee, given, branch, threads)
            if made is None:
                return leave_out(course, step)
            start_s, end_s, (value, answer, failed) = made
        if failed is None:
            status = FALLBACK if errors else OK
        else:
            status, follows = FAILED, _what_follows(callee, failed, tried)
            if follows is Next.GO_ON_SEQUENTIALLY:
                fault = _last_resort(failed, alone or len(spans) > 0)
                threads, tried = None, tried - 1
                continue
        cost_usd += usage.cost_usd
        calls += usage.calls
        times_s = (ready_s, start_s, end_s)
        spans += (_span((case.prompt.id, step.agent.name), len(spans) + 1, status, times_s, failed, usage, bench),)
        if failed is None:
            return Outcome(status, value, spans, answer, errors[0] if errors else None, cost_usd, fault, calls)
        if follows is Next.RETRY:
            await asyncio.sleep(backoff_s(callee.agent.policy, tried, stable_hash(case.seed, callee.agent.name)))
        else:
            errors += (failed.error,)
            if follows is Next.GIVE_UP or callee.fallback is None:
                return Outcome(status, None, spans, None, joined_errors(errors), cost_usd, fault, calls)
            arguments = handed_on(arguments, callee.fallback.agent, case.prompt)
            callee, tried = callee.fallback, 0
        ready_s = clock()


def _arguments(course: Course, step: Step) -> dict[str, Any] | str:
    """Inputs and prompt by parameter, or why the agent is skipped."""
    outcomes = course.outcomes
    arguments: dict[str, Any] = {"prompt": course.case.prompt} if step.agent.takes_prompt else {}
    for wanted, need in course.wired.wants[step.index]:
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
    spent = (usage.tokens_in, usage.tokens_out, usage.first_token_s, usage.simulated_s, usage.waited_s)
    # Takes half as long as Span(...), of which every call makes one.
    return Span._make((*whose, attempt, status, start_s, end_s, start_s - ready_s, error, *spent, bench.worker, None))


def _skip_reason(wanted: Input, outcome: Outcome | None) -> str:
    how = outcome.status.value if outcome is not None else "missing"
    return f"skipped: {canonical(wanted.parameter)} is {how}"


def _skipped(course: Course, step: Step, reason: str) -> Outcome:
    return not_called((course.case.prompt.id, step.agent.name), reason, clock(), course.bench.worker)


def leave_out(course: Course, step: Step, reason: str | None = None) -> Outcome:
    """Of an agent that is not called because the trial does not need it, for this reason."""
    if reason is None and course.steering is not None:
        reason = f"not needed for category {course.steering.category!r}"
    return _skipped(course, step, reason or "not needed")._replace(error=None)


def _call(callee: Callee, case: Case, arguments: dict[str, Any], attempt: int, model: Model | None) -> Call:
    agent = callee.agent
    which = (agent.name, case.prompt.id, case.repeat, attempt, case.seed)
    # By position: with twelve keywords this would take twice as long.
    return Call(*which, callee.limit_s, callee.ready, case.run_key, model, not agent.is_async, Usage(), arguments)


def _asked(course: Course, branch: Branch) -> Model | None:
    """The pipeline's model, as an attempt of this branch asks it."""
    pipeline, bench = course.wired.pipeline, course.bench
    if pipeline.model is None:
        return None
    return Asked(pipeline.model, pipeline.model_use, branch, bench.permits, bench.worker)


def _what_follows(callee: Callee, failed: Failed, tried: int) -> Next:
    return after_failure(callee.agent.policy, failed.kind, tried, callee.fallback is not None)


def _last_resort(failed: Failed, may_be_made: bool) -> str:
    """The fault, told, of a call that is made on the event loop. Raises it where the call may not be made yet."""
    if not may_be_made:
        raise EngineFaultError(failed.error)
    return describe(EngineFaultError(f"{failed.error}; called on the event loop"))


Made = tuple[float, float, Attempted]
"""When an attempt began and ended, and what it gave."""


async def _when_admitted(
    course: Course, step: Step, callee: Callee, arguments: dict[str, Any], branch: Branch, threads: Threads | None
) -> Made | None:
    """One attempt, once there is a slot for it. None where the agent turned out to be unneeded before it began."""
    steering = course.steering
    if steering is not None and not await steering.enter(step):
        return None
    try:
        if callee.guard is not None:
            return await _guarded(callee, arguments, course, branch, threads)
        start_s = clock()
        attempted = await attempt(callee, arguments, branch, start_s, threads)
        return start_s, clock(), attempted
    finally:
        if steering is not None:
            steering.leave()


async def _guarded(
    callee: Callee, arguments: dict[str, Any], course: Course, branch: Branch, threads: Threads | None
) -> Made:
    """One attempt, if the agent's breaker allows it."""
    guard, case, bench = callee.guard, course.case, course.bench
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
