"""Inline: this process, one event loop. The reference that every other executor is tested against."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from quark_bench.errors import ExecutionError
from quark_bench.execute import Consumption, Setting, Work, job_of
from quark_bench.execute.dispatch import CHUNKS_AHEAD
from quark_bench.execute.drain import Drain
from quark_bench.execute.process import read_consumption, this_process
from quark_bench.plan import Block
from quark_bench.record import Batch

TICK_S = 0.25


class Inline:
    """Carries out blocks in this process."""

    hop_s = 0.0

    def __init__(self) -> None:
        self.drain = Drain()
        self._process = this_process()
        self._work: Work | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self._process.forget(self._work.run_key)

    def prepare(self, work: Work) -> None:
        self._work = work
        for shipment in work.shipments.values():
            self._process.load(shipment)

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        """Keep two chunks handed in and the lanes full across their border."""
        work = self._work
        assert work is not None, "prepare comes before run"
        lanes = work.arms[block.arm].in_flight
        chunks = setting.chunks(block, finished)
        under_way: dict[concurrent.futures.Future[Batch], int] = {}
        try:
            while not self.drain.over:
                while not self.drain.begun and (len(under_way) < CHUNKS_AHEAD or sum(under_way.values()) <= lanes):
                    chunk = next(chunks, None)
                    if chunk is None:
                        break
                    future = self._process.submit(self._process.carry_out(job_of(work, chunk, lanes)))
                    under_way[future] = len(chunk)
                if not under_way:
                    return
                done, _ = concurrent.futures.wait(under_way, TICK_S, "FIRST_COMPLETED")
                self._require_alive()
                for future in done:
                    del under_way[future]
                    yield future.result()
        finally:
            for future in under_way:
                future.cancel()

    def _require_alive(self) -> None:
        """Raise ExecutionError when an async agent has blocked the one event loop beyond its time limit."""
        stuck = self._process.bench.deadlines.stuck()
        if stuck is not None:
            raise ExecutionError(
                f"{stuck} blocks the event loop: make it a plain `def`, which gets a thread of its own, "
                "or use --on local, where it costs its own record only"
            )

    def takers(self, in_flight: int) -> int:
        return 1

    def consumption(self) -> Consumption:
        return read_consumption()

    def describe(self) -> Mapping[str, Any]:
        return {"on": "inline", "workers": 1, "address": None, "dashboard": None}
