"""Admission: prompts of an open load, each started at the moment it is due, as many at once as that makes."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from quark_bench.execute import PromptRow
from quark_bench.execute.lanes import ChunkRun
from quark_bench.execute.step import clock
from quark_bench.record import Batch


class Admission:
    """The open load's counterpart of `Lanes`, in one process. A prompt that is due while as many are under way as may
    be starts when one of them ends: late, which its record shows."""

    def __init__(self) -> None:
        self._width = 0
        self._waiting: list[tuple[float, int, ChunkRun, PromptRow]] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, chunk: ChunkRun) -> asyncio.Future[Batch]:
        """Keep a chunk's prompts until they are due. Called on the loop."""
        self._width = chunk.job.lanes
        for due_s, row in zip(chunk.job.due_s, chunk.waiting, strict=True):
            heapq.heappush(self._waiting, (due_s, next(self._numbers), chunk, row))
        self._admit()
        return chunk.finished

    def _admit(self) -> None:
        """Start what is due, and be called again for the next: each time by its own deadline, so that no lateness
        adds up."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and len(self._tasks) < self._width:
            due_s, _, chunk, row = self._waiting[0]
            if (ahead_s := due_s - clock()) > 0:
                self._alarm = asyncio.get_running_loop().call_later(ahead_s, self._admit)
                return
            heapq.heappop(self._waiting)
            if not chunk.finished.done():  # else nobody waits for it any more
                task = asyncio.create_task(chunk.carry_out(row, due_s))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        was_full = len(self._tasks) >= self._width
        self._tasks.discard(task)
        if was_full:
            self._admit()
