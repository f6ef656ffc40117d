"""Span sums: what all spans of an arm add up to, in one pass over their parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.critical_path import (
    NOTHING,
    TRIAL,
    Calls,
    Layout,
    Sweep,
    UnderWay,
    calls_of,
    earliest_ends,
    on_critical_path,
    under_way,
)
from quark_bench.record import REFUSAL
from quark_bench.stats import Floats
from quark_bench.trials import Trials, numbers

BLOCK = ("session", "block")
"""Columns that say which calls could be under way at the same time: blocks run one after another."""
COLUMNS = (
    *TRIAL,
    "block",
    "agent",
    "attempt",
    "status",
    "error",
    "start_s",
    "end_s",
    "queue_s",
    "tokens_in",
    "tokens_out",
    "simulated_s",
)
MOST_DURATIONS = 2_000_000
"""Durations held at once for quantiles, 16 MB; of more calls than that, the agents are taken in turns."""


BY_AGENT = (
    "calls",
    "failed",
    "fallback",
    "skipped",
    "work_s",
    "critical_s",
    "queue_s",
    "simulated_s",
    "tokens_in",
    "tokens_out",
)


@dataclass(slots=True)
class SpanSums:
    """Sums over all calls of an arm.

    `within` counts calls under way within a record, `ideal` what they would be without any overhead, `across` those
    of all records of a block together. `by_agent` has for each name in BY_AGENT one number an agent, in the layout's
    order; `critical_s` is the part of `work_s` that lay on a record's critical path.
    """

    by_agent: dict[str, Floats]
    within: UnderWay = NOTHING
    ideal: UnderWay = NOTHING
    across: UnderWay = NOTHING
    again: int = 0
    """Attempts beyond a call's first that an agent was really asked for."""
    refused: int = 0


def sum_spans(trials: Trials, arm: str | None, layout: Layout) -> SpanSums:
    """Read an arm's spans once, and, before, when the calls of each part began."""
    sums = SpanSums({name: np.zeros(len(layout)) for name in BY_AGENT})
    across = _Across(trials, arm)
    for part, spans in enumerate(trials.spans(COLUMNS, arm)):
        calls = calls_of(spans, layout)
        durations_s = calls.durations_s
        ends_s = earliest_ends(durations_s, layout)
        record = np.repeat(np.arange(calls.records), calls.agents)
        sums.within += under_way(calls.record, calls.start_s, calls.end_s)
        sums.ideal += under_way(record, (ends_s - durations_s).ravel(), ends_s.ravel())
        sums.across += across.add(part, spans, calls)
        sums.by_agent["critical_s"] += (durations_s * on_critical_path(durations_s, layout)).sum(axis=0)
        _add_counts(sums, spans)
        _add_by_agent(sums.by_agent, spans, calls, layout)
    return sums


class _Across:
    """Calls under way in all records together, block by block, though a block's spans come in many parts.

    A chunk's spans come when it has ended, so parts overlap in time: a moment is settled when no later part has a
    call that began before it.
    """

    def __init__(self, trials: Trials, arm: str | None) -> None:
        self._begins_s: defaultdict[Hashable, dict[int, float]] = defaultdict(dict)
        for part, spans in enumerate(trials.spans((*BLOCK, "start_s"), arm)):
            for block, start_s in spans.groupby(list(BLOCK))["start_s"].min().items():
                self._begins_s[block][part] = float(start_s)
        self._sweeps: dict[Hashable, Sweep] = {}

    def add(self, part: int, spans: pd.DataFrame, calls: Calls) -> UnderWay:
        """What of the blocks that end with this part is counted."""
        found = NOTHING
        grouped = spans.iloc[calls.row].groupby(list(BLOCK), sort=False).indices
        for block, rows in grouped.items():
            sweep = self._sweeps.setdefault(block, Sweep())
            later_s = [start_s for number, start_s in self._begins_s[block].items() if number > part]
            sweep.add(calls.start_s[rows], calls.end_s[rows], min(later_s, default=np.inf))
        for block in [block for block in self._sweeps if max(self._begins_s[block]) <= part]:
            sweep = self._sweeps.pop(block)
            sweep.add(np.zeros(0), np.zeros(0), np.inf)
            found += sweep.found
        return found


def _add_counts(sums: SpanSums, spans: pd.DataFrame) -> None:
    refused = spans["error"].astype("string").str.startswith(f"{REFUSAL}:").fillna(False).to_numpy(bool)
    asked = ~spans["status"].isin(("skipped", "fallback")).to_numpy(bool) & ~refused
    sums.refused += int(refused.sum())
    sums.again += int((asked & (numbers(spans, "attempt") > 1)).sum())


def _add_by_agent(sums: dict[str, Floats], spans: pd.DataFrame, calls: Calls, layout: Layout) -> None:
    """Add what was made: a call is all attempts of an agent for one record. It failed if all of them did."""
    taken = spans.iloc[calls.row]
    cell = calls.record * calls.agents + calls.agent

    def attempts_by_call(counted: NDArray[np.bool_]) -> NDArray[np.int64]:
        of_cells = np.bincount(cell[counted], minlength=calls.records * calls.agents)
        return of_cells.astype(np.int64).reshape(calls.records, calls.agents)

    status = taken["status"]
    attempts = attempts_by_call(np.ones(len(cell), np.bool_))
    failures = attempts_by_call((status == "failed").to_numpy(bool))
    sums["calls"] += (attempts > 0).sum(axis=0)
    sums["failed"] += ((attempts > 0) & (failures == attempts)).sum(axis=0)
    sums["fallback"] += (attempts_by_call((status == "fallback").to_numpy(bool)) > 0).sum(axis=0)
    sums["work_s"] += calls.durations_s.sum(axis=0)
    for name in ("queue_s", "simulated_s", "tokens_in", "tokens_out"):
        sums[name] += np.bincount(calls.agent, weights=numbers(taken, name), minlength=calls.agents)
    skipped = spans.loc[(spans["status"] == "skipped").to_numpy(bool), "agent"].value_counts()
    sums["skipped"] += skipped.reindex([name for name, _ in layout], fill_value=0).to_numpy(float)


def call_quantiles(
    trials: Trials, arm: str | None, layout: Layout, calls: Floats, quantiles: Sequence[float]
) -> Floats:
    """Seconds, shape (agents, quantiles), of the calls' durations, attempts summed; NaN where there are none.

    Interpolated as numpy does. `calls` are the numbers of calls by agent.
    """
    found = np.full((len(layout), len(quantiles)), np.nan)
    for agents in _turns(calls):
        durations_s: dict[int, list[Floats]] = {agent: [] for agent in agents}
        for spans in trials.spans((*TRIAL, "agent", "status", "start_s", "end_s"), arm):
            made = calls_of(spans, layout)
            of_record = made.durations_s
            called = np.zeros(of_record.shape, np.bool_)
            called[made.record, made.agent] = True
            for agent in agents:
                durations_s[agent].append(of_record[called[:, agent], agent])
        for agent, each in durations_s.items():
            if sum(map(len, each)):
                found[agent] = np.quantile(np.concatenate(each), quantiles)
    return found


def _turns(calls: Floats) -> Iterator[list[int]]:
    """The agents in groups whose durations are held at once."""
    group: list[int] = []
    for agent in range(len(calls)):
        if group and calls[[*group, agent]].sum() > MOST_DURATIONS:
            yield group
            group = []
        group.append(agent)
    yield group
