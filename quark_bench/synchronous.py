"""Synchronous: what the live orchestrator is compared with, one prompt and one agent at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.execute.event_loop import precise_event_loop
from quark_bench.live_trial import Answer
from quark_bench.orchestrator import AsyncOrchestrator

T = TypeVar("T")


class Orchestrator:
    """The synchronous orchestrator: one prompt at a time, its agents one after another, in an event loop of its own.

    Options are AsyncOrchestrator's.
    """

    def __init__(self, **options: Any) -> None:
        self._inner = AsyncOrchestrator(**{"strategy": "sequential", **options})
        self._turn = threading.Lock()
        self._loop = precise_event_loop()
        self._thread = threading.Thread(target=self._run, name="quark-bench-orchestrator", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

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
        """Let go of everything, once the prompt that is under way has ended."""
        with self._turn:
            if not self._loop.is_closed():
                self._call(self._inner.shutdown())
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What comes of it. Whoever is interrupted while waiting leaves nothing behind that goes on."""
        if self._loop.is_closed():
            coroutine.close()
            raise UsageError("this orchestrator was shut down; make another one")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> Self:
        try:
            self._call(self._inner.__aenter__())
        except BaseException:
            self.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
