"""Trials: a run's records and spans as measures read them: some columns of one arm, spans a part at a time.

A run of a million prompts has seven million spans: no measure holds them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.errors import UsageError
from quark_bench.record import Record, RecordStatus, Span
from quark_bench.stats import Floats, Groups

SCORE_PREFIX = "score_"
"""A column `score_<name>` of the records holds what the scorer of that name gave."""
AGENT_DOT = "."
"""Stands in a scorer's name between the agent that it judges and the measure, and in no other's."""
PLACE = ("session", "arm", "repeat", "block", "chunk")
"""Columns that records and spans have before their own."""


Positions = NDArray[np.int64]
"""Of rows in a table, counted from 0."""


def agent_of(scorer: str) -> str | None:
    """The agent that a scorer judges; None for one that judges the answer."""
    agent, dot, _ = scorer.partition(AGENT_DOT)
    return agent if dot else None


class Trials(Protocol):
    """Where records and spans come from; the door reads them from a run's directory."""

    @property
    def scorers(self) -> Sequence[str]:
        """Names of the scorers that judged the records."""
        ...

    def records(self, columns: Sequence[str], arm: str | None = None, rows: Positions | None = None) -> pd.DataFrame:
        """These columns of the records of an arm, or of all arms, in the same order whatever the columns; `rows` takes
        those at some positions of that order."""
        ...

    def struck(self, columns: Sequence[str]) -> pd.DataFrame:
        """These columns of the records, of all arms, that are not ok."""
        ...

    def spans(self, columns: Sequence[str], arm: str | None = None) -> Iterator[pd.DataFrame]:
        """These columns of the spans, part by part in the order in which they were kept; all spans of a record come
        in one part. The same parts come however often they are asked for."""
        ...

    def scores(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """These columns of the scores as they were given, part by part; those without a `value` could not be judged."""
        ...

    def of_prompts(self, prompt_ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The records and the spans of these few prompts, whole."""
        ...


class FrameTrials:
    """Trials that are in memory as two frames; columns that an empty frame lacks are added."""

    def __init__(self, records: pd.DataFrame, spans: pd.DataFrame) -> None:
        self.all_records = records if len(records) else _with_columns(records, Record._fields)
        self.all_spans = spans if len(spans) else _with_columns(spans, Span._fields)

    @property
    def scorers(self) -> Sequence[str]:
        names = map(str, self.all_records)
        return [name.removeprefix(SCORE_PREFIX) for name in names if name.startswith(SCORE_PREFIX)]

    def records(self, columns: Sequence[str], arm: str | None = None, rows: Positions | None = None) -> pd.DataFrame:
        records = _of_arm(self.all_records, arm)[list(columns)]
        return records if rows is None else records.iloc[rows]

    def struck(self, columns: Sequence[str]) -> pd.DataFrame:
        return self.all_records.loc[self.all_records["status"] != "ok", list(columns)]

    def spans(self, columns: Sequence[str], arm: str | None = None) -> Iterator[pd.DataFrame]:
        yield _of_arm(self.all_spans, arm)[list(columns)]

    def scores(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        yield from ()

    def of_prompts(self, prompt_ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        records, spans = self.all_records, self.all_spans
        return records[records["prompt_id"].isin(prompt_ids)], spans[spans["prompt_id"].isin(prompt_ids)]


def _with_columns(empty: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    return empty.reindex(columns=[*dict.fromkeys((*empty, *PLACE, *fields))])


def _of_arm(table: pd.DataFrame, arm: str | None) -> pd.DataFrame:
    return table if arm is None else table[table["arm"] == arm]


def is_answered(records: pd.DataFrame) -> NDArray[np.bool_]:
    """Which records, that have `status` as a column, are ok or degraded."""
    return (records["status"] != "failed").to_numpy(bool)


def failed_prompts(trials: Trials, scorer: str | None) -> tuple[str, ...]:
    """Ids of the prompts of which a trial failed, or was given less than 1 by the scorer, in the order of the records.

    Raises UsageError, to stand behind the run's name, for a scorer that judged nothing.
    """
    if scorer is not None and scorer not in trials.scorers:
        raise UsageError(f"was not scored by {scorer!r}; its scorers: {', '.join(trials.scorers) or 'none'}")
    judged = [] if scorer is None else [f"{SCORE_PREFIX}{scorer}"]
    records = trials.records(["prompt_id", "status", *judged])
    wrong = records["status"] == RecordStatus.FAILED.value
    for name in judged:
        wrong |= records[name] < 1
    return tuple(str(each) for each in dict.fromkeys(records.loc[wrong, "prompt_id"]))


def numbers(frame: pd.DataFrame, name: str) -> Floats:
    """A column as floats, NaN where nothing stands."""
    return frame[name].to_numpy(np.float64, na_value=np.nan)


def block_numbers(trials: Trials, arm: str | None = None) -> Groups:
    """For each record a number that it shares with those of its block and session; later ones have larger numbers."""
    session, block = (trials.records([name], arm)[name].to_numpy(np.int64) for name in ("session", "block"))
    numbered: Groups = (session << 32) | block
    return numbered
