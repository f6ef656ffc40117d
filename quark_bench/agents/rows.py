"""Rows: the texts that the assistant learns from, read with the file and the row in every error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError
from quark_bench.sources.jsonl import jsonl_rows

Texts = dict[str, str]
"""One row's columns, all of them text."""


def text_rows(path: str | Path, required: Sequence[str], optional: Sequence[str] = ()) -> list[Texts]:
    """The named columns of every row of a JSONL file; an optional one that a row lacks is empty.

    Raises DataError, beginning with the file and the row, for a file that cannot be read, a row that is no
    JSON object, a required column without text, an `id` that occurs twice, or no rows at all.
    """
    rows: list[Texts] = []
    seen: dict[str, int] = {}
    try:
        for number, found in jsonl_rows(Path(path)):
            place = f"{path}, row {number}"
            row = {column: _text(place, found, column) for column in required}
            row |= {column: _text(place, found, column) if found.get(column) else "" for column in optional}
            if "id" in row and seen.setdefault(row["id"], number) != number:
                raise DataError(f"{place}: id {row['id']!r} was already used in row {seen[row['id']]}; make ids unique")
            rows.append(row)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}; give the path of a JSONL file") from None
    if not rows:
        raise DataError(f"{path}: no rows; write one JSON object a line, with {', '.join(required)}")
    return rows


def _text(place: str, row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if column == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    problem = "has no text" if column in row else "is missing"
    raise DataError(f"{place}: column {column!r} {problem}; write a text there (this row has: {', '.join(row)})")
