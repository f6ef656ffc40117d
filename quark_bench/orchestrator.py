"""Orchestrator: prompts as they come, live, on the agents, policies and engine that batches run on."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.agent import Agent, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.event_loop import precise_event_loop
from quark_bench.execute.fair_queue import Turn
from quark_bench.execute.outcome import Outcome
from quark_bench.execute.slots import Slots
from quark_bench.execute.steering import Steering
from quark_bench.execute.step import Bench, Case, Wired, clock
from quark_bench.execute.strategy import Choice, choose_strategy
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
from quark_bench.live_load import Consumption, load_of, performance_stats
from quark_bench.live_stats import Handled, LiveStatistics
from quark_bench.live_trial import LOG, Answer, LiveTrial, Watch
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy
from quark_bench.resolve import resolve
from quark_bench.routing import CATEGORY, Router, read_routes
from quark_bench.walls import Load, warnings

T = TypeVar("T")

PROMPTS_A_WORKER = 8
FEWEST_PROMPTS = 64
"""Prompts under way at most: eight for each worker, which is more than keeps it busy, and 64 at least. Further ones
wait before anything is made for them."""
CONVERSATION = "conversation"
"""Key of a prompt's metadata that names its conversation."""
WARN_EVERY_S = 5.0


class AsyncOrchestrator:
    """Runs prompts through a pipeline of agents as they come, many at once.

    `max_workers` bounds the agent calls under way, async ones included; what waits for a worker is served conversation
    by conversation, and of one the oldest prompt first. `pipeline` is a Pipeline, `quark`, or FILE.py:NAME. `routes` is
    a Router or a TOML file in place of the pipeline's own. `strategy` is auto, parallel or sequential.

    Belongs to the event loop that first uses it. Raises UsageError or PipelineError for wrong options.
    """

    def __init__(
        self,
        max_workers: int = 4,
        *,
        pipeline: Pipeline | str = "quark",
        routes: Router | str | Path | None = None,
        strategy: str = "auto",
    ) -> None:
        if max_workers < 1:
            raise UsageError(f"max_workers={max_workers}: give 1 or more")
        if strategy not in ("auto", *(each.value for each in Strategy)):
            raise UsageError(f"strategy={strategy!r}: give auto, parallel or sequential")
        self.max_workers = max_workers
        self.pipeline, self._shipment = resolve(pipeline)
        self.router = read_routes(routes) if isinstance(routes, str | Path) else routes or self.pipeline.router
        if self.router is not None:
            self.router.check(self.pipeline)
        self.thread_pool = Threads()
        self.agents = LiveAgents(self)
        self._strategy = None if strategy == "auto" else Choice(Strategy(strategy), "as it was asked for")
        self._session = secrets.token_hex(6)
        self._statistics = LiveStatistics(
            tuple(step.name for step in self.pipeline.steps), self.pipeline.needs, self.pipeline.answer_index
        )
        self._consumption = Consumption()
        self._workers = Slots(max_workers)
        self._places = Slots(max(FEWEST_PROMPTS, PROMPTS_A_WORKER * max_workers))
        self._bench = Bench(f"{socket.gethostname()}:{os.getpid()}", self.thread_pool, Deadlines())
        self._asked = 0
        self._trials: set[asyncio.Task[Handled]] = set()
        self._equal: dict[tuple[str, str | None], LiveTrial] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wired: Wired | None = None
        self._wiring = threading.Lock()
        self._closed = False
        self._warned_s = 0.0

    # -- prompts

    async def handle(
        self, prompt: str | Prompt, *, conversation: str | None = None, watch: Watch | None = None
    ) -> Answer:
        """Answer a prompt: returns once the answering agent has ended, or all have and there is no answer.

        What agents do is told in the answer, never raised. A caller that is cancelled cancels its prompt, unless
        others wait for it too. Raises UsageError after `shutdown`, ExecutionError for an agent whose set-up fails.
        """
        wired = await self._start()
        asked_s = clock()
        text = prompt if isinstance(prompt, str) else prompt.text
        live = self._equal.get((text, conversation))
        shared = live is not None
        if live is None:
            live = self._ask(wired, prompt, conversation, watch)
        live.waiting += 1
        try:
            answer = await asyncio.shield(live.answer)
        finally:
            live.waiting -= 1
            if live.waiting == 0:
                self._equal.pop((text, conversation), None)
                if not live.answer.done():
                    live.answer.cancel()
                    live.trial.cancel()
        if not shared:
            return answer
        self._statistics.shared += 1
        return dataclasses.replace(answer, shared=True, latency_s=clock() - asked_s)

    def _ask(self, wired: Wired, prompt: str | Prompt, conversation: str | None, watch: Watch | None) -> LiveTrial:
        live = LiveTrial(self._case(prompt, conversation), self.pipeline, self.explain_strategy(), conversation, watch)
        live.steering = self._steering(live, router=self.router)
        live.trial = self._begin(wired, live)
        live.answer = asyncio.create_task(live.answer_it())
        if self._bench.caching is not None:
            self._equal[live.case.prompt.text, conversation] = live
        return live

    def _case(self, prompt: str | Prompt, conversation: str | None) -> Case:
        """The prompt as agents see it. Equal prompts have equal seeds."""
        self._asked += 1
        given = Prompt(f"p-{self._asked:06d}", prompt) if isinstance(prompt, str) else prompt
        metadata = given.metadata if conversation is None else {**given.metadata, CONVERSATION: conversation}
        blind = Prompt(given.id, given.text, given.category, metadata=metadata)
        return Case(blind, 0, stable_hash(given.text), self._session)

    def _steering(self, live: LiveTrial, **what: Any) -> Steering:
        turn = Turn(live.conversation or "", self._asked)
        return Steering(self.pipeline, self._workers, turn, live, **what)

    def _begin(self, wired: Wired, live: LiveTrial) -> asyncio.Task[Handled]:
        trial = asyncio.create_task(self._carry_out(wired, live))
        self._trials.add(trial)
        trial.add_done_callback(self._trials.discard)
        return trial

    async def _carry_out(self, wired: Wired, live: LiveTrial) -> Handled:
        """Run the trial once there is a place for it."""
        handled = None
        await self._places.enter(live.steering.turn)
        self._statistics.admitted(clock())
        self._consumption.under_way(self._statistics.in_flight)
        try:
            found = await run_trial(wired, live.case, live.choice.strategy, self._bench, live.steering)
            handled = live.handled(*found)
            record = handled.record
            live.log(
                logging.INFO,
                f"prompt {record.status}",
                status=record.status,
                took_s=record.latency_s,
                error=record.error,
            )
            return handled
        finally:
            self._places.leave()
            self._statistics.left(clock(), handled)
            self._consumption.under_way(self._statistics.in_flight)
            self._warn()

    def explain_strategy(self) -> Choice:
        """How the next prompt's agents will run, and why."""
        return self._strategy or choose_strategy(self._statistics.durations_s(), self.pipeline.needs)

    # -- agents by name

    async def execute_parallel(
        self, prompt: str, pipeline: Iterable[str], category: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Run only the named agents, side by side where they can; what each gave, by the name it was called by.

        Inputs from agents that are not named take their defaults; an agent that cannot do without one is skipped, and
        its result says so. `category` stands for what NLU would have found, where that is not named. Each result has
        `agent, success, result, error, status, execution_time` (seconds). Raises UsageError for an unknown agent.
        """
        return await self._execute(prompt, list(pipeline), category, Strategy.PARALLEL)

    async def execute_sequential(
        self, prompt: str, pipeline: Iterable[str], category: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """The same, one after another."""
        return await self._execute(prompt, list(pipeline), category, Strategy.SEQUENTIAL)

    async def execute_agent(
        self, name: str, agent: LiveAgent | None, input_data: str | Mapping[str, Any], category: str | None = None
    ) -> dict[str, Any]:
        """Call one agent; `input_data` is the prompt's text, or a dict of `prompt` and the values of its inputs.

        `agent` is the one of that name in `agents`, or None. The result is as in `execute_parallel`.
        """
        inputs = {"prompt": input_data} if isinstance(input_data, str) else dict(input_data)
        prompt = inputs.pop("prompt", "")
        if agent is not None and self.pipeline.position(agent.name) != self.pipeline.position(name):
            raise UsageError(f"agent {agent.name!r} was given as {name!r}; give agents[{name!r}], or None")
        given = {self.pipeline.position(each, "input"): value for each, value in inputs.items()}
        return (await self._execute(str(prompt), [name], category, Strategy.SEQUENTIAL, given))[name]

    async def _execute(
        self,
        prompt: str,
        names: list[str],
        category: str | None,
        strategy: Strategy,
        given: Mapping[int, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        wired = await self._start()
        named = {name: self.pipeline.position(name) for name in names}
        known = dict(given or {})
        if category is not None and self.router is not None:
            known.setdefault(self.router.finder(self.pipeline), {CATEGORY: category})
        known = {position: value for position, value in known.items() if position not in named.values()}
        others = frozenset(range(len(self.pipeline.steps))) - set(named.values())
        live = LiveTrial(self._case(prompt, None), self.pipeline, Choice(strategy, "as it was asked for"))
        live.steering = self._steering(live, unneeded=others, given=known)
        await self._begin(wired, live)
        return {name: _result(name, live.outcomes[position]) for name, position in named.items()}

    _execute_pipeline_parallel = execute_parallel
    _execute_pipeline_sequential = execute_sequential
    _execute_agent_async = execute_agent

    # -- what it did

    async def get_performance_stats(self) -> dict[str, Any]:
        """Plain data: counts, rates, latencies, agents, routes, cache, breakers, the strategy and its reason, the wall
        that holds throughput back, the targets and what is out of reach, warnings."""
        now_s = clock()
        choice = self.explain_strategy()
        return {
            **performance_stats(self._statistics, self._load(now_s), now_s),
            "strategy": {"strategy": choice.strategy.value, "reason": choice.reason},
            "router": None if self.router is None else str(self.router),
            "waiting_prompts": self._places.waiting,
            "max_workers": self.max_workers,
        }

    @property
    def performance_metrics(self) -> dict[str, Any]:
        """See `get_performance_stats`."""
        return self._statistics.performance_metrics(clock())

    @property
    def execution_stats(self) -> dict[str, Any]:
        """See `get_performance_stats`."""
        return self._statistics.execution_stats()

    def _load(self, now_s: float) -> Load:
        return load_of(self._statistics, self.pipeline, self.max_workers, self._consumption, now_s)

    def _warn(self) -> None:
        now_s = clock()
        if now_s - self._warned_s >= WARN_EVERY_S and LOG.isEnabledFor(logging.WARNING):
            self._warned_s = now_s
            for text in warnings(self._load(now_s)):
                LOG.warning(text)

    # -- beginning and end

    async def _start(self) -> Wired:
        """The pipeline, its agents set up. Raises UsageError once it was shut down, and on another event loop."""
        if self._closed:
            raise UsageError("this orchestrator was shut down; make another one")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise UsageError("an orchestrator belongs to the event loop that first used it; make another one here")
            self._loop = loop
        if self._wired is not None:
            return self._wired
        return await asyncio.to_thread(self.make_ready)

    def make_ready(self) -> Wired:
        """Set the agents up now rather than when the first prompt comes. Raises ExecutionError, naming the agent."""
        with self._wiring:
            wired = self._wired
            if wired is None:
                wired = self._wired = Wired(self.pipeline)
                self._bench.deadlines.refine(wired.shortest_limit_s)
            return wired

    async def shutdown(self) -> None:
        """Take no more prompts, and let those that are under way end."""
        self._closed = True
        await asyncio.gather(*self._trials, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()


def _result(name: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "agent": name,
        "success": outcome.gave_result,
        "result": outcome.value,
        "error": None if outcome.gave_result else outcome.error,
        "status": outcome.status.value,
        "execution_time": sum(span.end_s - span.start_s for span in outcome.spans),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class LiveAgent:
    """An agent of an orchestrator."""

    agent: Agent
    orchestrator: AsyncOrchestrator

    @property
    def name(self) -> str:
        return self.agent.name

    def ensure_ready(self) -> None:
        """Set the agent up if that has not been done. Raises ExecutionError where its set-up fails."""
        self.orchestrator.make_ready()

    _ensure_model = ensure_ready


class LiveAgents(Mapping[str, LiveAgent]):
    """An orchestrator's agents by name, case and underscores aside: `agents["SelfImprovement"]`."""

    def __init__(self, orchestrator: AsyncOrchestrator) -> None:
        self._orchestrator = orchestrator

    def __getitem__(self, name: str) -> LiveAgent:
        pipeline = self._orchestrator.pipeline
        try:
            return LiveAgent(pipeline.steps[pipeline.position(name)].agent, self._orchestrator)
        except UsageError as error:
            raise KeyError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return (step.name for step in self._orchestrator.pipeline.steps)

    def __len__(self) -> int:
        return len(self._orchestrator.pipeline.steps)


class Orchestrator:
    """The synchronous orchestrator: one prompt at a time, its agents one after another, in an event loop of its own.

    Options are AsyncOrchestrator's.
    """

    def __init__(self, **options: Any) -> None:
        self._inner = AsyncOrchestrator(**{"strategy": "sequential", **options})
        self._turn = threading.Lock()
        self._loop = precise_event_loop()
        threading.Thread(target=self._loop.run_forever, name="quark-bench-orchestrator", daemon=True).start()

    def handle(self, prompt: str | Prompt, *, conversation: str | None = None) -> Answer:
        """Answer a prompt: returns when all its agents have ended."""
        with self._turn:
            return self._call(self._handled(prompt, conversation))

    async def _handled(self, prompt: str | Prompt, conversation: str | None) -> Answer:
        answer = await self._inner.handle(prompt, conversation=conversation)
        await answer.finished()
        return answer

    def get_performance_stats(self) -> dict[str, Any]:
        """See AsyncOrchestrator."""
        return self._call(self._inner.get_performance_stats())

    def shutdown(self) -> None:
        """Let go of everything."""
        self._call(self._inner.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
