"""Paths: values inside a row, named by a column or by the way into a nested one, as in `meta.topic` or `turns.0`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_PLACE = 9
"""Digits of a place in a list."""


def value_at(row: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Whether the row has something at the path, and what: a column of that very name comes before a way into one.

    Steps are keys of objects and places in lists, from 0, and nothing else of a value is ever looked at.
    """
    if path in row:
        return True, row[path]
    here: Any = row
    for step in path.split("."):
        if isinstance(here, Mapping) and step in here:
            here = here[step]
        elif isinstance(here, list) and _is_place(step) and int(step) < len(here):
            here = here[int(step)]
        else:
            return False, None
    return True, here


def _is_place(step: str) -> bool:
    return step.isascii() and step.isdecimal() and len(step) <= LONGEST_PLACE


def without(row: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The row without what stands at the paths; of a list that a path leads into nothing is left."""
    rest = dict(row)
    for path in paths:
        if path in rest:
            del rest[path]
        elif "." in path:
            _drop(rest, path)
    return rest


def _drop(rest: dict[str, Any], path: str) -> None:
    first, _, inner = path.partition(".")
    if isinstance(rest.get(first), Mapping):
        rest[first] = without(rest[first], [inner])
    elif isinstance(rest.get(first), list):
        del rest[first]
