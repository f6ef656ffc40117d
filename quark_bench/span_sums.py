"""Span sums: what all spans of an arm add up to, in one pass over their parts."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

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
BY_AGENT = (
    "calls",
    "failed",
    "fallback",
    "skipped",
    "cached",
    "retries",
    "refused",
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
    order; `critical_s` is the part of `work_s` that lay on a record's critical path. Its `p50_s` and `p95_s` are
    quantiles of the calls' durations, attempts summed, NaN where there are none.
    """

    by_agent: dict[str, Floats]
    within: UnderWay = NOTHING
    ideal: UnderWay = NOTHING
    across: UnderWay = NOTHING
    again: int = 0
    """Attempts beyond a call's first that an agent was really asked for, agents outside the layout too."""
    refused: int = 0
    """Calls that an open circuit breaker refused, of any agent."""


def sum_spans(trials: Trials, arm: str | None, layout: Layout) -> SpanSums:
    """Read an arm's spans once, and, before, when the calls of each part began."""
    sums = SpanSums({name: np.zeros(len(layout)) for name in BY_AGENT})
    across, took = _Across(trials, arm), _Durations(len(layout))
    for part, spans in enumerate(trials.spans(COLUMNS, arm)):
        calls = calls_of(spans, layout)
        durations_s = calls.durations_s
        ends_s = earliest_ends(durations_s, layout)
        record = np.repeat(np.arange(calls.records), calls.agents)
        sums.within += under_way(calls.record, calls.start_s, calls.end_s)
        sums.ideal += under_way(record, (ends_s - durations_s).ravel(), ends_s.ravel())
        sums.across += across.add(part, spans, calls)
        sums.by_agent["critical_s"] += (durations_s * on_critical_path(durations_s, layout)).sum(axis=0)
        took.add(calls, durations_s)
        _add_attempts(sums, spans, layout)
        _add_by_agent(sums.by_agent, spans, calls, layout)
    sums.by_agent["p50_s"], sums.by_agent["p95_s"] = took.quantiles_s(0.50), took.quantiles_s(0.95)
    return sums


class _Across:
    """Calls under way in all records together, block by block, though a block's spans come in many parts.

    A chunk's spans come when it has ended, so parts overlap in time: a moment is settled when no later part has a
    call that began before it.
    """

    def __init__(self, trials: Trials, arm: str | None) -> None:
        self._begins_s: defaultdict[Hashable, dict[int, float]] = defaultdict(dict)
        for part, spans in enumerate(trials.spans((*BLOCK, "start_s"), arm)):
            for block, start_s in spans.groupby([*BLOCK])["start_s"].min().items():
                self._begins_s[block][part] = float(start_s)
        self._sweeps: dict[Hashable, Sweep] = {}

    def add(self, part: int, spans: pd.DataFrame, calls: Calls) -> UnderWay:
        """What of the blocks that end with this part is counted."""
        found = NOTHING
        grouped = spans[[*BLOCK]].iloc[calls.row].groupby([*BLOCK], sort=False).indices
        for block, rows in grouped.items():
            sweep = self._sweeps.setdefault(block, Sweep())
            later_s = [start_s for number, start_s in self._begins_s[block].items() if number > part]
            sweep.add(calls.start_s[rows], calls.end_s[rows], min(later_s, default=np.inf))
        for block in [block for block in self._sweeps if max(self._begins_s[block]) <= part]:
            sweep = self._sweeps.pop(block)
            sweep.add(np.zeros(0), np.zeros(0), np.inf)
            found += sweep.found
        return found


def _add_attempts(sums: SpanSums, spans: pd.DataFrame, layout: Layout) -> None:
    refused = spans["error"].astype("string").str.startswith(f"{REFUSAL}:").fillna(False).to_numpy(bool)
    asked = ~spans["status"].isin(("skipped", "fallback")).to_numpy(bool) & ~refused
    again = asked & (numbers(spans, "attempt") > 1)
    sums.refused += int(refused.sum())
    sums.again += int(again.sum())
    for name, counted in (("refused", refused), ("retries", again)):
        sums.by_agent[name] += _by_agent(spans["agent"][counted], layout)


def _by_agent(agents: pd.Series[Any], layout: Layout) -> Floats:
    """How often each agent of the layout is among these."""
    return np.asarray(agents.value_counts().reindex([name for name, _ in layout], fill_value=0), np.float64)


def _add_by_agent(sums: dict[str, Floats], spans: pd.DataFrame, calls: Calls, layout: Layout) -> None:
    """Add what was made: a call is all attempts of an agent for one record. It failed if all of them did."""
    made = spans["status"].iloc[calls.row]
    cell = calls.record * calls.agents + calls.agent

    def attempts_by_call(counted: NDArray[np.bool_]) -> NDArray[np.int64]:
        of_cells = np.bincount(cell[counted], minlength=calls.records * calls.agents)
        return of_cells.astype(np.int64).reshape(calls.records, calls.agents)

    attempts = attempts_by_call(np.ones(len(cell), np.bool_))
    failures = attempts_by_call((made == "failed").to_numpy(bool))
    sums["calls"] += (attempts > 0).sum(axis=0)
    sums["failed"] += ((attempts > 0) & (failures == attempts)).sum(axis=0)
    sums["fallback"] += (attempts_by_call((made == "fallback").to_numpy(bool)) > 0).sum(axis=0)
    sums["work_s"] += calls.durations_s.sum(axis=0)
    for name in ("queue_s", "simulated_s", "tokens_in", "tokens_out"):
        sums[name] += np.bincount(calls.agent, weights=numbers(spans, name)[calls.row], minlength=calls.agents)
    for status in ("skipped", "cached"):
        sums[status] += _by_agent(spans["agent"][(spans["status"] == status).to_numpy(bool)], layout)


class _Durations:
    """What every call of an agent took, attempts summed; 4 bytes a call, seven digits."""

    def __init__(self, agents: int) -> None:
        self._took_s = [array("f") for _ in range(agents)]

    def add(self, calls: Calls, durations_s: Floats) -> None:
        called = np.zeros(durations_s.shape, np.bool_)
        called[calls.record, calls.agent] = True
        for agent, took_s in enumerate(self._took_s):
            took_s.frombytes(durations_s[called[:, agent], agent].astype(np.float32).tobytes())

    def quantiles_s(self, q: float) -> Floats:
        """By agent, interpolated as numpy does; NaN where there are no calls."""
        return np.array([np.quantile(np.array(each), q) if each else np.nan for each in self._took_s])
