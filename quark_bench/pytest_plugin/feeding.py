"""Feeding: latencies that were measured elsewhere become statistics of pytest-benchmark.

Its `_make_stats` takes them as they are, but is private. Where it is gone they go in by the public way: `pedantic`
calls a function that does nothing, under a timer that replays them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

MAKES_STATS = "_make_stats"
OURS = "quark-bench"
PERCENTS = (50, 90, 95, 99)
_REPLAY = pytest.StashKey["Replay"]()


class Replay:
    """A timer: of each two readings the difference is the next latency. Before it has any it is the ordinary clock."""

    __name__ = "replayed latencies"

    def __init__(self) -> None:
        self._readings: Iterator[float] | None = None

    def load(self, latencies_s: Iterable[float]) -> None:
        self._readings = (reading for latency_s in latencies_s for reading in (0.0, latency_s))

    def __call__(self) -> float:
        return time.perf_counter() if self._readings is None else next(self._readings)


def prepare_replay(item: pytest.Item) -> None:
    """Mark the test with a timer that replays, where pytest-benchmark has no other way in: its fixture reads the mark
    when it is made."""
    fixture = getattr(sys.modules.get("pytest_benchmark.fixture"), "BenchmarkFixture", None)
    if fixture is None or hasattr(fixture, MAKES_STATS):
        return
    mark = item.get_closest_marker("benchmark")
    replay = item.stash[_REPLAY] = Replay()
    item.add_marker(pytest.mark.benchmark(**{**(mark.kwargs if mark else {}), "timer": replay}), append=False)


class Feed:
    """Where the latencies of one test go. `idle` says why they go nowhere; it is empty where they are taken."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._replay = request.node.stash.get(_REPLAY, None)
        try:
            self._benchmark: Any = request.getfixturevalue("benchmark")
        except pytest.FixtureLookupError:
            self._benchmark = None
        self.idle = _why_idle(self._benchmark, request.config)

    @property
    def taken(self) -> bool:
        """Whether the test has used the fixture `benchmark`, which takes one benchmark a test."""
        return bool(getattr(self._benchmark, "_mode", None))

    def close(self) -> None:
        """Keep pytest-benchmark from warning of an unused fixture that the test did not ask for, also where it is
        switched off; another plugin's fixture knows no mode."""
        if hasattr(self._benchmark, "_mode") and not self.taken:
            self._benchmark._mode = OURS

    def take(self, latencies_s: Sequence[float], about: Mapping[str, Any]) -> None:
        """Feed latencies, in seconds, in order, with what is to stand beside them in the JSON file."""
        makes_stats = getattr(self._benchmark, MAKES_STATS, None)
        if makes_stats is not None:
            self._benchmark._mode = OURS
            statistics = makes_stats(1)
            for latency_s in latencies_s:
                statistics.update(latency_s)
        else:
            assert self._replay is not None, "the mark is set when the test is collected"
            self._replay.load(latencies_s)
            self._benchmark.pedantic(_nothing, rounds=len(latencies_s))
        self._benchmark.extra_info.update(about, measured_by=OURS)


def _nothing() -> None:
    """What `pedantic` calls."""


def _why_idle(benchmark: Any, config: pytest.Config) -> str:
    if benchmark is None:
        return "pytest-benchmark is missing (pip install 'quark-bench[pytest]')"
    module = type(benchmark).__module__
    if not module.startswith("pytest_benchmark."):
        return f"the fixture `benchmark` is another one, of {module}"
    if benchmark.enabled:
        return ""
    if config.getoption("benchmark_disable", False):
        return "--benchmark-disable"
    return "pytest-xdist switches benchmarks off, run them without -n"


def is_ours(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark, as it stands in a JSON file, was fed by the fixture `quark`."""
    return bool((benchmark.get("extra_info") or {}).get("measured_by") == OURS)


def add_percentiles(benchmarks: Iterable[dict[str, Any]]) -> None:
    """Put `p50, p90, p95, p99` of ours, in seconds, beside pytest-benchmark's statistics; none where there is none."""
    for each in filter(is_ours, benchmarks):
        for percent in PERCENTS:
            value = each["extra_info"]["measures"][f"p{percent}_latency_s"]["value"]
            if value is not None:
                each["stats"][f"p{percent}"] = value
