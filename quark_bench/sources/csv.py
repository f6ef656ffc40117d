"""CSV and TSV: a header, then one record for each prompt."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Generator, Iterator
from pathlib import Path

from quark_bench.errors import DataError
from quark_bench.sources.files import decoded_lines
from quark_bench.sources.rows import Row

LARGEST_CELL = 2**31 - 1
"""Characters; the largest limit that the csv module takes on every platform. Its own, 131,072, is a long document."""


def csv_rows(path: Path, separator: str) -> Iterator[Row]:
    """The records of a CSV file by the names in its header, numbered by the line on which each begins.

    Raises DataError for a missing header, a name that stands in it twice, a record with more or fewer cells
    than the header, a quote that is never closed, or text that is not UTF-8.
    """
    # Closed at once where a record is refused: the limit of the csv module is everybody's.
    with contextlib.closing(_records(path, separator)) as records:
        yield from _rows(path, separator, records)


def _rows(path: Path, separator: str, records: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    header = next(records, (1, []))[1]
    if not header:
        raise DataError(f"{path}: no header; the first line names the columns, as in: id{separator}text")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}, row 1: two columns are called {twice[0]!r}; rename one")
    for number, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(cells)} cells, but the header names {len(header)} "
                f"({', '.join(header)}); put cells that hold a separator or a quote in double quotes"
            )
        yield number, dict(zip(header, cells, strict=True))


def _records(path: Path, separator: str) -> Generator[tuple[int, list[str]], None, None]:
    """Records that are not blank, each with the number of its first line."""
    reader = csv.reader(decoded_lines(path), delimiter=separator, strict=True)
    limit = csv.field_size_limit(LARGEST_CELL)
    first = 1
    try:
        for cells in reader:
            if cells:
                yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, row {first}: not CSV: {error}; check the quotes of this record") from None
    finally:
        csv.field_size_limit(limit)
