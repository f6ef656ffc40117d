"""Live statistics: what an orchestrator has done since it began, in constant memory. Time comes in as a number."""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quark_bench.critical_path import NOTHING, UnderWay, under_way
from quark_bench.record import ENGINE_FAULT, REFUSAL, Record, RecordStatus, Span, SpanStatus
from quark_bench.schedule import earliest_ends, longest_path, most_at_once
from quark_bench.stats import Interval, mean_interval, quantile_interval

RECENT = 10_000
"""Latencies that percentiles are over: enough for a 99th percentile with its interval."""
PERCENTS = (50, 95, 99)
SMOOTHING = 0.1
"""Weight of the newest call in an agent's mean: the last ten or twenty calls decide, as load and models change."""
UNROUTED = "(whole pipeline)"
"""Stands for all categories without a route: there may be any number of them."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A prompt that was handled live. `answered_s` is from when it was asked until its answer was there; `route` the
    category, where it has one; `unneeded` names the agents that this leaves out, of which some may have begun before
    it was known."""

    record: Record
    spans: Sequence[Span]
    parallel: bool
    answered_s: float
    route: str | None = None
    unneeded: frozenset[str] = frozenset()


@dataclass(slots=True)
class AgentStats:
    """One agent: how its calls ended, and the seconds that they took; `recent_s` is a mean that forgets."""

    calls: int = 0
    failed: int = 0
    fallbacks: int = 0
    cached: int = 0
    skipped: int = 0
    refused: int = 0
    work_s: float = 0.0
    queue_s: float = 0.0
    unneeded: int = 0
    unneeded_s: float = 0.0
    prompts_failed: int = 0
    """Prompts that failed because of it."""
    recent_s: float | None = None
    last_error: str | None = None

    def add(self, span: Span, unneeded: bool) -> None:
        """Count an attempt, or that there was none."""
        self.queue_s += span.queue_s
        if span.status == SpanStatus.SKIPPED:
            self.skipped += 1
        elif span.status == SpanStatus.CACHED:
            self.cached += 1
        elif span.attempt > 0:
            self._add_attempt(span, unneeded)

    def _add_attempt(self, span: Span, unneeded: bool) -> None:
        took_s = span.end_s - span.start_s
        self.calls += 1
        self.work_s += took_s
        self.unneeded += unneeded
        self.unneeded_s += took_s if unneeded else 0.0
        self.fallbacks += span.status == SpanStatus.FALLBACK
        if span.status == SpanStatus.FAILED:
            self.failed += 1
            self.last_error = span.error
            self.refused += bool(span.error and span.error.startswith(REFUSAL))
        else:
            self.recent_s = took_s if self.recent_s is None else self.recent_s + SMOOTHING * (took_s - self.recent_s)

    def as_data(self) -> dict[str, Any]:
        """Plain data for a person or a program."""
        mean_s = self.work_s / self.calls if self.calls else None
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**own, "mean_s": mean_s}


@dataclass(slots=True)
class RouteStats:
    """Prompts that took one route, and how many calls of each agent they needed."""

    prompts: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    def as_data(self) -> dict[str, Any]:
        """Plain data for a person or a program."""
        return {"prompts": self.prompts, "agents": dict(self.calls)}


@dataclass(slots=True)
class LiveStatistics:
    """Counts and sums over all prompts, and the latest latencies. `needs` and `agents` are the pipeline's.

    A prompt is under way from its admission until its last agent has ended; `busy_s` is the time during which any was,
    `busy_cpu_s` the CPU time that this process used then.
    """

    names: tuple[str, ...]
    needs: Sequence[tuple[int, ...]]
    answer_index: int
    agents: dict[str, AgentStats] = field(init=False)
    statuses: Counter[str] = field(default_factory=Counter)
    routes: dict[str, RouteStats] = field(default_factory=dict)
    shared: int = 0
    """Prompts that were answered by the execution of an equal one."""
    parallel: int = 0
    went_sequential: int = 0
    """Prompts whose agents went on one after another because of a fault of the engine."""
    in_flight: int = 0
    peak_in_flight: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    lifetimes_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    width: int = 0
    """Calls of one prompt that could have been under way at once, at most, on the routes that were taken."""
    within: UnderWay = NOTHING
    ideal: UnderWay = NOTHING
    work_s: float = 0.0
    critical_path_s: float = 0.0
    answer_path_s: float = 0.0
    queue_s: float = 0.0
    lifetime_s: float = 0.0
    _busy_s: float = 0.0
    _busy_cpu_s: float = 0.0
    _since_s: float = 0.0
    _since_cpu_s: float = 0.0

    def __post_init__(self) -> None:
        self.agents = {name: AgentStats() for name in self.names}

    # -- as it happens

    def admitted(self, now_s: float, cpu_s: float) -> None:
        """A prompt has begun, at this time and when this process had used so much CPU time."""
        if self.in_flight == 0:
            self._since_s, self._since_cpu_s = now_s, cpu_s
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def left(self, now_s: float, cpu_s: float, handled: Handled | None) -> None:
        """A prompt is under way no longer: it has ended, or was cancelled (None)."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._busy_s += now_s - self._since_s
            self._busy_cpu_s += cpu_s - self._since_cpu_s
        if handled is not None:
            self._add(handled)

    def _add(self, handled: Handled) -> None:
        record = handled.record
        self.statuses[record.status] += 1
        self.parallel += handled.parallel
        self.went_sequential += record.error is not None and record.error.startswith(ENGINE_FAULT)
        if record.status == RecordStatus.FAILED and record.error_agent is not None:
            self.agents[record.error_agent].prompts_failed += 1
        self.latencies_s.append(handled.answered_s)
        self.lifetimes_s.append(record.latency_s)
        self.lifetime_s += record.latency_s
        self.work_s += record.work_s
        self.critical_path_s += record.critical_path_s
        route = self.routes.setdefault(handled.route or UNROUTED, RouteStats())
        route.prompts += 1
        for span in handled.spans:
            self.queue_s += span.queue_s
            self.agents[span.agent].add(span, span.agent in handled.unneeded)
            route.calls[span.agent] += span.status != SpanStatus.SKIPPED and span.agent not in handled.unneeded
        self._add_times(handled.spans, handled.unneeded)

    def _add_times(self, spans: Sequence[Span], unneeded: frozenset[str]) -> None:
        """How many calls were under way at once, and how many would have been with nothing in their way.

        Nobody waited for what was not needed.
        """
        start_s = np.array([span.start_s for span in spans])
        end_s = np.array([span.end_s for span in spans])
        self.within += under_way(np.zeros(len(spans), np.int64), start_s, end_s)
        durations_s = dict.fromkeys(self.names, 0.0)
        for span in spans:
            durations_s[span.agent] += span.end_s - span.start_s
        took_s = [durations_s[name] for name in self.names]
        needs = tuple(tuple(need for need in each if self.names[need] not in unneeded) for each in self.needs)
        called = frozenset(span.agent for span in spans if span.status != SpanStatus.SKIPPED)
        self.width = max(self.width, _width(needs, tuple(name in called for name in self.names)))
        ends_s = np.array(earliest_ends(took_s, needs))
        self.ideal += under_way(np.zeros(len(took_s), np.int64), ends_s - np.array(took_s), ends_s)
        self.answer_path_s += float(ends_s[self.answer_index])

    # -- when asked

    def busy_s(self, now_s: float) -> float:
        """Seconds during which at least one prompt was under way."""
        return self._busy_s + (now_s - self._since_s if self.in_flight else 0.0)

    def busy_cpu_s(self, cpu_s: float) -> float:
        """CPU seconds that this process used during that time."""
        return self._busy_cpu_s + (cpu_s - self._since_cpu_s if self.in_flight else 0.0)

    @property
    def completed(self) -> int:
        """Prompts that were answered, if need be by a fallback or without an optional agent."""
        return self.statuses[RecordStatus.OK] + self.statuses[RecordStatus.DEGRADED]

    @property
    def ended(self) -> int:
        return self.statuses.total()

    def throughput_per_s(self, now_s: float) -> float:
        """Prompts that ended, per second in which any was under way: waiting for a person does not count."""
        busy_s = self.busy_s(now_s)
        return self.ended / busy_s if busy_s > 0 else 0.0

    def mean(self, total: float) -> float:
        """Of a sum over all prompts that ended; 0 before the first."""
        return total / self.ended if self.ended else 0.0

    def durations_s(self) -> list[float | None]:
        """What each agent takes of late, in the pipeline's order; None before a prompt has ended, and from then on 0
        for an agent that none has needed yet."""
        unknown_s = 0.0 if self.ended else None
        recent_s = (self.agents[name].recent_s for name in self.names)
        return [unknown_s if each is None else each for each in recent_s]

    def performance_metrics(self, now_s: float) -> dict[str, Any]:
        """Rates and latencies; the first three under the names that the design document gives them."""
        return {
            "parallel_execution_count": self.parallel,
            "concurrent_agents": self.within.peak,
            "throughput": self.throughput_per_s(now_s),
            "parallel_rate": self.within.shared_share,
            "ideal_parallel_rate": self.ideal.shared_share,
            "latency_s": latency_table(self.latencies_s),
            "lifetime_s": latency_table(self.lifetimes_s),
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "busy_s": self.busy_s(now_s),
        }

    def execution_stats(self) -> dict[str, Any]:
        """Counts of prompts; the first four under the names that the design document gives them."""
        return {
            "total_tasks": self.ended + self.in_flight,
            "completed_tasks": self.completed,
            "failed_tasks": self.statuses[RecordStatus.FAILED],
            "average_execution_time": self.mean(self.lifetime_s),
            "degraded_tasks": self.statuses[RecordStatus.DEGRADED],
            "shared_tasks": self.shared,
            "went_sequential": self.went_sequential,
        }

    def longest_agent(self) -> str | None:
        """The agent that takes most of the critical path, as agents take of late."""
        took_s = [duration_s or 0.0 for duration_s in self.durations_s()]
        whole_s = longest_path(took_s, self.needs)
        without_s = [longest_path([*took_s[:n], 0.0, *took_s[n + 1 :]], self.needs) for n in range(len(took_s))]
        saved_s = [whole_s - each for each in without_s]
        return self.names[saved_s.index(max(saved_s))] if whole_s > 0 else None


@functools.lru_cache(maxsize=256)
def _width(needs: tuple[tuple[int, ...], ...], called: tuple[bool, ...]) -> int:
    """How many of the agents that were called could be under way at once."""
    place = {step: new for new, step in enumerate(step for step, was in enumerate(called) if was)}
    return most_at_once([[place[need] for need in needs[step] if need in place] for step in place])


def latency_table(latencies_s: Sequence[float] | deque[float]) -> dict[str, Any]:
    """Mean and percentiles in seconds, each with its 95 % interval; None where there are too few for one."""
    values = np.array(latencies_s, np.float64)
    found = {"mean": mean_interval(values)}
    found |= {f"p{percent}": quantile_interval(values, percent / 100) for percent in PERCENTS}
    return {"n": len(values), **{name: _bounds(each) for name, each in found.items()}}


def _bounds(interval: Interval) -> Mapping[str, float | None]:
    low = interval.low if interval.low is None else max(0.0, interval.low)  # a t interval of few values may say less
    return {"value": interval.value, "low": low, "high": interval.high}
