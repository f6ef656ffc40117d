"""Cells: what stands in one cell of a row, as the texts that a prompt is made of, or as JSON can hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LARGEST_EXACT = 2**53
"""Up to here a float of integer value is that integer and no rounded one."""


class RowError(Exception):
    """What is wrong in a row, to stand behind its place."""


def entries(column: str, value: Any) -> tuple[str, ...]:
    """The texts in a cell: of a list each entry, of anything else the cell; blanks are as good as missing.

    Raises RowError for what is no text.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        value = (value,)
    texts = [each if isinstance(each, str) else _text(column, each) for each in value]
    return tuple(text for text in texts if text is not None and text.strip())


def _text(column: str, value: Any) -> str | None:
    """What stands in a cell that holds no text yet."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # Tools that know no missing integers store a column of ids as floats: 81.0 was written as 81.
        return str(int(value)) if value.is_integer() and abs(value) < LARGEST_EXACT else repr(value)
    if isinstance(value, Mapping | list | tuple | bytes):
        kind = {dict: "an object", bytes: "bytes"}.get(type(value), "a list within a list")
        raise RowError(
            f", field {column!r}: {kind}, where a prompt needs text, a number or a list of them; "
            "turn it into text, or map another column with --field"
        )
    return str(value)


def jsonable(value: Any) -> Any:
    """The value as JSON can hold it: dates, decimals and infinities as text, NaN as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)
