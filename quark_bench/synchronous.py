"""Synchronous: what the live orchestrator is compared with, one prompt and one agent at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.dataset import Prompt
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
