"""Apart: an executor for each arm, so that no process ever holds the code of two.

Blocks run one at a time, so that only the processes of one arm are at work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from quark_bench.execute import Consumption, Executor, Setting, Work
from quark_bench.execute.caching import CacheCounts
from quark_bench.execute.drain import Drain
from quark_bench.execute.granularity import Costs
from quark_bench.execute.process import read_consumption
from quark_bench.plan import Block
from quark_bench.record import Batch


class Apart:
    """Carries out the blocks of each arm on that arm's own executor."""

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self.drain = Drain()
        self._executors = executors
        for each in executors.values():
            each.drain = self.drain
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for each in self._executors.values():
                opened.enter_context(each)
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def prepare(self, work: Work) -> None:
        for arm, executor in self._executors.items():
            executor.prepare(
                dataclasses.replace(work, arms={arm: work.arms[arm]}, shipments={arm: work.shipments[arm]})
            )

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        yield from self._executors[block.arm].run(block, setting, finished)

    def consumption(self) -> Consumption:
        own = read_consumption()
        read = [each.consumption() for each in self._executors.values()]
        return Consumption(
            sum(each.cpu_s for each in read) - (len(read) - 1) * own.cpu_s,  # each of them counts this process
            max(each.peak_memory_bytes for each in read),
            frozenset().union(*(each.processes for each in read)),
        )

    def describe(self) -> Mapping[str, Any]:
        """The first arm's place; all are alike."""
        first = next(iter(self._executors.values()))
        return {**first.describe(), "apart": True}

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        return [told for each in self._executors.values() for told in each.breakers(since_s)]

    def cache_counts(self) -> CacheCounts:
        return sum((each.cache_counts() for each in self._executors.values()), CacheCounts())

    @property
    def costs(self) -> Costs:
        """The first arm's: all are alike."""
        return next(iter(self._executors.values())).costs
