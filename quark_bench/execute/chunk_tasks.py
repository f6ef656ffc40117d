"""Chunk tasks: every chunk one Dask task, pinned to the worker that `dispatch` chose for it.

Pinned, because Dask would otherwise move a lost chunk to another worker without a word, there to kill that one too.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from distributed import Client, get_worker, secede

from quark_bench.errors import ExecutionError, describe
from quark_bench.execute import Work, job_of
from quark_bench.execute.dispatch import Dispatch, Order
from quark_bench.execute.drain import Drain
from quark_bench.execute.lost import lost_batch, lost_trial
from quark_bench.execute.members import Members
from quark_bench.execute.process import MISSING, PipelineMissingError, this_process
from quark_bench.execute.returns import Returns, bytes_of
from quark_bench.execute.step import clock
from quark_bench.execute.timetable import Timetable
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Block, Chunk
from quark_bench.record import Batch, merged

BEGUN = "quark-bench-begun"
"""Topic on which a worker tells that the last prompt of a chunk has begun."""


class ChunkTasks:
    """Runs blocks of one arm at chunk granularity."""

    def __init__(self, client: Client, work: Work, pipeline: Pipeline, members: Members, drain: Drain) -> None:
        self._client = client
        self._work = work
        self._pipeline = pipeline
        self._members = members
        self._drain = drain
        self._returns = Returns(client)
        self._times: Timetable | None = None
        self._submitted_s: dict[int, float] = {}
        self._numbers: dict[str, int] = {}
        self._parts: defaultdict[int, list[Batch]] = defaultdict(list)

    def run(self, block: Block, chunks: Iterator[Chunk], times: Timetable | None) -> Iterator[Batch]:
        """Keep every worker's lanes full, or in an open load hand out what is due soon; a batch comes when all trials
        of a chunk have ended."""
        self._times = times
        dispatch = Dispatch(chunks, self._work.arm(block).in_flight, by_turns=times is not None)
        self._client.subscribe_topic(BEGUN, self._hear)
        try:
            while not (dispatch.done or self._drain.over):
                self._members.check()
                if self._drain.begun:
                    dispatch.stop()
                for order in self._orphans(dispatch):
                    self._returns.drop(order)
                    yield from self._lose(dispatch, order)
                for number in self._returns.heard():
                    dispatch.begun(number)
                dispatch.present(self._members.ready.keys())
                for order in dispatch.orders() if times is None else dispatch.orders(times.handed_out(clock())):
                    self._submit(order)
                for order, future, result in self._returns.take():
                    brought = bytes_of(future, result)
                    future.release()
                    if brought == MISSING:
                        self._members.forget(order.worker)
                    if brought:
                        yield from self._keep(order, self._batch_of(brought, dispatch.losses(order)), dispatch.returned)
                    else:
                        yield from self._lose(dispatch, order)
        finally:
            self._client.unsubscribe_topic(BEGUN)
            self._returns.close()

    def _hear(self, event: tuple[float, Any]) -> None:
        """A worker tells of a chunk; of chunks of other runs, too."""
        number = self._numbers.get(event[1])
        if number is not None:
            self._returns.tell(number)

    def _orphans(self, dispatch: Dispatch) -> list[Order]:
        """Orders whose worker has left: where Dask would wait for it to come back, or try the next one."""
        return [order for order in dispatch.under_way if order.worker not in self._members.ready]

    def _submit(self, order: Order) -> None:
        member = self._members.ready.get(order.worker)
        ahead_s = 0.0 if member is None else member.clock.offset_s
        job = job_of(self._work, order.chunk, order.lanes, tuple(due_s - ahead_s for due_s in self._due_s(order)))
        if order.alone:
            job = dataclasses.replace(job, prompts=self._work.rows(order.start, order.stop))
        label = f"{self._work.run_key}-{order.chunk.block.index}-{order.number}-{time.monotonic_ns()}"
        self._numbers[label] = order.number
        self._submitted_s[order.number] = clock()
        key, workers = ("chunk", label), [order.worker]
        future = self._client.submit(
            run_chunk, pickle.dumps(job, 5), label, key=key, workers=workers, pure=False, fifo_timeout=0
        )
        self._returns.add([future], [order])

    def _due_s(self, order: Order) -> tuple[float, ...]:
        """By this process's clock; empty in a closed load."""
        return () if self._times is None else self._times.due_s(order.start, order.stop)

    def _batch_of(self, brought: bytes, losses: int) -> Batch:
        outcome = pickle.loads(brought)
        if isinstance(outcome, str):
            raise ExecutionError(f"a worker could not carry out its chunk: {outcome}")
        assert isinstance(outcome, Batch), "a chunk returns its batch"
        if losses:
            outcome.records["executions"] = [1 + losses] * len(outcome)
        return dataclasses.replace(outcome, clock_offset_s=self._members.offset_s(outcome.records["worker"][0]))

    def _keep(self, order: Order, batch: Batch, settled: Callable[[Order], bool]) -> Iterator[Batch]:
        """Keep what has come of a chunk; hand it on when it is whole."""
        del self._submitted_s[order.number]
        parts = self._parts[order.chunk.index]
        parts.append(batch)
        if settled(order):
            yield merged(parts)
            del self._parts[order.chunk.index]

    def _lose(self, dispatch: Dispatch, order: Order) -> Iterator[Batch]:
        """Its trials run again, or, if it was one that had its second chance, fail."""
        if not dispatch.lost(order):
            del self._submitted_s[order.number]
            return
        ((prompt_id, _, category, _),) = self._work.rows(order.start, order.stop)
        due_s = self._due_s(order)
        lifetime_s = (max(self._submitted_s[order.number], *due_s, 0.0), clock())
        trial = lost_trial(self._pipeline, (prompt_id, category), lifetime_s, dispatch.losses(order))
        if due_s:
            trial = trial._replace(record=trial.record.due_at(*due_s))
        yield from self._keep(order, lost_batch(order.chunk, trial), dispatch.given_up)


# -- what runs on the workers


def run_chunk(job: bytes, label: str) -> bytes:
    """Task: carry out a chunk. Returns a pickled Batch, the text of what went wrong, or MISSING."""
    begun = functools.partial(get_worker().log_event, BEGUN, label)
    secede()  # the lanes bound the work; a thread that only waits must not take a slot from it
    process = this_process()
    try:
        return pickle.dumps(process.submit(process.carry_out(pickle.loads(job), begun)).result(), 5)
    except PipelineMissingError:
        return MISSING
    except BaseException as error:  # noqa: BLE001 - whatever leaves a task as an exception may kill the worker
        return pickle.dumps(describe(error), 5)
