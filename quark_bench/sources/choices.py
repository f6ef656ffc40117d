"""Choices: the answers to choose from, put below a prompt's text as A, B, C, and the right one among them."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from quark_bench.sources.cells import RowError, entries


def labelled(column: str, value: Any) -> dict[str, str]:
    """The choices by their letters; an object brings letters of its own. Raises RowError for more than 26."""
    if isinstance(value, Mapping):
        return {str(label): "\n\n".join(entries(column, text)) for label, text in value.items()}
    texts = entries(column, value)
    if len(texts) > len(ascii_uppercase):
        raise RowError(f", field {column!r}: {len(texts)} choices, but only 26 letters; leave some out")
    return dict(zip(ascii_uppercase, texts, strict=False))


def with_choices(text: str, choices: Mapping[str, str]) -> str:
    """The text, and a line for each choice."""
    lines = "\n".join(f"{label}) {choice}" for label, choice in choices.items())
    return f"{text}\n\n{lines}" if choices else text


def right_choice(column: str, value: str, choices: Mapping[str, str], *, as_letter: bool) -> str:
    """The text, or the letter, of the choice that `value` names by its letter, its text or its place from 0.

    Raises RowError where it names none, or one of them this way and another that way.
    """
    places = dict(enumerate(choices))
    readings = {label for label, text in choices.items() if value in (label, text)}
    if value.isascii() and value.isdecimal() and value in map(str, places):
        readings.add(places[int(value)])
    if len({choices[label] for label in readings}) != 1:
        told = ", ".join(f"{label}: {text}" for label, text in choices.items())
        problem = "names more than one" if readings else "is none"
        raise RowError(
            f", field {column!r}: {value!r} {problem} of the choices ({told}); give a letter, a text or a place from 0"
        )
    label = min(readings)
    return label if as_letter else choices[label]
