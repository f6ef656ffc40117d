"""Inline: this process, one event loop. The reference that every other executor is tested against."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from quark_bench.execute import Consumption, Setting, Work, job_of
from quark_bench.execute.breakers import histories
from quark_bench.execute.process import read_consumption, this_process
from quark_bench.plan import Block
from quark_bench.record import Batch


class Inline:
    """Carries out blocks in this process."""

    hop_s = 0.0

    def __init__(self) -> None:
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
        loaded = {arm: self._process.load(shipment) for arm, shipment in work.shipments.items()}
        self._breakers = {arm: tuple(wired.pipeline.breakers) for arm, wired in loaded.items()}

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        assert self._work is not None, "prepare comes before breakers"
        rows = self._process.bench.breakers.history(self._work.run_key)
        return histories(self._work.run_key, self._breakers, rows, time.perf_counter() - since_s)

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        """Keep two chunks handed in and the lanes full across their border."""
        work = self._work
        assert work is not None, "prepare comes before run"
        lanes = work.arms[block.arm].in_flight
        under_way: dict[concurrent.futures.Future[Batch], int] = {}
        try:
            for chunk in setting.chunks(block, finished):
                future = self._process.submit(self._process.carry_out(job_of(work, chunk, lanes)))
                under_way[future] = len(chunk)
                while len(under_way) > 1 and sum(under_way.values()) > lanes:
                    done, _ = concurrent.futures.wait(under_way, return_when="FIRST_COMPLETED")
                    for future in done:
                        del under_way[future]
                        yield future.result()
            for future in concurrent.futures.as_completed(under_way):
                yield future.result()
        finally:
            for future in under_way:
                future.cancel()

    def takers(self, in_flight: int) -> int:
        return 1

    def consumption(self) -> Consumption:
        return read_consumption()

    def describe(self) -> Mapping[str, Any]:
        return {"on": "inline", "workers": 1, "address": None, "dashboard": None}
