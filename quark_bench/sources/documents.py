"""Documents: rows that stand in one JSON or YAML value: a list of them, or promptfoo's `tests` with their defaults."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError
from quark_bench.sources.rows import Row
from quark_bench.sources.shapes import EXPANDED, PROMPT

TESTS = "tests"
MERGED = ("vars", "metadata", "options")
"""What a test has beside what `defaultTest` gives to all."""
WRITE = "write a list of prompts, or `tests:` with a list of them"
MOST_TESTS = 100_000
"""Of one test, by the values of its lists: a few lines can stand for more than anybody runs."""


def document_rows(path: Path, document: Any, numbers: list[int] | None = None) -> Iterator[Row]:
    """The rows of a document, numbered as they stand in the list from 1, or by `numbers`, such as lines.

    Raises DataError for a document of another form.
    """
    listed = document.get(TESTS) if isinstance(document, Mapping) else document
    if not isinstance(listed, list):
        found = (
            f"`tests` is a {type(listed).__name__}"
            if isinstance(document, Mapping) and TESTS in document
            else "no list"
        )
        raise DataError(f"{path}: {found}; {WRITE}")
    about = document if isinstance(document, Mapping) else {}
    for number, row in zip(numbers or range(1, len(listed) + 1), listed, strict=True):
        if not isinstance(row, Mapping):
            raise DataError(f"{path}, row {number}: a {type(row).__name__}, no object; write text: ... for each prompt")
        named = {str(name): value for name, value in row.items()}  # YAML's names may be numbers
        for each in _tests(f"{path}, row {number}", about, named):
            yield number, each


def _tests(place: str, about: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row as it stands; a promptfoo test with the file's prompt and defaults, once for every value of its lists."""
    if not isinstance(row.get("vars"), Mapping):
        yield row
        return
    default = _object(about.get("defaultTest"))
    merged = {
        name: {**_object(default.get(name)), **_object(row.get(name))} for name in ("vars", "metadata", "options")
    }
    variables = merged["vars"]
    whole = merged["options"].get("disableVarExpansion") is True
    lists = [value if isinstance(value, list) and value and not whole else [value] for value in variables.values()]
    if math.prod(map(len, lists)) > MOST_TESTS:
        raise DataError(f"{place}: its lists make more than {MOST_TESTS:,} tests; shorten them")
    test = {**row, **{name: inner for name, inner in merged.items() if inner}, EXPANDED: True}
    test["assert"] = [*_list(default.get("assert")), *_list(row.get("assert"))]
    if about.get("prompts") is not None:
        test[PROMPT] = _prompt(about["prompts"])
    # As promptfoo does: a list of values is as many tests.
    for values in product(*lists):
        yield {**test, "vars": dict(zip(variables, values, strict=True))}


def _prompt(prompts: Any) -> Any:
    return prompts[0] if isinstance(prompts, list) and len(prompts) == 1 else prompts


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
