"""What-if: what faster, slower or fewer agents would make of an arm, from what was recorded of it. Pure.

An agent's durations times k, and every record's critical path again with them. What a record took beyond its critical
path is kept: waits for a slot or a retry, hops and the loop's own time are not the agents', so what agents save does
not shorten them. So latency' = latency - critical path + critical path'. Agents that run one after another have work
in place of the critical path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quark_bench import stats
from quark_bench.arm_run import ArmRun
from quark_bench.critical_path import Layout, earliest_ends, on_critical_path, shares
from quark_bench.durations import Durations, durations, prompt_numbers
from quark_bench.errors import UsageError
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import Trials, is_answered, numbers

FASTER = (0.10, 0.25, 0.50)
"""Shares by which each agent is made faster, to see where that pays."""
GROUPS = 10_000
"""Prompts beyond this number are put together in groups: independent ones stay so, and the memory is bounded.
Source: random groups, Wolter, Introduction to Variance Estimation, 2nd ed., chapter 2."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A measure as it was recorded and as it would be, with 95 % intervals."""

    name: str
    now: Interval
    then: Interval


@dataclass(frozen=True, slots=True)
class Gain:
    """What making one agent faster gives, the others as they are.

    `critical_share` is its share of all critical paths; `latency` has for each share in FASTER the ratio of latency
    then to now, a geometric mean over prompts with its 95 % interval: 0.89 is 11 % less.
    """

    agent: str
    critical_share: float
    latency: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a change of some agents would give.

    `factors` has for each changed agent what its durations are multiplied by, 0 for one that is dropped. `latency` is
    the ratio of latency then to now, over prompts: None, and no measures `predicted`, where nothing was changed.
    `gains` are those of every agent, the largest first. `cores_busy` is the share of the cores' time that prompts took:
    where it is high, durations hold waits for a core, which a faster agent shortens in others, too.
    """

    arm: str
    records: int
    factors: Mapping[str, float]
    latency: Interval | None
    predicted: tuple[Predicted, ...]
    gains: tuple[Gain, ...]
    cores_busy: float | None = None

    def __getitem__(self, name: str) -> Predicted:
        """A measure by its name. Raises KeyError."""
        return {each.name: each for each in self.predicted}[name]


def what_if(trials: Trials, arm: ArmRun, layout: Layout, answer: str, factors: Mapping[str, float]) -> WhatIf:
    """Predict one arm with these agents' durations multiplied; the spans are read once, part by part.

    `answer` is the agent that gives the answer; `factors` has names of the layout. Failures stay failures. Raises
    UsageError for an arm without records.
    """
    latency_s = numbers(trials.records(["latency_s"], arm.name), "latency_s")
    if not np.isfinite(latency_s).any():
        raise UsageError(f"arm {arm.name!r} has no records to predict from; run it, or take another with --arm")
    prompts = prompt_numbers(trials, arm.name)
    times = _Times(arm.one_by_one, layout, [name for name, _ in layout].index(answer))
    factor = np.array([factors.get(name, 1.0) for name, _ in layout])
    answered = is_answered(trials.records(["status"], arm.name))
    gains = _Gains(times, np.where(answered, latency_s, np.nan), prompts)
    saved = _Saved(times, factor, len(latency_s))
    for part in durations(trials, arm.name, layout):
        gains.add(part)
        saved.add(part)
    ratio: Interval | None = None
    predicted: tuple[Predicted, ...] = ()
    if factors:
        ratio, predicted = _Records(trials, arm, latency_s, prompts, answered).predicted(saved)
    return WhatIf(arm.name, len(latency_s), dict(factors), ratio, predicted, gains.all(), _cores_busy(arm, latency_s))


def _cores_busy(arm: ArmRun, latency_s: Floats) -> float | None:
    """Completions a second x CPU time of a prompt / cores (utilization law, Denning and Buzen 1978)."""
    if arm.cpu_s is None:
        return None
    rate = arm.throughput_per_s.value or arm.in_flight / float(np.nanmean(latency_s))
    return min(1.0, rate * arm.cpu_s / arm.cores)


@dataclass(frozen=True, slots=True)
class _Times:
    """How long agents with given durations take together, all and up to the answer."""

    one_by_one: bool
    layout: Layout
    answer: int

    def ends_s(self, durations_s: Floats) -> Floats:
        """When each agent ends, seconds from the first start; shape (records, agents)."""
        return np.cumsum(durations_s, axis=1) if self.one_by_one else earliest_ends(durations_s, self.layout)

    def all_s(self, durations_s: Floats) -> Floats:
        last_s: Floats = self.ends_s(durations_s).max(axis=1, initial=0.0)
        return last_s

    def critical_s(self, durations_s: Floats) -> Floats:
        """By agent, the part of its durations on critical paths."""
        on_path = True if self.one_by_one else on_critical_path(durations_s, self.layout)
        total: Floats = (durations_s * on_path).sum(axis=0)
        return total


class _Saved:
    """What each record, and its answer, would take less; and how much less work there would be in all."""

    def __init__(self, times: _Times, factor: Floats, records: int) -> None:
        self._times, self._factor = times, factor
        self.latency_s, self.answer_s = np.zeros(records), np.zeros(records)
        self.work_now_s = self.work_then_s = 0.0

    def add(self, part: Durations) -> None:
        now_s, then_s = part.by_agent_s, part.by_agent_s * self._factor
        ends_now_s, ends_then_s = self._times.ends_s(now_s), self._times.ends_s(then_s)
        self.latency_s[part.rows] = ends_now_s.max(axis=1, initial=0.0) - ends_then_s.max(axis=1, initial=0.0)
        self.answer_s[part.rows] = (ends_now_s - ends_then_s)[:, self._times.answer]
        self.work_now_s += float(now_s.sum())
        self.work_then_s += float(then_s.sum())


class _Gains:
    """Sums over groups of prompts for every agent and share: a mean log ratio and its error need no more."""

    def __init__(self, times: _Times, latency_s: Floats, prompts: Groups) -> None:
        self._times, self._latency_s, self._group = times, latency_s, prompts % GROUPS
        self._groups = int(self._group.max(initial=-1)) + 1
        self._critical_s = np.zeros(len(times.layout))
        self._logs = np.zeros((len(times.layout), len(FASTER), self._groups))
        self._counts = np.zeros(self._groups)

    def add(self, part: Durations) -> None:
        timed = self._latency_s[part.rows] > 0
        rows, durations_s = part.rows[timed], part.by_agent_s[timed]
        latency_s, group, all_s = self._latency_s[rows], self._group[rows], self._times.all_s(durations_s)
        self._critical_s += self._times.critical_s(durations_s)
        self._counts += np.bincount(group, minlength=self._groups)
        for agent in range(len(self._times.layout)):
            for which, share in enumerate(FASTER):
                then_s = durations_s.copy()
                then_s[:, agent] *= 1 - share
                logs = np.log1p(-_at_most(all_s - self._times.all_s(then_s), latency_s) / latency_s)
                self._logs[agent, which] += np.bincount(group, logs, self._groups)

    def all(self) -> tuple[Gain, ...]:
        critical = shares(self._critical_s)
        found = (
            Gain(name, float(critical[agent]), tuple(map(self._ratio, self._logs[agent])))
            for agent, (name, _) in enumerate(self._times.layout)
        )
        return tuple(sorted(found, key=lambda gain: gain.latency[1].value or 1.0))

    def _ratio(self, logs: Floats) -> Interval:
        some = self._counts > 0
        mean = stats.ratio_of_totals(logs[some], self._counts[some])
        return _each(mean, np.exp)


def _each(interval: Interval, made: Callable[[float], float]) -> Interval:
    """The interval with its value and bounds made into others."""
    value, low, high = (
        None if each is None else float(made(each)) for each in (interval.value, interval.low, interval.high)
    )
    return Interval(value, low, high, interval.n, interval.note)


def _at_most(saved_s: Floats, latency_s: Floats) -> Floats:
    """No record can save all it took; a rest of a thousandth keeps the ratio finite."""
    return np.minimum(saved_s, 0.999 * latency_s)


@dataclass(frozen=True, slots=True)
class _Records:
    """The arm's records as they were, from which those that would be are made."""

    trials: Trials
    arm: ArmRun
    latency_s: Floats
    prompts: Groups
    answered: NDArray[np.bool_]

    def predicted(self, saved: _Saved) -> tuple[Interval, tuple[Predicted, ...]]:
        """The ratio of latency then to now, and the measures."""
        answered = self.answered
        then_s = self.latency_s - _at_most(saved.latency_s, self.latency_s)
        answer_s = numbers(self.trials.records(["answer_s"], self.arm.name), "answer_s")
        answer_then_s = answer_s - _at_most(saved.answer_s, answer_s)
        prompts = {"prompts": self.prompts[answered]}
        ratio = stats.paired_log_ratio(then_s[answered], self.latency_s[answered], prompts)
        return ratio, (
            self._mean("mean_latency_s", self.latency_s, then_s, answered),
            *self._percentiles(np.where(answered, self.latency_s, np.inf), np.where(answered, then_s, np.inf)),
            self._mean("mean_answer_s", answer_s, answer_then_s, answered & np.isfinite(answer_s)),
            self._throughput(float(np.nanmean(then_s)) / float(np.nanmean(self.latency_s)), saved),
        )

    def _mean(self, name: str, now_s: Floats, then_s: Floats, counted: NDArray[np.bool_]) -> Predicted:
        groups = self.prompts[counted]
        now, then = (stats.mean_interval(each[counted], groups=groups) for each in (now_s, then_s))
        return Predicted(name, now, then)

    def _percentiles(self, now_s: Floats, then_s: Floats) -> Iterator[Predicted]:
        for percent in (50, 95):
            now, then = (stats.quantile_interval(each, percent / 100, groups=self.prompts) for each in (now_s, then_s))
            yield Predicted(f"p{percent}_latency_s", now, then)

    def _throughput(self, ratio: float, saved: _Saved) -> Predicted:
        """By Little's law (1961), as many in flight as were: prompts a second times latency stays what it was. An open
        load's schedule stays, too.

        CPU time is taken to go with the agents' work, and cores / CPU time of a prompt is the most there can be.
        """
        now = self.arm.throughput_per_s
        if now.value is None:
            now = Interval(self.arm.in_flight / float(np.nanmean(self.latency_s)), None, None, 0, "in flight / latency")
        if self.arm.is_open:
            return Predicted("throughput_per_s", now, now)
        then = _each(now, lambda rate: rate / ratio)
        work = saved.work_then_s / saved.work_now_s if saved.work_now_s else 1.0
        if self.arm.cpu_s and work > 0 and then.value is not None:
            # Measured, it may come out a little above its bound.
            most_per_s = max(self.arm.cores / self.arm.cpu_s, now.value or 0.0) / work
            if then.value > most_per_s:
                then = Interval(most_per_s, None, None, then.n, "the cores allow no more: cores / CPU time of a prompt")
        return Predicted("throughput_per_s", now, then)
