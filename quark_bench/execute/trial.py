"""One trial: the agents of one prompt, called in the order their inputs allow, timed.

The same code runs inline, in a worker's chunk and, one step at a time, as the nodes of an agent-granular
graph: that is why all of them give the same records.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from quark_bench.agent import Agent, Call, Input, Model, Usage, canonical, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError, describe
from quark_bench.execute.breakers import Breakers, Guard
from quark_bench.execute.deadlines import Branch, Deadlines
from quark_bench.execute.decide import Failure, Next, after_failure, backoff_s
from quark_bench.execute.outcome import Outcome, conclude
from quark_bench.execute.threads import EngineFaultError, Threads
from quark_bench.execute.values import PLAIN, answer_text, check_travels
from quark_bench.pipeline import Pipeline, Step
from quark_bench.plan import Strategy, trial_seed
from quark_bench.record import Record, Span, SpanStatus

clock: Callable[[], float] = time.perf_counter
"""Monotonic, and on Linux shared by all processes of a machine."""

LONGEST_OF_SEVERAL = 300
"""Characters kept of each error where an agent and its fallback have failed."""

NOTHING_USED = Usage()
"""Stands for agents that take no `call`; never written to."""


@dataclass(frozen=True, slots=True)
class Callee:
    """An agent made ready in this process: its set-up done, and everything that a call of it needs resolved."""

    agent: Agent
    ready: Any
    limit_s: float | None
    is_answer: bool
    guard: Guard | None
    fallback: Callee | None


class Wired:
    """A pipeline made ready in this process.

    Raises ExecutionError, naming the agent, for a set-up that fails.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.roots = tuple(step.index for step in self.steps if not step.needs)
        self.callees = tuple(_callee(step.agent, step.index == pipeline.answer_index) for step in self.steps)
        limits = [link.policy.timeout_s for step in self.steps for link in step.agent.chain()]
        self.shortest_limit_s = min((limit for limit in limits if limit is not None), default=math.inf)


def _callee(agent: Agent, is_answer: bool) -> Callee:
    limit_s, breaker = agent.policy.timeout_s, agent.policy.breaker
    guard = None if breaker is None else Guard(agent.breaker_name, breaker, limit_s or breaker.reset_s)
    fallback = None if agent.fallback is None else _callee(agent.fallback, is_answer)
    return Callee(agent, _set_up(agent), limit_s, is_answer, guard, fallback)


def _set_up(agent: Agent) -> Any:
    try:
        return agent.setup() if agent.setup else None
    except (Exception, SystemExit) as error:
        raise ExecutionError(f"the set-up of agent {agent.name!r} failed: {describe(error)}") from error


@dataclass(frozen=True, slots=True)
class Bench:
    """What a process offers its trials."""

    worker: str
    threads: Threads
    deadlines: Deadlines
    breakers: Breakers = field(default_factory=Breakers)


@dataclass(frozen=True, slots=True)
class Case:
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
        self.missing = [len(needs) for needs in wired.pipeline.needs]
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


class Failed(NamedTuple):
    """How an attempt failed, and the error that its span tells."""

    kind: Failure
    error: str


Attempted = tuple[Any, str | None, Failed | None]
"""What an attempt gave: value, answer text (of the answer agent), failure."""


async def run_step(
    wired: Wired,
    step: Step,
    case: Case,
    outcomes: list[Outcome | None],
    branch: Branch,
    bench: Bench,
    alone: bool = True,
) -> Outcome:
    """All attempts of one agent's call, and of its fallback's; `outcomes` holds those of the agents it needs.

    A call for which no thread can be started is made on the event loop itself where nothing of its trial stands
    beside it (`alone`): the last resort, which no limit can cut short. Elsewhere EngineFaultError is raised, unless
    an attempt has been made already.
    """
    ready_s = clock()
    arguments = _arguments(step, outcomes)
    if isinstance(arguments, str):
        return _skipped(step, case, arguments, ready_s, bench)
    callee = wired.callees[step.index]
    if callee.agent.takes_prompt:
        arguments["prompt"] = case.prompt
    threads: Threads | None = bench.threads
    spans: list[Span] = []
    errors: list[str] = []
    fault: str | None = None
    cost_usd, tried = 0.0, 0
    while True:
        tried += 1
        call = None
        if callee.agent.takes_call:
            call = arguments["call"] = _call(callee, case, arguments, len(spans) + 1, wired.pipeline.model)
        if callee.guard is None:
            start_s = clock()
            value, answer, failed = await _attempt(callee, arguments, branch, start_s, threads)
            end_s = clock()
        else:
            start_s, end_s, (value, answer, failed) = await _guarded(callee, arguments, case, branch, bench, threads)
        follows = None if failed is None else _what_follows(callee, failed, tried)
        if failed is not None and follows is Next.GO_ON_SEQUENTIALLY:
            if not alone and not spans:
                raise EngineFaultError(failed.error)
            fault = describe(EngineFaultError(f"{failed.error}; called on the event loop"))
            threads, tried = None, tried - 1
            continue
        usage = call.usage if call is not None else NOTHING_USED
        cost_usd += usage.cost_usd
        status = SpanStatus.FAILED if failed is not None else SpanStatus.FALLBACK if errors else SpanStatus.OK
        spans.append(
            Span(
                case.prompt.id,
                step.agent.name,
                len(spans) + 1,
                status,
                start_s,
                end_s,
                start_s - ready_s,
                failed.error if failed is not None else None,
                usage.tokens_in,
                usage.tokens_out,
                usage.first_token_s,
                usage.simulated_s,
                bench.worker,
            )
        )
        if failed is None:
            return Outcome(status, value, tuple(spans), answer, errors[0] if errors else None, cost_usd, fault)
        if follows is Next.RETRY:
            await asyncio.sleep(backoff_s(callee.agent.policy, tried, stable_hash(case.seed, callee.agent.name)))
        else:
            errors.append(failed.error)
            if follows is Next.GIVE_UP or callee.fallback is None:
                return Outcome(status, None, tuple(spans), None, _joined(errors), cost_usd, fault)
            arguments = _handed_on(arguments, callee.fallback.agent, case)
            callee, tried = callee.fallback, 0
        ready_s = clock()


def _arguments(step: Step, outcomes: list[Outcome | None]) -> dict[str, Any] | str:
    """The inputs by parameter, or why the agent is skipped."""
    arguments: dict[str, Any] = {}
    for wanted, need in zip(step.agent.inputs, step.needs, strict=True):
        outcome = outcomes[need]
        if outcome is not None and outcome.gave_result:
            arguments[wanted.parameter] = outcome.value
        elif wanted.optional:
            arguments[wanted.parameter] = wanted.default
        else:
            return _skip_reason(wanted, outcome)
    return arguments


def _skip_reason(wanted: Input, outcome: Outcome | None) -> str:
    how = outcome.status.value if outcome is not None else "missing"
    return f"skipped: {canonical(wanted.parameter)} is {how}"


def _skipped(step: Step, case: Case, reason: str, ready_s: float, bench: Bench) -> Outcome:
    never = (0, SpanStatus.SKIPPED, ready_s, ready_s, 0.0, reason, 0, 0, None, 0.0, bench.worker)
    span = Span(case.prompt.id, step.agent.name, *never)
    return Outcome(SpanStatus.SKIPPED, None, (span,), None, reason, 0.0)


def _call(callee: Callee, case: Case, arguments: dict[str, Any], attempt: int, model: Model | None) -> Call:
    return Call(
        agent=callee.agent.name,
        prompt_id=case.prompt.id,
        repeat=case.repeat,
        attempt=attempt,
        trial_seed=case.seed,
        deadline_s=callee.limit_s,
        ready=callee.ready,
        run_key=case.run_key,
        generator=model,
        blocking=not callee.agent.is_async,
        inputs=arguments,
    )


def _what_follows(callee: Callee, failed: Failed, tried: int) -> Next:
    return after_failure(callee.agent.policy, failed.kind, tried, callee.fallback is not None)


def _handed_on(arguments: dict[str, Any], fallback: Agent, case: Case) -> dict[str, Any]:
    """What the fallback takes, of what the agent that failed was given."""
    given = {canonical(name): value for name, value in arguments.items()}
    taken = {wanted.parameter: given[canonical(wanted.parameter)] for wanted in fallback.inputs}
    return taken | ({"prompt": case.prompt} if fallback.takes_prompt else {})


def _joined(errors: list[str]) -> str:
    """The error of an agent, and in short those of the fallbacks that failed after it."""
    if len(errors) == 1:
        return errors[0]
    return "; its fallback failed too: ".join(error[:LONGEST_OF_SEVERAL] for error in errors)


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
    admission = await bench.breakers.admit(key, guard)
    start_s = clock()
    if admission.refused is not None:
        return start_s, start_s, (None, None, Failed(Failure.REFUSED, admission.refused))
    attempted = await _attempt(callee, arguments, branch, start_s, threads)
    end_s = clock()
    failed = attempted[2]
    if failed is None or failed.kind is not Failure.ENGINE:
        bench.breakers.settle(key, guard, failed is None, admission.probe)
    return start_s, end_s, attempted


async def _attempt(
    callee: Callee, arguments: dict[str, Any], branch: Branch, start_s: float, threads: Threads | None
) -> Attempted:
    """One attempt. Contains whatever an agent does."""
    limit_s = callee.limit_s
    branch.agent = callee.agent.name
    branch.deadline_s = math.inf if limit_s is None else start_s + limit_s
    value, answer, error = None, None, None
    try:
        value = await _call_agent(callee.agent, arguments, threads)
        if type(value) not in PLAIN:
            check_travels(value)
        if callee.is_answer:
            answer = answer_text(value)
    except EngineFaultError as fault:
        return None, None, Failed(Failure.ENGINE, str(fault))
    except GeneratorExit as raised:
        if not _runs(branch.task):
            raise  # nobody waits for this trial any more: its coroutine is being thrown away
        error = describe(raised)
    except asyncio.CancelledError:
        if not branch.expired and branch.task.cancelling():
            raise
        error = "CancelledError: the agent cancelled itself"
    except BaseException as raised:  # noqa: BLE001 - sys.exit() in an agent must cost its record only
        error = describe(raised)
    finally:
        branch.deadline_s = math.inf
    if branch.expired:
        for _ in range(branch.expired):
            branch.task.uncancel()
        branch.expired = 0
        return None, None, Failed(Failure.TIMEOUT, f"TimeoutError: no result within {limit_s} s")
    return (value, answer, None) if error is None else (None, None, Failed(Failure.ERROR, error))


async def _call_agent(agent: Agent, arguments: dict[str, Any], threads: Threads | None) -> Any:
    if agent.is_async:
        return await agent.function(**arguments)
    value = agent.function(**arguments) if threads is None else await threads.call(agent.function, arguments)
    return await value if inspect.isawaitable(value) else value


def _runs(task: asyncio.Task[None]) -> bool:
    """Whether this is called from within the task."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False
