"""Rows: a file's lines, and the prompts that its rows become, alike for every format."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quark_bench.dataset import FIELDS, Prompt
from quark_bench.errors import DataError, UsageError

Row = tuple[int, Mapping[str, Any]]
"""The number of a row, as the file's reader counts from 1, and its cells by column."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_EXACT = 2**53
"""Up to here a float of integer value is that integer and no rounded one."""


def decoded_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, a byte order mark left out.

    Raises DataError, naming line and byte, where the file is not UTF-8.
    """
    # Split as bytes: text would also break at U+2028 and its like, which JSON allows inside a string.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.removeprefix(BYTE_ORDER_MARK if number == 1 else b"").decode()
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise DataError(
                    f"{path}, row {number}: byte {error.start + 1} of the line (0x{byte:02x}) is not UTF-8; "
                    "save the file as UTF-8"
                ) from None


def check_fields(fields: Mapping[str, str]) -> None:
    """Raise UsageError for a field that no prompt has."""
    for field, column in fields.items():
        if field not in FIELDS:
            turned = f"{column}={field}" if column in FIELDS else f"text={field}"
            raise UsageError(
                f"--field {field}={column}: {field!r} is no field of a prompt ({', '.join(FIELDS)}); "
                f"write the prompt's field, then the file's column: --field {turned}"
            )


def prompts_of(file: str, rows: Iterable[Row], fields: Mapping[str, str]) -> Iterator[Prompt]:
    """The prompts of a file's rows, in their order.

    `fields` maps a prompt's field to a column; every other field takes the column of its own name, if there
    is one, and columns that no field takes become metadata. A row without an id gets one from its content,
    and rows of the same content are numbered. Raises DataError with file, row and field.
    """
    columns = {field: fields.get(field, field) for field in FIELDS}
    used: dict[str, int] = {}
    unseen = {columns["reference"]} if "reference" in fields else set()
    known: dict[str, None] = {}
    for number, row in rows:
        place = f"{file}, row {number}"
        _check_columns(place, row, fields)
        prompt = _prompt(place, row, columns)
        content = _encoded(place, prompt)
        if prompt.id in used:
            raise DataError(
                f"{place}: id {prompt.id!r} was already used in row {used[prompt.id]}; "
                "make ids unique, or map another column with --field id=COLUMN"
            )
        prompt = prompt if prompt.id else replace(prompt, id=_unused(hashlib.sha256(content).hexdigest()[:12], used))
        used[prompt.id] = number
        unseen -= row.keys()
        known.update(dict.fromkeys(row))
        yield prompt
    if used and unseen:
        raise DataError(
            f"{file}: no row has a field {columns['reference']!r}; its rows have: {', '.join(known)}; "
            "say which with --field reference=COLUMN"
        )


def _check_columns(place: str, row: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    # A reference may be missing: data sets whose cases are judged in different ways give it for some only.
    for field, column in {"text": "text", **fields}.items():
        if column not in row and field != "reference":
            raise DataError(
                f"{place}: no field {column!r} to take the prompt's {field} from; "
                f"this row has: {', '.join(row)}; say which with --field {field}=COLUMN"
            )


def _prompt(place: str, row: Mapping[str, Any], columns: Mapping[str, str]) -> Prompt:
    """The prompt of one row; its id is empty where the row gives none."""
    entries = {
        field: tuple(_entries(f"{place}, field {column!r}", row.get(column))) for field, column in columns.items()
    }
    if not entries["text"]:
        raise DataError(f"{place}, field {columns['text']!r}: the prompt's text is empty; fill it in or delete the row")
    taken = set(columns.values())
    return Prompt(
        id="\n\n".join(entries["id"]),
        text="\n\n".join(entries["text"]),
        category="\n\n".join(entries["category"]) or None,
        reference=entries["reference"],
        contexts=entries["contexts"],
        metadata={column: _jsonable(value) for column, value in row.items() if column not in taken},
    )


def _entries(place: str, value: Any) -> Iterator[str]:
    """The texts in a cell: of a list each entry, of anything else the cell; blanks are as good as missing."""
    for entry in value if isinstance(value, list) else [value]:
        text = _text(place, entry)
        if text is not None and text.strip():
            yield text


def _text(place: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # Tools that know no missing integers store a column of ids as floats: 81.0 was written as 81.
        return str(int(value)) if value.is_integer() and abs(value) < LARGEST_EXACT else repr(value)
    if isinstance(value, Mapping | list | tuple | bytes):
        kind = {dict: "an object", bytes: "bytes"}.get(type(value), "a list within a list")
        raise DataError(
            f"{place}: {kind}, where a prompt needs text, a number or a list of them; "
            "turn it into text, or map another column with --field"
        )
    return str(value)


def _jsonable(value: Any) -> Any:
    """The value as JSON can hold it: dates, decimals and infinities as text, NaN as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


def _encoded(place: str, prompt: Prompt) -> bytes:
    try:
        prompt.id.encode()
        return prompt.content().encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{place}: {half!r} is half of a character (a lone surrogate), which no text may hold; write it whole"
        ) from None


def _unused(wanted: str, used: Mapping[str, int]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ..., whichever is free."""
    number, free = 1, wanted
    while free in used:
        number += 1
        free = f"{wanted}-{number}"
    return free
