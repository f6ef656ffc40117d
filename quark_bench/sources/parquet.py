"""Parquet: one prompt a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quark_bench.errors import DataError
from quark_bench.sources.rows import Row

ROWS_AT_ONCE = 1_000
"""Rows held as Python objects at a time: a file may be larger than memory once unpacked."""


def parquet_bytes(path: Path) -> int:
    """Size of a Parquet file's columns once unpacked, as it says itself. Raises DataError for a damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        return sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; write the file again") from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, numbered from 1.

    Raises DataError for a file that is not Parquet, is damaged, or has two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DataError(f"{path}: two columns are called {twice[0]!r}; rename one")
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; write the file again") from None
