"""Durations: what every agent took for every record of an arm, a part at a time, and which record each row is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.critical_path import TRIAL, Layout, calls_of
from quark_bench.stats import Floats, Groups
from quark_bench.trials import Positions, Trials

COLUMNS = (*TRIAL, "agent", "attempt", "start_s", "end_s")
KEY = ("session", "repeat", "prompt_id")
"""Tells the records of an arm apart."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Some records: their positions among the arm's, and seconds by record and agent, attempts summed, 0 where it was
    not called."""

    rows: Positions
    by_agent_s: Floats


def durations(trials: Trials, arm: str, layout: Layout) -> Iterator[Durations]:
    """Those of all records of an arm for which any agent was called, in one pass over the spans.

    No more is held than a part and 16 bytes a record.
    """
    places = RecordPlaces(trials, arm)
    for spans in trials.spans(COLUMNS, arm):
        calls = calls_of(spans, layout)
        row_of = np.full(calls.records, -1, np.int64)
        row_of[calls.record] = places.of(spans.iloc[calls.row])
        known = np.flatnonzero(row_of >= 0)
        yield Durations(row_of[known], calls.durations_s[known])


class RecordPlaces:
    """Where among an arm's records each span's record stands; 16 bytes a record are held."""

    def __init__(self, trials: Trials, arm: str) -> None:
        keys = _keys(trials.records(KEY, arm))
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, spans: pd.DataFrame) -> Positions:
        """For each span, which has the columns of KEY, the position of its record; -1 where there is none."""
        if not len(self):
            return np.full(len(spans), -1, np.int64)
        found = _keys(spans[[*KEY]])
        place = np.minimum(np.searchsorted(self._keys, found), len(self) - 1)
        return np.where(self._keys[place] == found, self._order[place], -1)


def _keys(records: pd.DataFrame) -> NDArray[np.uint64]:
    """64-bit hashes: of a million records, two share one with a probability of 3e-8."""
    return np.asarray(pd.util.hash_pandas_object(records, index=False, categorize=False), np.uint64)


def prompt_numbers(trials: Trials, arm: str) -> Groups:
    """For each record of the arm a number that it shares with those of its prompt, 0 and up without gaps."""
    return pd.factorize(_keys(trials.records(["prompt_id"], arm)))[0].astype(np.int64)
