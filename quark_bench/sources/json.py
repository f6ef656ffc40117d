"""JSON: all prompts in one value, which is held in memory while they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from quark_bench.errors import DataError
from quark_bench.sources.documents import document_rows
from quark_bench.sources.files import decoded_lines
from quark_bench.sources.rows import Row


def json_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSON file, numbered by their place in its list from 1. Raises DataError for what is no JSON."""
    try:
        document = json.loads("".join(decoded_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}; "
            "one object a line is JSONL: call such a file .jsonl"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: JSON that cannot be read: {error}; shorten or flatten it") from None
    yield from document_rows(path, document)
