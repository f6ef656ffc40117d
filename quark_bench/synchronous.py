"""Synchronous: what the live orchestrator is compared with, one prompt and one agent at a time."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.execute.event_loop import LoopThread
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
        self._loop = LoopThread("quark-bench-orchestrator")
        self._closed = False

    def handle(self, prompt: str | Prompt, *, conversation: str | None = None) -> Answer:
        """Answer a prompt: returns when all its agents have ended, so that `handled` of the answer is there."""
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
            if not self._closed:
                self._call(self._inner.shutdown())
                self._closed = True
                self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What comes of it. Whoever is interrupted while waiting leaves nothing behind that goes on."""
        if self._closed:
            coroutine.close()
            raise UsageError("this orchestrator was shut down; make another one")
        future = self._loop.submit(coroutine)
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
