"""Kept: what is exported of a run, and its trials one by one with all that belongs to each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError
from quark_bench.parts import StoredTables

Row = dict[str, Any]
"""A row of a table by its columns' names; None where nothing stands."""


class KeptTrial(NamedTuple):
    """One trial: its record, and its spans, questions to models and scores in the order in which they were kept."""

    record: Row
    spans: list[Row]
    calls: list[Row]
    scores: list[Row]


@dataclass(frozen=True, slots=True)
class Kept:
    """A run as its door found it: its manifest, its tables, and its prompts by id, of which none may be at hand."""

    manifest: Mapping[str, Any]
    tables: StoredTables
    prompts: Mapping[str, Prompt]

    def trials(self, arm: str) -> Iterator[KeptTrial]:
        """All trials of an arm; but for its scores, no two parts of the tables are in memory at once."""
        of_arm = pc.field("arm") == arm
        scores = self.tables.scores.arrow(where=of_arm)
        calls = {part.files[0].name: part for part in self.tables.calls.parts()}
        for part, spans in zip(self.tables.records.parts(), self.tables.spans.parts(), strict=True):
            records = part.arrow(where=of_arm)
            if not len(records):
                continue
            asked = calls.get(part.files[0].name)
            judged = scores.filter(pc.is_in(scores["prompt_id"], pc.unique(records["prompt_id"])))
            belonging = [
                _by_trial(spans.arrow(where=of_arm)),
                _by_trial(asked.arrow(where=of_arm) if asked else None),
                _by_trial(judged),
            ]
            for record in records.to_pylist():
                key = record["repeat"], record["prompt_id"]
                yield KeptTrial(record, *(rows.get(key, []) for rows in belonging))

    def moment(self, offset_s: float) -> str:
        """So many seconds after the run's start as ISO 8601. Sessions after the first count from there too."""
        return (datetime.fromisoformat(self.manifest["started"]) + timedelta(seconds=offset_s)).isoformat()


def _by_trial(table: pa.Table | None) -> Mapping[tuple[int, str], list[Row]]:
    found: defaultdict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in [] if table is None else table.to_pylist():
        found[row["repeat"], row["prompt_id"]].append(row)
    return found


def make_folder(path: Path) -> None:
    """Make a folder to export into. Raises ExecutionError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExecutionError(f"--out {path}: no folder can be made there: {error.strerror}; choose another") from error
