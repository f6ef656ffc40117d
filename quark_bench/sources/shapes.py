"""Shapes: rows as other evaluation tools write them, unfolded into columns that a prompt's fields are taken from.

What a row looks like tells whose it is: `text` is ours, `vars` promptfoo's, `input` that of Inspect (with `target` and
`choices`) or of OpenAI's evals (with `ideal`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from enum import Enum
from typing import Any

from quark_bench.sources.cells import RowError, entries
from quark_bench.sources.paths import value_at

PROMPT = "prompt"
"""In a row of promptfoo's: the file's one prompt, a text with `{{name}}` for its variables."""
EXPANDED = "expanded"
"""In a row of promptfoo's: its lists have been made tests of, or are to stay lists."""

_VARIABLE = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_NUNJUCKS = re.compile(r"\{\{|\{%|\{#")
_HELD = ("contains", "icontains", "contains-any", "icontains-any")
"""Assertions whose value is a text, or some of which one, stands in a right answer."""


class Shape(Enum):
    """Whose rows they are."""

    OURS = "ours"
    INPUT = "Inspect's or OpenAI's"
    VARS = "promptfoo's"


COLUMNS: Mapping[Shape, Mapping[str, str]] = {Shape.INPUT: {"text": "input", "reference": "target"}}
"""Columns that fields are taken from under another name than their own, where nobody tells."""


def shape_of(row: Mapping[str, Any]) -> Shape:
    """The shape of a file by its first row."""
    if "text" in row:
        return Shape.OURS
    if isinstance(row.get("vars"), Mapping):
        return Shape.VARS
    return Shape.INPUT if "input" in row else Shape.OURS


def unfolded(shape: Shape, row: Mapping[str, Any], mapped: Set[str]) -> Mapping[str, Any]:
    """The row's columns, from which fields are taken by their names or by COLUMNS; names inside `metadata` and `vars`
    are columns.

    Raises RowError for a row that does not say what the prompt or the reference is.
    """
    if shape is Shape.INPUT:
        return _of_input(row, mapped)
    return _of_vars(row, mapped) if shape is Shape.VARS else row


def _of_input(row: Mapping[str, Any], mapped: Set[str]) -> Mapping[str, Any]:
    columns = _with_inner(row, "metadata")
    answers = [name for name in ("target", "ideal") if row.get(name) is not None]
    if "reference" not in mapped and answers:
        if len(answers) > 1:
            raise RowError(
                ": both Inspect's `target` and OpenAI's `ideal`; say which is right with --field reference=target "
                "or --field reference=ideal"
            )
        columns["target"] = columns.pop(answers[0])
    return columns


def _of_vars(row: Mapping[str, Any], mapped: Set[str]) -> Mapping[str, Any]:
    variables = row.get("vars")
    if not isinstance(variables, Mapping):
        raise RowError(": no `vars`, as the first test of this file has; write vars: {name: value}")
    if row.get(EXPANDED) is None and any(isinstance(value, list) for value in variables.values()):
        raise RowError(": a list among its `vars`, which promptfoo makes as many tests of; write each as a row")
    told = {key: value for key, value in row.items() if key not in (PROMPT, EXPANDED, "assert")}
    columns = _with_inner(told, "metadata", "vars")
    if "text" not in mapped:
        prompt = _prompt_of(row.get(PROMPT), variables)
        if row.get(PROMPT) is None:
            columns.pop(str(next(iter(variables))))
        columns["text"] = prompt
    expected = _expected(row.get("assert"))
    if "reference" not in mapped and expected is not None:
        columns["reference"] = expected
    return columns


def _with_inner(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The row, in which what the objects under these names hold stands as columns; the row's own come first."""
    inner: dict[str, Any] = {}
    rest = dict(row)
    for name in names:
        if isinstance(row.get(name), Mapping):
            inner |= {str(key): value for key, value in rest.pop(name).items()}
    return inner | rest


def _prompt_of(prompt: Any, variables: Mapping[str, Any]) -> Any:
    """A test's prompt: the file's with its variables in it, or the test's only variable."""
    if prompt is None:
        if len(variables) != 1:
            names = ", ".join(map(str, variables)) or "none"
            raise RowError(f": vars {names}; say which is the prompt with --field text=NAME, or write a --template")
        return next(iter(variables.values()))
    if not isinstance(prompt, str) or prompt.startswith("file://") or _NUNJUCKS.search(_VARIABLE.sub("", prompt)):
        raise RowError(": the file's prompt is more than a text with {{name}} in it; write it anew as a --template")
    return _VARIABLE.sub(lambda found: _value(found[1], variables), prompt)


def _value(path: str, variables: Mapping[str, Any]) -> str:
    found, value = value_at(variables, path)
    if not found:
        raise RowError(f": the prompt asks for {path!r}, but vars has: {', '.join(map(str, variables))}; add it there")
    return "\n\n".join(entries(path, value))


def _expected(assertions: Any) -> Any:
    """What a right answer equals, or the one thing that it has to hold; None where neither is told.

    Several things that must all be there are no alternatives, so they are no reference.
    """
    told = [each for each in assertions or () if isinstance(each, Mapping) and each.get("value") is not None]
    equal = [each["value"] for each in told if each.get("type") == "equals"]
    held = [each["value"] for each in told if each.get("type") in _HELD]
    values = equal or held
    return values[0] if len(values) == 1 else None
