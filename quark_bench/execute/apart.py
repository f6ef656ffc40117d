"""Apart: an executor for each arm, so that no process ever holds the code of two.

Blocks run one at a time, so that only the processes of one arm are at work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from quark_bench.errors import ExecutionError
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
        self._at_work = next(iter(executors))

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
        """Raises ExecutionError, naming the arm, where its agents cannot be made ready."""
        for arm, executor in self._executors.items():
            own = dataclasses.replace(work, arms={arm: work.arms[arm]}, shipments={arm: work.shipments[arm]})
            try:
                executor.prepare(own)
            except ExecutionError as error:
                raise type(error)(f"{arm}: {error}") from error

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        self._at_work = block.arm
        yield from self._executors[block.arm].run(block, setting, finished)

    def consumption(self) -> Consumption:
        """CPU seconds of all; the peak is that of the arm whose block was the last, for the other only waited."""
        busy = self._executors[self._at_work].consumption()  # first: reading resets this process's own peak
        idle = [executor.consumption() for arm, executor in self._executors.items() if arm != self._at_work]
        own_s = read_consumption().cpu_s  # each of them counts this process
        return Consumption(
            busy.cpu_s + sum(each.cpu_s - own_s for each in idle),
            busy.peak_memory_bytes,
            busy.processes.union(*(each.processes for each in idle)),
        )

    def describe(self) -> Mapping[str, Any]:
        """The first arm's place; all are alike."""
        first = next(iter(self._executors.values()))
        return {**first.describe(), "apart": True}

    def rations(self, since_s: float) -> list[dict[str, Any]]:
        return [told for each in self._executors.values() for told in each.rations(since_s)]

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        return [told for each in self._executors.values() for told in each.breakers(since_s)]

    def cache_counts(self) -> CacheCounts:
        return sum((each.cache_counts() for each in self._executors.values()), CacheCounts())

    @property
    def costs(self) -> Costs:
        """The first arm's: all are alike."""
        return next(iter(self._executors.values())).costs
