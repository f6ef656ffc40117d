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
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Agent, Call, Input, Usage, canonical, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError, describe
from quark_bench.execute.deadlines import Branch, Deadlines
from quark_bench.execute.decide import Retry, after_failure
from quark_bench.execute.outcome import Outcome, conclude
from quark_bench.execute.threads import Threads
from quark_bench.execute.values import PLAIN, answer_text, check_travels
from quark_bench.pipeline import Pipeline, Step
from quark_bench.plan import Strategy, trial_seed
from quark_bench.record import Record, Span, SpanStatus

clock: Callable[[], float] = time.perf_counter
"""Monotonic, and on Linux shared by all processes of a machine."""

NOTHING_USED = Usage()
"""Stands for agents that take no `call`; never written to."""


class Wired:
    """A pipeline made ready in this process: set-ups done, everything a call needs resolved once.

    Raises ExecutionError, naming the agent, for a set-up that fails.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.roots = tuple(step.index for step in self.steps if not step.needs)
        self.answer_index = pipeline.answer_index
        self.ready = tuple(_set_up(step.agent) for step in self.steps)
        limits = [step.agent.policy.timeout_s for step in self.steps]
        self.shortest_limit_s = min((limit for limit in limits if limit is not None), default=math.inf)


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
    """Run every agent of the pipeline for one prompt and say how it went. Raises only when cancelled."""
    admitted_s = clock()
    outcomes: list[Outcome | None] = [None] * len(wired.steps)
    if strategy is Strategy.SEQUENTIAL:
        await _one_by_one(wired, case, bench, outcomes)
    else:
        await _Parallel(wired, case, bench, outcomes).run()
    done = [outcome for outcome in outcomes if outcome]
    return conclude(wired.pipeline, case.prompt, done, admitted_s, max(outcome.spans[-1].end_s for outcome in done))


async def _one_by_one(wired: Wired, case: Case, bench: Bench, outcomes: list[Outcome | None]) -> None:
    branch = open_branch(bench)
    try:
        for step in wired.steps:
            outcomes[step.index] = await run_step(wired, step, case, outcomes, branch, bench)
    finally:
        bench.deadlines.forget(branch)


class _Parallel:
    """Starts each agent the moment its last input is there.

    A branch goes on with the first agent it made ready and starts a task for each further one, so a chain
    costs no task at all and no agent waits for a sibling that it does not need.
    """

    __slots__ = ("bench", "case", "done", "missing", "open", "outcomes", "tasks", "wired")

    def __init__(self, wired: Wired, case: Case, bench: Bench, outcomes: list[Outcome | None]) -> None:
        self.wired = wired
        self.case = case
        self.bench = bench
        self.outcomes = outcomes
        self.missing = [len(needs) for needs in wired.pipeline.needs]
        self.open = 1
        self.done: asyncio.Future[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
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

    def _start(self, index: int) -> None:
        self.open += 1
        self.tasks.append(asyncio.create_task(self._follow(index)))

    async def _follow(self, index: int) -> None:
        branch = open_branch(self.bench)
        next_index: int | None = index
        try:
            while next_index is not None:
                step = self.wired.steps[next_index]
                outcome = await run_step(self.wired, step, self.case, self.outcomes, branch, self.bench)
                self.outcomes[next_index] = outcome
                next_index = self._advance(step)
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
    wired: Wired, step: Step, case: Case, outcomes: list[Outcome | None], branch: Branch, bench: Bench
) -> Outcome:
    """All attempts of one agent's call; `outcomes` holds those of the agents it needs."""
    ready_s = clock()
    arguments = _arguments(step, outcomes)
    if isinstance(arguments, str):
        name, reason = step.agent.name, arguments
        never = (0, SpanStatus.SKIPPED, ready_s, ready_s, 0.0, reason, 0, 0, None, 0.0, bench.worker)
        span = Span(case.prompt.id, name, *never)
        return Outcome(SpanStatus.SKIPPED, None, (span,), None, reason, 0.0)
    if step.agent.takes_prompt:
        arguments["prompt"] = case.prompt
    spans: list[Span] = []
    policy = step.agent.policy
    cost_usd = 0.0
    while True:
        attempt = len(spans) + 1
        call = _call(wired, step, case, attempt) if step.agent.takes_call else None
        if call is not None:
            arguments["call"] = call
        start_s = clock()
        value, answer, error = await _attempt(wired, step, arguments, branch, bench)
        end_s = clock()
        status = SpanStatus.OK if error is None else SpanStatus.FAILED
        usage = call.usage if call is not None else NOTHING_USED
        spans.append(
            Span(
                case.prompt.id,
                step.agent.name,
                attempt,
                status,
                start_s,
                end_s,
                start_s - ready_s,
                error,
                usage.tokens_in,
                usage.tokens_out,
                usage.first_token_s,
                usage.simulated_s,
                bench.worker,
            )
        )
        cost_usd += usage.cost_usd
        if error is None:
            return Outcome(status, value, tuple(spans), answer, None, cost_usd)
        verdict = after_failure(policy, attempt, stable_hash(case.seed, step.agent.name))
        if not isinstance(verdict, Retry):
            return Outcome(status, None, tuple(spans), None, error, cost_usd)
        await asyncio.sleep(verdict.after_s)
        ready_s = clock()


def _arguments(step: Step, outcomes: list[Outcome | None]) -> dict[str, Any] | str:
    """The inputs by parameter, or why the agent is skipped."""
    arguments: dict[str, Any] = {}
    for wanted, need in zip(step.agent.inputs, step.needs, strict=True):
        outcome = outcomes[need]
        if outcome is not None and outcome.status is SpanStatus.OK:
            arguments[wanted.parameter] = outcome.value
        elif wanted.optional:
            arguments[wanted.parameter] = wanted.default
        else:
            return _skip_reason(wanted, outcome)
    return arguments


def _skip_reason(wanted: Input, outcome: Outcome | None) -> str:
    how = outcome.status.value if outcome is not None else "missing"
    return f"skipped: {canonical(wanted.parameter)} is {how}"


def _call(wired: Wired, step: Step, case: Case, attempt: int) -> Call:
    return Call(
        agent=step.agent.name,
        prompt_id=case.prompt.id,
        repeat=case.repeat,
        attempt=attempt,
        trial_seed=case.seed,
        deadline_s=step.agent.policy.timeout_s,
        ready=wired.ready[step.index],
        run_key=case.run_key,
        generator=wired.pipeline.model,
        blocking=not step.agent.is_async,
    )


async def _attempt(
    wired: Wired, step: Step, arguments: dict[str, Any], branch: Branch, bench: Bench
) -> tuple[Any, str | None, str | None]:
    """One attempt: value, answer text (of the answer agent), error text. Contains whatever an agent does."""
    limit_s = step.agent.policy.timeout_s
    branch.agent = step.agent.name
    branch.deadline_s = math.inf if limit_s is None else clock() + limit_s
    value, answer, error = None, None, None
    try:
        value = await _call_agent(step.agent, arguments, bench)
        if type(value) not in PLAIN:
            check_travels(value)
        if step.index == wired.answer_index:
            answer = answer_text(value)
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
        error = f"TimeoutError: no result within {limit_s} s"
    return (value, answer, None) if error is None else (None, None, error)


async def _call_agent(agent: Agent, arguments: dict[str, Any], bench: Bench) -> Any:
    if agent.is_async:
        return await agent.function(**arguments)
    value = await bench.threads.call(agent.function, arguments)
    return await value if inspect.isawaitable(value) else value


def _runs(task: asyncio.Task[None]) -> bool:
    """Whether this is called from within the task."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False
