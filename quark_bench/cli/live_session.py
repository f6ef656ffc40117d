"""Live session: an orchestrator beside the thread that reads and writes lines, and what is kept of it."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.cli.run import choose_pipeline
from quark_bench.conversations import Turn
from quark_bench.errors import describe
from quark_bench.execute.event_loop import LoopThread
from quark_bench.live_trial import Answer, Progress, Watch
from quark_bench.model import Model
from quark_bench.orchestrator import AsyncOrchestrator
from quark_bench.resolve import resolve
from quark_bench.sessions import append_session, check_state, session_of

T = TypeVar("T")

SESSIONS, CACHE, MEMORY = "sessions.jsonl", "cache.sqlite", "memory.sqlite"
"""In the folder of --state."""
UNTOLD_S = 0.5
"""How long agents may keep a session from ending before that is said."""
STATS_S = 5.0
"""How long an ending session waits for its statistics, which an agent that blocks the event loop would keep back."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """The options of a command that answers prompts."""

    command: str
    max_workers: int
    pipeline: str
    latency: str
    routes: Path | None
    state: Path
    conversation: str
    model: Model | None = None


class LiveSession:
    """Answers prompts from its opening to its closing; then its statistics are kept.

    The orchestrator runs in a thread of its own; all that is shown is shown by the caller's. Raises QuarkBenchError for
    wrong options and for an agent whose set-up fails.
    """

    def __init__(self, options: LiveOptions) -> None:
        self.options = options
        check_state(options.state)
        memory = options.state / MEMORY
        pipeline = choose_pipeline(
            options.pipeline,
            model=options.model,
            latency=options.latency,
            knowledge=None,
            learn=memory if options.pipeline == "quark" else None,
        )
        if options.model is not None:
            pipeline = resolve(pipeline, model=options.model)[0]
        self.orchestrator = AsyncOrchestrator(
            options.max_workers,
            pipeline=pipeline,
            routes=options.routes,
            cache=options.state / CACHE,
            memory=memory,
        )
        self.orchestrator.make_ready()
        self._loop = LoopThread("meta-async")
        self._awaited: Future[Any] | None = None
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._began_s = time.monotonic()

    def ask(self, prompt: str, show: Callable[[Progress], None], *, to_the_end: bool = False) -> Answer:
        """The answer, as soon as it is there or, `to_the_end`, when the last agent has ended; meanwhile what agents do
        is shown, in this thread. Raises CancelledError after `cancel`."""
        seen: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        asked = self._submit(self._answered(prompt, seen.put, to_the_end))
        asked.add_done_callback(lambda _: seen.put(None))
        try:
            while (progress := seen.get()) is not None:
                show(progress)
            return asked.result()
        finally:
            asked.cancel()  # where showing was interrupted

    async def _answered(self, prompt: str, watch: Watch, to_the_end: bool) -> Answer:
        answer = await self.orchestrator.handle(prompt, conversation=self.options.conversation, watch=watch)
        if to_the_end:
            await answer.finished()
        return answer

    def history(self, limit: int) -> list[Turn]:
        """The last turns of the conversation, also of earlier sessions, the newest last."""
        return self._submit(self.orchestrator.history(self.options.conversation, limit)).result()

    def stats(self) -> dict[str, Any]:
        """The orchestrator's. Raises CancelledError after `cancel`."""
        return self._submit(self.orchestrator.get_performance_stats()).result()

    def cancel(self) -> None:
        """Give up what the caller waits for; safe to call in a signal's handler."""
        if self._awaited is not None:
            self._awaited.cancel()

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        self._awaited = future = self._loop.submit(coroutine)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let agents that are under way end, and keep the statistics. `cancel` and Ctrl-C cut that short."""
        ended = self._submit(self.orchestrator.shutdown())
        try:
            self._wait_for(ended)
        except CancelledError:
            pass
        finally:
            self._keep()
            self._loop.close()

    def _wait_for(self, ended: Future[None]) -> None:
        """Say what is waited for where that is long enough to wonder about."""
        try:
            ended.result(UNTOLD_S)
        except TimeoutError:
            print("meta-async: waiting for agents that are under way; Ctrl-C leaves at once", file=sys.stderr)
            ended.result()

    def _keep(self) -> None:
        options = self.options
        try:
            stats = self._submit(self.orchestrator.get_performance_stats()).result(STATS_S)
            session = session_of(
                stats,
                began=self._began,
                lasted_s=time.monotonic() - self._began_s,
                command=options.command,
                pipeline=self.orchestrator.pipeline.name,
            )
            append_session(options.state / SESSIONS, session)
        except (OSError, TimeoutError, CancelledError) as error:
            print(f"meta-async: the session's statistics are not kept: {describe(error)}", file=sys.stderr)
