"""JSONL: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError
from quark_bench.sources.files import decoded_lines
from quark_bench.sources.rows import Row


def jsonl_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file, numbered by line as editors show it; blank lines are passed over.

    Raises DataError for a line that is not one JSON object or is not UTF-8.
    """
    for number, line in enumerate(decoded_lines(path), 1):
        if line.strip():
            # Without its end, which the parser would count as the beginning of another line.
            yield number, _object(f"{path}, row {number}", line.rstrip())


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}, column {error.colno}: not JSON: {error.msg}; each line is one whole JSON object"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: JSON that cannot be read: {error}; shorten or flatten it") from None
    if not isinstance(value, dict):
        raise DataError(f'{place}: a JSON {type(value).__name__}, not an object; write {{"text": "..."}}')
    return value
