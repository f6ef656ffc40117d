"""Rows: a file's lines, and the prompts that its rows become, alike for every format."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
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


def prompts_of(
    file: str, rows: Iterable[Row], fields: Mapping[str, str], watches: Callable[[str], bool] = lambda prompt_id: True
) -> Iterator[tuple[Prompt, str]]:
    """The prompts of a file's rows, in their order, each with its `content()`.

    `fields` maps a prompt's field to a column; every other field takes the column of its own name, if there
    is one, and columns that no field takes become metadata. A row without an id gets one from its content,
    and rows of the same content are numbered. Only ids that `watches` names are remembered: others may come twice.
    Raises DataError with file, row and field.
    """
    columns = {field: fields.get(field, field) for field in FIELDS}
    taken, needed = frozenset(columns.values()), {"text": "text", **fields}
    used: dict[str, int] = {}
    copies: Counter[str] = Counter()
    unseen = {columns["reference"]} if "reference" in fields else set()
    known: dict[str, None] = {}
    for number, row in rows:
        try:
            _check_columns(row, needed)
            prompt = _prompt(row, columns, taken)
            content = _encodable(prompt)
        except _RowError as error:
            raise DataError(f"{file}, row {number}{error}") from None
        if prompt.id in used:
            raise DataError(
                f"{file}, row {number}: id {prompt.id!r} was already used in row {used[prompt.id]}; "
                "make ids unique, or map another column with --field id=COLUMN"
            )
        numbered = False
        if not prompt.id:
            made = hashlib.sha256(content.encode()).hexdigest()[:12]
            prompt = replace(prompt, id=_unused(made, used, copies))
            numbered = prompt.id != made
        if numbered or watches(prompt.id):
            used[prompt.id] = number
        if not known.keys() >= row.keys():
            unseen -= row.keys()
            known.update(dict.fromkeys(row))
        yield prompt, content
    if known and unseen:
        raise DataError(
            f"{file}: no row has a field {columns['reference']!r}; its rows have: {', '.join(known)}; "
            "say which with --field reference=COLUMN"
        )


class _RowError(Exception):
    """What is wrong in a row, to stand behind its place."""


def _check_columns(row: Mapping[str, Any], needed: Mapping[str, str]) -> None:
    # A reference may be missing: data sets whose cases are judged in different ways give it for some only.
    for field, column in needed.items():
        if column not in row and field != "reference":
            raise _RowError(
                f": no field {column!r} to take the prompt's {field} from; "
                f"this row has: {', '.join(row)}; say which with --field {field}=COLUMN"
            )


def _prompt(row: Mapping[str, Any], columns: Mapping[str, str], taken: Set[str]) -> Prompt:
    """The prompt of one row; its id is empty where the row gives none."""
    identity, text, category, reference, contexts = [_entries(column, row.get(column)) for column in columns.values()]
    if not text:
        raise _RowError(f", field {columns['text']!r}: the prompt's text is empty; fill it in or delete the row")
    return Prompt(
        "\n\n".join(identity),
        "\n\n".join(text),
        "\n\n".join(category) or None,
        reference,
        contexts,
        {column: _jsonable(value) for column, value in row.items() if column not in taken},
    )


def _entries(column: str, value: Any) -> tuple[str, ...]:
    """The texts in a cell: of a list each entry, of anything else the cell; blanks are as good as missing."""
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
        raise _RowError(
            f", field {column!r}: {kind}, where a prompt needs text, a number or a list of them; "
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


def _encodable(prompt: Prompt) -> str:
    """The prompt's content, which a file can hold."""
    content = prompt.content()
    try:
        prompt.id.encode()
        content.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise _RowError(
            f": {half!r} is half of a character (a lone surrogate), which no text may hold; write it whole"
        ) from None
    return content


def _unused(wanted: str, used: Mapping[str, int], copies: Counter[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ..., whichever is free; `copies` counts the latter."""
    free = wanted
    while free in used:
        copies[wanted] += 1
        free = f"{wanted}-{copies[wanted] + 1}"
    return free
