"""Tables: a run's tables as one CSV or Parquet file each, for anything that reads such files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from quark_bench.export.kept import Kept, make_folder
from quark_bench.parts import SCHEMAS, StoredTable, replace_file

Writer = Callable[[Path, pa.Schema], Any]
"""Opens a file that takes tables of the schema one after another, with `write_table`, and is a context manager."""


def export_csv(kept: Kept, out: Path) -> list[Path]:
    """`records.csv`, `spans.csv`, `calls.csv` and `scores.csv` in a folder."""
    return _export(kept, out, "csv", pcsv.CSVWriter)


def export_parquet(kept: Kept, out: Path) -> list[Path]:
    """`records.parquet`, `spans.parquet`, `calls.parquet` and `scores.parquet` in a folder."""
    return _export(kept, out, "parquet", partial(pq.ParquetWriter, compression="zstd"))


def _export(kept: Kept, out: Path, ending: str, writer: Writer) -> list[Path]:
    make_folder(out)
    files = []
    for kind in SCHEMAS:
        files.append(out / f"{kind}.{ending}")
        replace_file(files[-1], partial(_write, getattr(kept.tables, kind), writer))
    return files


def _write(table: StoredTable, writer: Writer, place: Path) -> None:
    with writer(place, SCHEMAS[table.kind]) as file:
        for part in table.parts():
            file.write_table(part.arrow())
