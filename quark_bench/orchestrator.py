"""Orchestrator: prompts as they come, live, on the agents, policies and engine that batches run on."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.agent_code import agent_hashes
from quark_bench.cache import SqliteCache
from quark_bench.conversations import Conversations, Turn
from quark_bench.dataset import Prompt
from quark_bench.errors import QuarkBenchError, UsageError
from quark_bench.execute.breakers import histories
from quark_bench.execute.caching import Caching
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.fair_queue import Claim
from quark_bench.execute.slots import Slots
from quark_bench.execute.steering import Steering
from quark_bench.execute.step import Bench, Case, Wired, clock
from quark_bench.execute.strategy import Choice, choose_strategy
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
from quark_bench.live_agents import LiveAgent, LiveAgents, result_of
from quark_bench.live_load import Resident, load_of, performance_stats
from quark_bench.live_places import moved_pipeline, place_of
from quark_bench.live_stats import Handled, LiveStatistics
from quark_bench.live_trial import LOG, Answer, LiveTrial, Watch, live_case
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy
from quark_bench.resolve import resolve
from quark_bench.routing import CATEGORY, Router, routed
from quark_bench.walls import Load, warnings

T = TypeVar("T")

PROMPTS_A_WORKER = 8
FEWEST_PROMPTS = 64
"""Prompts under way at most: eight for each worker, which is more than keeps it busy, and 64 at least. Further ones
wait before anything is made for them."""
WARN_EVERY_S = 5.0
LIVE = "live"
"""Stands where a batch has its arm, in keys and in the history of breakers."""


class AsyncOrchestrator:
    """Runs prompts through a pipeline of agents as they come, many at once.

    `max_workers` bounds the agent calls under way, async ones included; what waits for a worker is served conversation
    by conversation, of one the oldest prompt first. `pipeline` is a Pipeline, `quark`, or FILE.py:NAME. `routes` is a
    Router or a TOML file in place of the pipeline's own. `strategy` is auto, parallel or sequential. `executor` is
    local (sync agents in threads, those with cpu=True in processes), dask (a cluster of local processes), what `--on`
    takes, or a Dask client. `cache` is a file that keeps outputs of agents with cache=True; with it, equal prompts
    under way are one execution. `memory` is a file that keeps conversations; the built-in assistant recalls them, and
    learns there what its answers taught.

    Belongs to the event loop that first uses it. Raises UsageError or PipelineError for wrong options.
    """

    def __init__(
        self,
        max_workers: int = 4,
        *,
        pipeline: Pipeline | str = "quark",
        routes: Router | str | Path | None = None,
        strategy: str = "auto",
        executor: Any = "local",
        cache: str | Path | None = None,
        memory: str | Path | None = None,
    ) -> None:
        if not isinstance(max_workers, int) or max_workers < 1:
            raise UsageError(f"max_workers={max_workers!r}: give a whole number, 1 or more")
        if strategy not in ("auto", *(each.value for each in Strategy)):
            raise UsageError(f"strategy={strategy!r}: give auto, parallel or sequential")
        self.max_workers = max_workers
        self.pipeline, pack = resolve(pipeline, memory)
        self._place = place_of(executor, pack, max_workers)
        self._moved = moved_pipeline(self.pipeline, self._place)
        self.router, self._routing = routed(routes, self.pipeline)
        self.thread_pool = Threads()
        self.agents = LiveAgents(self.pipeline, self.make_ready)
        self._strategy = None if strategy == "auto" else Choice(Strategy(strategy), "as it was asked for")
        self._session = secrets.token_hex(6)
        self._statistics = LiveStatistics(
            tuple(step.name for step in self.pipeline.steps), self.pipeline.needs, self.pipeline.answer_index
        )
        self._resident = Resident()
        self._memory = None if memory is None else Conversations(memory)
        self._cache = None if cache is None else SqliteCache(cache)
        caching = None if self._cache is None else Caching(self._cache, agent_hashes(self.pipeline))
        self._workers = Slots(max_workers)
        self._places = Slots(max(FEWEST_PROMPTS, PROMPTS_A_WORKER * max_workers))
        self._bench = Bench(f"{socket.gethostname()}:{os.getpid()}", self.thread_pool, Deadlines(), caching=caching)
        self._asked = 0
        self._under_way: set[asyncio.Task[Any]] = set()
        self._equal: dict[str, LiveTrial] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wired: Wired | None = None
        self._wiring = threading.Lock()
        self._opening = asyncio.Lock()
        self._open = self._closed = False
        self._warned_s = 0.0

    # -- prompts

    async def handle(
        self, prompt: str | Prompt, *, conversation: str | None = None, watch: Watch | None = None
    ) -> Answer:
        """Answer a prompt: returns once the answering agent has ended.

        What agents do is told in the answer, never raised. A caller that is cancelled cancels its prompt, unless
        others wait for it too. Raises UsageError for what is no prompt and after `shutdown`, ExecutionError for an
        agent whose set-up fails.
        """
        wired = await self._start()
        asked_s = clock()
        case = self._case(prompt, conversation)
        content = case.prompt.content()
        live = self._equal.get(content)
        shared = live is not None
        if live is None:
            live = self._ask(wired, case, watch)
            if self._bench.caching is not None:
                self._equal[content] = live
        live.waiting += 1
        try:
            answer = await asyncio.shield(live.answer)
        finally:
            live.waiting -= 1
            if live.waiting == 0:
                self._equal.pop(content, None)
                if not live.answer.done():
                    live.answer.cancel()
                    live.trial.cancel()
        if not shared:
            return answer
        self._statistics.shared += 1
        return dataclasses.replace(answer, shared=True, latency_s=clock() - asked_s)

    def _ask(self, wired: Wired, case: Case, watch: Watch | None) -> LiveTrial:
        live = LiveTrial(case, self.pipeline, self.explain_strategy(), watch)
        live.steering = self._steering(live, routing=self._routing)
        live.trial = self._begin(self._carry_out(wired, live))
        live.answer = self._begin(self._answer(live))
        return live

    def _case(self, prompt: str | Prompt, conversation: str | None) -> Case:
        self._asked += 1
        return live_case(prompt, conversation, self._asked, f"{self._session}-{LIVE}")

    def _steering(self, live: LiveTrial, **what: Any) -> Steering:
        claim = Claim(live.conversation or "", self._asked)
        return Steering(self._workers, claim, live, **what)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that `shutdown` waits for."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _carry_out(self, wired: Wired, live: LiveTrial) -> Handled:
        """Run the trial once there is a place for it."""
        handled = None
        await self._places.enter(live.steering.claim)
        self._statistics.admitted(clock(), time.process_time())
        try:
            found = await run_trial(wired, live.case, live.choice.strategy, self._bench, live.steering)
            handled = live.handled(found.record, found.spans)
            live.log_end(handled.record)
            return handled
        finally:
            self._places.leave()
            self._statistics.left(clock(), time.process_time(), handled)
            self._warn()

    async def _answer(self, live: LiveTrial) -> Answer:
        """The answer, once it is remembered: the next prompt of its conversation may ask about it."""
        answer = await live.answer_it()
        if self._memory is not None and live.conversation is not None and answer.text is not None:
            turn = (live.conversation, live.case.prompt.text, answer.text, time.time())
            try:
                await asyncio.to_thread(self._memory.add, *turn)
            except QuarkBenchError as error:
                live.log(logging.WARNING, f"the answer is not remembered: {error}", error=str(error))
        return answer

    async def history(self, conversation: str, limit: int = 20) -> list[Turn]:
        """The last turns of a conversation, the newest last; none without a memory."""
        return [] if self._memory is None else await asyncio.to_thread(self._memory.history, conversation, limit)

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

        `agent` is the one of that name in `agents`, or None. The result is as in `execute_parallel`. Raises UsageError
        for what is no agent of an orchestrator.
        """
        if agent is not None and not isinstance(agent, LiveAgent):
            raise UsageError(f"agent {name!r}: give agents[{name!r}], or None; only this pipeline's agents are called")
        inputs = {"prompt": input_data} if isinstance(input_data, str) else dict(input_data)
        prompt = inputs.pop("prompt", "")
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
        if category is not None and self._routing is not None:
            known.setdefault(self._routing.finder, {CATEGORY: category})
        known = {position: value for position, value in known.items() if position not in named.values()}
        others = frozenset(range(len(self.pipeline.steps))) - set(named.values())
        live = LiveTrial(self._case(prompt, None), self.pipeline, Choice(strategy, "as it was asked for"))
        live.steering = self._steering(live, unneeded=others, given=known)
        await self._begin(self._carry_out(wired, live))
        return {name: result_of(name, live.outcomes[position]) for name, position in named.items()}

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
            "cache": None if self._bench.caching is None else dataclasses.asdict(self._bench.caching.counts),
            "breakers": histories(
                self._session, {LIVE: tuple(self.pipeline.breakers)}, self._bench.breakers.history(self._session), now_s
            ),
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
        return load_of(self._statistics, self.max_workers, self._resident, now_s)

    def _warn(self) -> None:
        now_s = clock()
        if now_s - self._warned_s >= WARN_EVERY_S and LOG.isEnabledFor(logging.WARNING):
            self._warned_s = now_s
            for text in warnings(self._load(now_s)):
                LOG.warning(text)

    # -- beginning and end

    async def _start(self) -> Wired:
        """The pipeline, its agents set up. Raises UsageError once it was shut down, and on another event loop."""
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise UsageError("an orchestrator belongs to the event loop that first used it; make another one here")
            self._loop = loop
        if self._wired is None or not self._open:
            async with self._opening:
                self._check_open()
                if not self._open:
                    await self._place.open()
                    self._open = True
                return await asyncio.to_thread(self.make_ready)
        return self._wired

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this orchestrator was shut down; make another one")

    def make_ready(self) -> Wired:
        """Set the agents up now rather than when the first prompt comes. Raises ExecutionError, naming the agent."""
        with self._wiring:
            wired = self._wired
            if wired is None:
                wired = self._wired = Wired(self._moved)
                self._bench.deadlines.refine(wired.shortest_limit_s)
            return wired

    async def shutdown(self) -> None:
        """Take no more prompts, and let those that are under way end."""
        self._closed = True
        async with self._opening:
            pass  # whoever was let in while agents were set up has begun now
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._place.close()
        for file in (self._memory, self._cache):
            if file is not None:
                file.close()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()
