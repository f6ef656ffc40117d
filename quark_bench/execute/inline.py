"""Inline: this process, one event loop. The reference that every other executor is tested against."""

from __future__ import annotations

import contextlib
import functools
import queue
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from quark_bench.errors import ExecutionError
from quark_bench.execute import Consumption, Setting, Work, job_of
from quark_bench.execute.breakers import histories
from quark_bench.execute.caching import CacheCounts
from quark_bench.execute.dispatch import Dispatch, Order
from quark_bench.execute.drain import Drain
from quark_bench.execute.granularity import Costs
from quark_bench.execute.process import read_consumption, this_process
from quark_bench.execute.ration import ration_histories
from quark_bench.execute.step import clock
from quark_bench.execute.timetable import Timetable, timetable
from quark_bench.plan import Block
from quark_bench.record import Batch

TICK_S = 0.25
HERE = "inline"
"""The one worker that there is."""
News = tuple[Order, "Future[Batch] | None"]
"""An order whose last prompt has begun, or which has ended as the future tells."""


class Inline:
    """Carries out blocks in this process."""

    costs = Costs(hop_s=0.0, task_s=0.0, processes=1, cores=1)

    def __init__(self) -> None:
        self.drain = Drain()
        self._process = this_process()
        self._work: Work | None = None
        self._breakers: dict[str, tuple[str, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self._process.forget(self._work.run_key)

    def prepare(self, work: Work) -> None:
        self._work = work
        self._process.bench.breakers.link(None)
        self._process.bench.breakers.forget(work.run_key)
        self._process.bench.permits.link(None)
        self._process.bench.permits.forget(work.run_key)
        loaded = {arm: self._process.load(shipment) for arm, shipment in work.shipments.items()}
        self._breakers = {arm: tuple(wired.pipeline.breakers) for arm, wired in loaded.items()}

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        assert self._work is not None, "prepare comes before breakers"
        rows = self._process.bench.breakers.history(self._work.run_key)
        return histories(self._work.run_key, self._breakers, rows, time.perf_counter() - since_s)

    def rations(self, since_s: float) -> list[dict[str, Any]]:
        assert self._work is not None, "prepare comes before rations"
        hub = self._process.bench.permits.hub
        now_s = time.perf_counter()
        return ration_histories(hub.history(self._work.run_key, now_s), now_s - since_s)

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        """One worker's dispatch."""
        work = self._work
        assert work is not None, "prepare comes before run"
        times = timetable(work, block, setting, finished, clock())
        chunks = setting.chunks(block, finished)
        dispatch = Dispatch(chunks, work.arm(block).in_flight, by_turns=times is not None)
        dispatch.present({HERE})
        news: queue.SimpleQueue[News] = queue.SimpleQueue()
        under_way: set[Future[Batch]] = set()
        try:
            while not (dispatch.done or self.drain.over):
                if self.drain.begun:
                    dispatch.stop()
                orders = dispatch.orders() if times is None else dispatch.orders(times.handed_out(clock()))
                under_way.update(self._submit(work, order, times, news) for order in orders)
                with contextlib.suppress(queue.Empty):
                    order, ended = news.get(timeout=TICK_S)
                    if ended is None:
                        dispatch.begun(order.number)
                    else:
                        dispatch.returned(order)
                        under_way.remove(ended)
                        yield ended.result()
                self._require_alive()
        finally:
            for future in under_way:
                future.cancel()

    def _submit(
        self, work: Work, order: Order, times: Timetable | None, news: queue.SimpleQueue[News]
    ) -> Future[Batch]:
        due_s = () if times is None else times.due_s(order.start, order.stop)
        job = job_of(work, order.chunk, order.lanes, due_s)
        future = self._process.submit(self._process.carry_out(job, functools.partial(news.put, (order, None))))
        future.add_done_callback(lambda ended: news.put((order, ended)))
        return future

    def _require_alive(self) -> None:
        """Raise ExecutionError when an async agent has blocked the one event loop beyond its time limit."""
        stuck = self._process.bench.deadlines.stuck()
        if stuck is not None:
            raise ExecutionError(
                f"{stuck} blocks the event loop: make it a plain `def`, which gets a thread of its own, "
                "or use --on local, where it costs its own record only"
            )

    def cache_counts(self) -> CacheCounts:
        assert self._work is not None, "prepare comes before cache_counts"
        return self._process.cache_counts(self._work.pipeline_keys)

    def consumption(self) -> Consumption:
        return read_consumption()

    def describe(self) -> Mapping[str, Any]:
        return {"on": "inline", "workers": 1, "address": None, "dashboard": None}
