"""Parts: the Parquet files of a run's tables, and what every row of them has.

Written under a temporary name and renamed; what is there is whole.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from numpy.typing import NDArray

from quark_bench.errors import ExecutionError, RunNotFoundError, describe

PLACE_FIELDS = [
    ("session", pa.int16()),
    ("arm", pa.string()),
    ("repeat", pa.int32()),
    ("block", pa.int32()),
    ("chunk", pa.int32()),
]
RECORDS = pa.schema(
    [
        *PLACE_FIELDS,
        ("prompt_id", pa.string()),
        ("category", pa.string()),
        ("status", pa.string()),
        ("answer", pa.string()),
        ("error", pa.string()),
        ("error_agent", pa.string()),
        ("due_s", pa.float64()),
        ("start_s", pa.float64()),
        ("latency_s", pa.float64()),
        ("answer_s", pa.float64()),
        ("service_s", pa.float64()),
        ("work_s", pa.float64()),
        ("critical_path_s", pa.float64()),
        ("simulated_s", pa.float64()),
        ("attempts", pa.int32()),
        ("fallbacks", pa.int32()),
        ("executions", pa.int32()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost_usd", pa.float64()),
        ("worker", pa.string()),
    ]
)
SPANS = pa.schema(
    [
        *PLACE_FIELDS,
        ("prompt_id", pa.string()),
        ("agent", pa.string()),
        ("attempt", pa.int32()),
        ("status", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("queue_s", pa.float64()),
        ("error", pa.string()),
        ("worker", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("first_token_s", pa.float64()),
        ("simulated_s", pa.float64()),
        ("waited_s", pa.float64()),
        ("output", pa.string()),
    ]
)
CALLS = pa.schema(
    [
        *PLACE_FIELDS,
        ("prompt_id", pa.string()),
        ("agent", pa.string()),
        ("attempt", pa.int32()),
        ("number", pa.int32()),
        ("model", pa.string()),
        ("status", pa.string()),
        ("start_s", pa.float64()),
        ("sent_s", pa.float64()),
        ("end_s", pa.float64()),
        ("waited_s", pa.float64()),
        ("first_token_s", pa.float64()),
        ("inter_token_s", pa.float64()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("estimated", pa.bool_()),
        ("cost_usd", pa.float64()),
        ("finish_reason", pa.string()),
        ("retries", pa.int32()),
        ("error", pa.string()),
        ("requests_left", pa.int64()),
        ("tokens_left", pa.int64()),
        ("asked", pa.string()),
        ("reply", pa.string()),
        ("worker", pa.string()),
    ]
)
SCORES = pa.schema(
    [
        ("arm", pa.string()),
        ("repeat", pa.int32()),
        ("prompt_id", pa.string()),
        ("scorer", pa.string()),
        ("value", pa.float64()),
        ("explanation", pa.string()),
        ("scored_s", pa.float64()),
        ("cost_usd", pa.float64()),
        ("order_bias", pa.float64()),
    ]
)
SCHEMAS = {"records": RECORDS, "spans": SPANS, "calls": CALLS, "scores": SCORES}
MEASURED = ("calls", "spans", "records")
"""Tables written together, a part of each, in this order: without its records, a part of the others does not count."""
FILLED = (
    *(name for name, _ in PLACE_FIELDS),
    "prompt_id",
    "status",
    "start_s",
    "end_s",
    "latency_s",
    "attempt",
    "agent",
    "scorer",
)
"""Columns in which every row has something, in the tables that have them."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """`records`, `spans`, `calls` or `scores`: the parts of it that were there at one moment, in the order in which
    they were written."""

    kind: str
    files: tuple[Path, ...]

    def read(
        self,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        coded: Collection[str] = (),
        rows: NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        """All rows; an empty frame with the right columns where there are none.

        `columns` None means all. Those in `coded` are categorical: each of their few texts is held once. Of what is
        found, `rows` takes those at some positions. Raises RunNotFoundError for a part that is damaged, is gone, or
        lacks what every row has.
        """
        table = self.arrow(columns, where)
        return _frame(table if rows is None else table.take(rows), coded)

    def parts(self) -> Iterator[StoredTable]:
        """Each part as a table of its own."""
        return (replace(self, files=(file,)) for file in self.files)

    def arrow(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """The same as an Arrow table, for what neither weighs nor shows it."""
        schema = SCHEMAS[self.kind]
        columns = schema.names if columns is None else list(columns)
        if not self.files:
            return schema.empty_table().select(columns)
        folder = self.files[0].parent
        try:
            files = [str(own_file(file)) for file in self.files]
            table = pads.dataset(files, schema=schema).to_table(columns, filter=where, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise RunNotFoundError(f"{folder} cannot be read: {describe(error, 300)}") from error
        if lacking := [name for name in FILLED if name in columns and table[name].null_count]:
            raise RunNotFoundError(f"{folder} cannot be read: rows without {lacking[0]}; a part of it is damaged")
        return table


@dataclass(frozen=True, slots=True)
class StoredTables:
    """A run's tables as they stood at one moment: whatever is read of them, and when, tells of the same trials."""

    records: StoredTable
    spans: StoredTable
    calls: StoredTable
    scores: StoredTable


def list_tables(path: Path) -> StoredTables:
    """The tables of the run in this directory as they stand now; spans without records were not yet written whole."""
    records = list_parts(path, "records")
    named = {part.name for part in records}
    return StoredTables(
        records=StoredTable("records", records),
        spans=StoredTable("spans", tuple(path / "spans" / part.name for part in records)),
        # Runs of format 1 have none, and a part in which no model was asked has no file.
        calls=StoredTable("calls", tuple(part for part in list_parts(path, "calls") if part.name in named)),
        scores=StoredTable("scores", list_parts(path, "scores")),
    )


def list_parts(path: Path, kind: str) -> tuple[Path, ...]:
    """The files of a table, in the order in which they were written."""
    return tuple(sorted((path / kind).glob("part-*.parquet")))


def count_statuses(records: StoredTable) -> Counter[str]:
    """How many records ended how."""
    counted: Counter[str] = Counter()
    for part in records.parts():
        counted.update(part.read(["status"])["status"])
    return counted


def _frame(table: pa.Table, coded: Collection[str]) -> pd.DataFrame:
    for index, name in enumerate(table.column_names):
        if name in coded:
            table = table.set_column(index, name, pc.dictionary_encode(table[name]))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def own_file(file: Path, most_bytes: int | None = None) -> Path:
    """The file, if it is an ordinary one: a link may lead anywhere, and a pipe or a device is never read to its end.

    Raises OSError.
    """
    about = file.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is no ordinary file")
    if most_bytes is not None and about.st_size > most_bytes:
        raise OSError(f"it has {about.st_size:,} bytes, and no run needs more than {most_bytes:,}")
    return file


def write_part(folder: Path, table: pa.Table, number: int) -> None:
    """Write a table as the part of that number. Raises ExecutionError where the disk is full."""
    replace_file(folder / f"part-{number:06d}.parquet", lambda place: pq.write_table(table, place, compression="zstd"))


def next_number(folder: Path) -> int:
    """The number of the part that is written next."""
    return max(map(part_number, folder.glob("part-*.parquet")), default=-1) + 1


def part_number(part: Path) -> int:
    """The number in a part's name."""
    return int(part.stem.split("-")[1])


def replace_file(target: Path, write: Any) -> None:
    """Write a file under a hidden name and rename it: readers see all of it or none."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)  # a link of that name would be followed
        write(fresh)
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ExecutionError(f"{target} cannot be written: {error.strerror}; check the disk's space") from error
