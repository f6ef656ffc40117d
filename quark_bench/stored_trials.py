"""Stored trials: a run's records and spans read from its stored tables, no more of them than is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quark_bench.parts import RECORDS, StoredTable, StoredTables

CODED = frozenset({"arm", "status", "agent", "worker", "scorer"})
"""Columns of few different texts, held as categories."""
TRIAL = ["arm", "repeat", "prompt_id"]


class StoredTrials:
    """The trials of these tables; what `trials.Trials` says of them holds. Raises RunNotFoundError where a part that
    is read is damaged."""

    def __init__(self, tables: StoredTables, scorers: Sequence[str]) -> None:
        self._tables = tables
        self._judged_by = scorers

    @property
    def scorers(self) -> Sequence[str]:
        return [str(name).removeprefix("score_") for name in self._scores]

    @cached_property
    def _scores(self) -> pd.DataFrame:
        """A row per trial, a column `score_<name>` per scorer that judged any; read one after another."""
        columns = {f"score_{name}": self._scores_by(name) for name in self._judged_by}
        return pd.DataFrame({name: column for name, column in columns.items() if len(column)})

    def _scores_by(self, scorer: str) -> pd.Series[float]:
        """By trial, the last score that it was given."""
        given = self._tables.scores.read([*TRIAL, "value"], pc.field("scorer") == scorer)
        return given.drop_duplicates(TRIAL, keep="last").set_index(TRIAL)["value"]

    def with_scores(self, records: pd.DataFrame) -> pd.DataFrame:
        """Records with the columns of TRIAL, and a column `score_<name>` for every scorer."""
        return records if self._scores.empty else records.merge(self._scores.reset_index(), on=TRIAL, how="left")

    def records(
        self, columns: Sequence[str], arm: str | None = None, rows: NDArray[np.int64] | None = None
    ) -> pd.DataFrame:
        own = [name for name in columns if name in RECORDS.names]
        judged = len(own) < len(columns)
        read = [*own, *(name for name in TRIAL if judged and name not in own)]
        where = None if arm is None else pc.field("arm") == arm
        found = self._tables.records.read(read, where, CODED, rows)
        return (self.with_scores(found) if judged else found)[list(columns)]

    def struck(self, columns: Sequence[str]) -> pd.DataFrame:
        return self._tables.records.read(columns, pc.field("status") != "ok")

    def spans(self, columns: Sequence[str], arm: str | None = None) -> Iterator[pd.DataFrame]:
        where = None if arm is None else pc.field("arm") == arm
        for part in self._tables.spans.parts():
            found = part.read(columns, where, CODED | {"prompt_id"})
            if len(found):
                yield found

    def scores(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for part in self._tables.scores.parts():
            yield part.read(columns, coded=CODED)

    def of_prompts(self, prompt_ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        where = pc.field("prompt_id").isin(pa.array(prompt_ids, pa.string()))
        return _found(self._tables.records, where), _found(self._tables.spans, where)


def _found(table: StoredTable, where: pc.Expression) -> pd.DataFrame:
    """The few rows of a table that it holds for, of whose parts no two are in memory at once."""
    found = [rows for part in table.parts() if len(rows := part.read(where=where))]
    return pd.concat(found, ignore_index=True) if found else table.read(where=where)
