"""Calls in time: work, critical path and how many are under way, for all records at once rather than in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.stats import Floats, Groups

Layout = Sequence[tuple[str, tuple[str, ...]]]
"""The DAG: each agent's name and the names of the agents it needs, in the pipeline's order."""

TRIAL = ("session", "arm", "repeat", "prompt_id")
"""Columns of a span that say which record it belongs to."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Attempts that were really made, one element each: `record` and `agent` are numbers, times are seconds.

    `row` is the attempt's position in the spans that it was taken from; `records` and `agents` are counts.
    """

    row: Groups
    record: Groups
    agent: Groups
    start_s: Floats
    end_s: Floats
    records: int
    agents: int

    @property
    def durations_s(self) -> Floats:
        """Seconds by record and agent, all attempts summed, no waits; 0 where the agent was not called."""
        cell = self.record * self.agents + self.agent
        flat = np.bincount(cell, weights=self.end_s - self.start_s, minlength=self.records * self.agents)
        return np.asarray(flat, np.float64).reshape(self.records, self.agents)


def calls_of(spans: pd.DataFrame, layout: Layout) -> Calls:
    """The attempts of the layout's agents; those that were not called (skipped, cached) and agents of another pipeline
    are left out.

    `spans` has the columns of a run's spans and may hold any arms and sessions.
    """
    names = pd.Index([name for name, _ in layout])
    if spans.empty:
        nothing = np.zeros(0, np.int64)
        return Calls(nothing, nothing, nothing, nothing.astype(float), nothing.astype(float), 0, len(names))
    agents = names.get_indexer(pd.Index(spans["agent"]))
    record = _dense(spans, TRIAL)
    row = np.flatnonzero((agents >= 0) & (spans["attempt"] > 0).to_numpy(bool))
    start_s, end_s = (spans[name].to_numpy(np.float64)[row] for name in ("start_s", "end_s"))
    return Calls(row, record[row], agents[row].astype(np.int64), start_s, end_s, int(record.max()) + 1, len(names))


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How many calls were under way at once, as sums over groups that add up.

    `busy_s` is the time during which any call of a group was under way, `call_s` the time of all calls, `shared_s` the
    part of it during which another one was under way too.
    """

    peak: int = 0
    busy_s: float = 0.0
    call_s: float = 0.0
    shared_s: float = 0.0

    def __add__(self, other: UnderWay) -> UnderWay:
        return UnderWay(
            max(self.peak, other.peak),
            self.busy_s + other.busy_s,
            self.call_s + other.call_s,
            self.shared_s + other.shared_s,
        )

    @property
    def most(self) -> float | None:
        """None, as all here, where no call took any time."""
        return float(self.peak) if self.call_s else None

    @property
    def mean(self) -> float | None:
        """Weighted by time, while at least one was."""
        return self.call_s / self.busy_s if self.call_s else None

    @property
    def shared_share(self) -> float | None:
        """Of the calls' time, the share during which another one was under way too."""
        return self.shared_s / self.call_s if self.call_s else None


NOTHING = UnderWay()


def under_way(group: Groups, start_s: Floats, end_s: Floats) -> UnderWay:
    """Sweep over the starts and ends of calls, which are counted together within a group only.

    A call that ends as another starts does not overlap it, and one without duration is never under way.
    """
    lasting = end_s > start_s
    if not lasting.any():
        return NOTHING
    group, start_s, end_s = group[lasting], start_s[lasting], end_s[lasting]
    times_s = np.concatenate([end_s, start_s])
    change = np.repeat(np.array([-1, 1], np.int64), len(group))
    # lexsort is stable and ends come first, so an end goes before a start of the same moment.
    order = np.lexsort((times_s, np.concatenate([group, group])))
    # All calls of a group end within it, so the sum is back at 0 between groups.
    return _swept(times_s[order], np.cumsum(change[order]))


def _swept(times_s: Floats, level: Groups) -> UnderWay:
    """`level` calls were under way from each moment to the next."""
    level = level[:-1]
    lasted_s = np.where(level > 0, np.diff(times_s), 0.0)
    call_s = level * lasted_s
    return UnderWay(
        int(level.max(initial=0)), float(lasted_s.sum()), float(call_s.sum()), float(call_s[level > 1].sum())
    )


class Sweep:
    """`under_way` for the calls of one group that come in portions: no more is held than may still overlap."""

    def __init__(self) -> None:
        self._times_s = np.zeros(0)
        self._change = np.zeros(0, np.int64)
        self._level = 0
        self.found = NOTHING

    def add(self, start_s: Floats, end_s: Floats, until_s: float) -> None:
        """Take calls in and count up to `until_s`, before which no later call starts; infinity counts all."""
        lasting = end_s > start_s
        times_s = np.concatenate([self._times_s, end_s[lasting], start_s[lasting]])
        change = np.concatenate([self._change, np.repeat(np.array([-1, 1], np.int64), int(lasting.sum()))])
        order = np.lexsort((change, times_s))
        times_s, change = times_s[order], change[order]
        # What lies before `until_s` is settled; the last settled moment stays, to be counted from.
        settled = int(np.searchsorted(times_s, until_s, side="left"))
        if settled < 2:
            self._times_s, self._change = times_s, change
            return
        level = self._level + np.cumsum(change[:settled])
        self.found += _swept(times_s[:settled], level)
        self._level = int(level[-2])
        self._times_s, self._change = times_s[settled - 1 :], change[settled - 1 :]


def _dense(frame: pd.DataFrame, by: Sequence[str]) -> Groups:
    """For each row the number of its combination of the columns `by`, numbered without gaps."""
    codes = np.zeros(len(frame), np.int64)
    for name in by:
        level, values = pd.factorize(frame[name], use_na_sentinel=False)
        codes = pd.factorize(codes * len(values) + level)[0]
    return codes


def positions(layout: Layout) -> tuple[tuple[int, ...], ...]:
    """What each agent needs, as positions in the layout, ascending."""
    place = {name: index for index, (name, _) in enumerate(layout)}
    return tuple(tuple(sorted(place[need] for need in needs if need in place)) for _, needs in layout)


def earliest_ends(durations_s: Floats, layout: Layout) -> Floats:
    """When each agent would end if it started the moment its last input is there: `schedule.earliest_ends`, row by row.

    Takes and gives seconds, shape (records, agents).
    """
    ends_s = durations_s.copy()
    for index, needs in enumerate(positions(layout)):
        if needs:
            ends_s[:, index] += ends_s[:, needs].max(axis=1)
    return ends_s


def on_critical_path(durations_s: Floats, layout: Layout) -> NDArray[np.bool_]:
    """Which agents lie on each record's critical path: `schedule.longest_chain`, row by row.

    Takes seconds and gives truth values, shape (records, agents).
    """
    ends_s = earliest_ends(durations_s, layout)
    on_path = np.zeros(ends_s.shape, np.bool_)
    if not ends_s.size:
        return on_path
    rows = np.arange(len(ends_s))
    on_path[rows, ends_s.argmax(axis=1)] = True
    needs_of = positions(layout)
    # An agent is visited after all that need it, so whether it is on the path is settled by then.
    for index in reversed(range(len(needs_of))):
        needs = np.array(needs_of[index], dtype=np.int64)
        if len(needs):
            latest = needs[ends_s[:, needs].argmax(axis=1)]
            here = on_path[:, index]
            on_path[rows[here], latest[here]] = True
    return on_path


def shares(parts: Floats) -> Floats:
    """Each part of the sum; zeros where the sum is zero."""
    total = parts.sum()
    return parts / total if total > 0 else np.zeros_like(parts)
