"""Frame: the rows of a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from quark_bench.errors import DataError
from quark_bench.sources.rows import Row

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 1_000
"""Rows held as Python objects at a time."""


def frame_rows(name: str, frame: pd.DataFrame) -> Iterator[Row]:
    """The rows of a frame, numbered by their position from 1; its index is no column. Missing cells are None.

    Raises DataError for two columns of one name.
    """
    columns = [str(column) for column in frame.columns]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise DataError(f"{name}: two columns are called {twice[0]!r}; rename one")
    for start in range(0, len(frame), ROWS_AT_ONCE):
        part = frame.iloc[start : start + ROWS_AT_ONCE]
        cells = part.astype(object).where(part.notna(), None)
        for number, row in enumerate(cells.itertuples(index=False, name=None), start + 1):
            yield number, dict(zip(columns, map(_plain, row), strict=True))


def _plain(cell: Any) -> Any:
    """The cell without numpy: its arrays, which Parquet's lists become in pandas, are lists again."""
    if isinstance(cell, dict):
        return {key: _plain(value) for key, value in cell.items()}
    if isinstance(cell, list):
        return [_plain(value) for value in cell]
    return _plain(cell.tolist()) if type(cell).__module__ == "numpy" else cell
