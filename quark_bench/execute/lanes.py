"""Lanes: the gate of a process, which keeps a fixed number of prompts under way across the borders of chunks.

A lane is a task that takes one prompt after another from the chunks handed in so far. While there is a next
chunk, no lane idles until the last prompt of the present one has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from quark_bench.dataset import Prompt
from quark_bench.execute import Job, PromptRow
from quark_bench.execute.step import Bench, Case, Wired
from quark_bench.execute.trial import run_trial
from quark_bench.record import Batch, ModelCall, Record, Span, columns


class ChunkRun:
    """A chunk on its way through the lanes; `finished` resolves to its batch.

    `begun` is called once its last prompt has begun: the lanes are at the next chunk then.
    """

    def __init__(self, job: Job, wired: Wired, bench: Bench, begun: Callable[[], None]) -> None:
        self.job = job
        self.begun = begun
        self.wired = wired
        self.bench = bench
        self.finished: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        self.waiting: Iterator[PromptRow] = iter(job.prompts)
        self._records: list[Record] = []
        self._spans: list[Span] = []
        self._calls: list[ModelCall] = []

    async def carry_out(self, row: PromptRow, due_s: float | None = None) -> None:
        """Run one of the chunk's prompts, in an open load one that is due; the last one to end completes the batch."""
        identity, text, category, metadata = row
        job = self.job
        prompt = Prompt(identity, text, category, metadata=metadata)
        case = Case.of(prompt, job.arm.name, job.repeat, job.seed, job.run_key)
        try:
            record, spans, calls = await run_trial(self.wired, case, job.arm.strategy, self.bench)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the chunk reports it, the lane goes on
            if not self.finished.done():
                self.finished.set_exception(error)
            return
        self._records.append(record if due_s is None else record.due_at(due_s))
        self._spans.extend(spans)
        self._calls.extend(calls)
        if len(self._records) == len(job.prompts) and not self.finished.done():
            self.finished.set_result(self._batch())

    def _batch(self) -> Batch:
        job = self.job
        return Batch(
            job.arm.name,
            job.repeat,
            job.block,
            job.chunk,
            columns(Record, self._records),
            columns(Span, self._spans),
            columns(ModelCall, self._calls),
        )


class Lanes:
    """At most so many prompts under way, in the order in which their chunks were added."""

    def __init__(self) -> None:
        self._width = 0
        self._chunks: deque[ChunkRun] = deque()
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, chunk: ChunkRun) -> asyncio.Future[Batch]:
        """Queue a chunk, and be as wide as its job says from now on. Called on the loop."""
        self._width = chunk.job.lanes
        self._chunks.append(chunk)
        for _ in range(min(self._width - self._open, len(chunk.job.prompts))):
            self._open += 1
            lane = asyncio.create_task(self._lane())
            self._tasks.add(lane)
            lane.add_done_callback(self._tasks.discard)
        return chunk.finished

    async def _lane(self) -> None:
        """Take prompts until there are none, or one lane too many. Closing happens in the step that saw none: a
        chunk that is added a moment later finds the lane closed, never closing."""
        while self._chunks and self._open <= self._width:
            chunk = self._chunks[0]
            row = None if chunk.finished.done() else next(chunk.waiting, None)  # cancelled: nobody waits for it
            if row is None:
                self._chunks.popleft()
                chunk.begun()
                continue
            await chunk.carry_out(row)
            await asyncio.sleep(0)  # agents that never wait must not keep the other lanes from starting
        self._open -= 1
