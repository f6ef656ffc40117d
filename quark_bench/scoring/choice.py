"""Choice: the answer picks the right one of several choices, by its letter or by its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from quark_bench.dataset import Prompt
from quark_bench.scoring.score import NO_ANSWER, Answered, Score
from quark_bench.scoring.words import words

CHOICES = "choices"
"""Where a prompt's metadata has them: a list of texts, or texts by letter."""

_LETTER = r"[(\[{*_]*(?P<letter>[A-Z])\b[)\]}*_]*"
_ALONE = re.compile(rf"\s*{_LETTER}\s*[.:)]?\s*")
_LEADING = re.compile(r"\s*(?:[(\[](?P<inside>[A-Z])[)\]]|[*_]*(?P<letter>[A-Z])[*_]*[.:)])\s*\S")
_STATED = re.compile(rf"(?i:\b(?:answer|choice|option)\b(?:\s+is|\s+would\s+be)?\s*[:=]?)\s*(?:\\boxed)?{_LETTER}")


class Choice:
    """1 where the choice that the answer makes is a reference's, else 0, also where it makes none.

    Choices are those in the prompt's metadata; without any, a reference that is one letter. A prompt with neither
    is not scored. An answer chooses by a letter alone, by one after `answer is` (the last counts), by one that it
    begins with, as in `B) Paris`, by a choice's text, or by naming one of the choices only.
    """

    name = "choice"
    version = "1"

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        choices = choices_of(prompt.metadata.get(CHOICES))
        wanted = {letter for reference in prompt.reference if (letter := letter_of(reference, choices))}
        if not wanted:
            return None
        if given.answer is None:
            return NO_ANSWER
        chosen = letter_of(given.answer, choices)
        if chosen is None:
            return Score(0.0, "no choice in the answer")
        right = chosen in wanted
        return Score(float(right), f"chose {chosen}" + ("" if right else f", not {' or '.join(sorted(wanted))}"))


def choices_of(value: Any) -> Mapping[str, str]:
    """The choices by letter; nothing where the value holds none."""
    if isinstance(value, Mapping):
        return {str(letter).upper(): str(text) for letter, text in value.items()}
    if isinstance(value, list | tuple):
        return dict(zip(ascii_uppercase, map(str, value), strict=False))
    return {}


def letter_of(text: str, choices: Mapping[str, str]) -> str | None:
    """The letter of the choice that a text makes; None where it makes none, or several."""
    letters = choices or dict.fromkeys(ascii_uppercase)
    stated = [match["letter"] for match in _STATED.finditer(text)]
    alone, leading = _ALONE.fullmatch(text), _LEADING.match(text)
    for letter in (alone and alone["letter"], *stated[-1:], leading and (leading["inside"] or leading["letter"])):
        if letter in letters:
            return letter
    given = words(text)
    equal = [letter for letter, choice in choices.items() if words(choice) == given]
    if len(equal) == 1:
        return equal[0]
    whole = f" {' '.join(given)} "
    named = [letter for letter, choice in choices.items() if words(choice) and f" {' '.join(words(choice))} " in whole]
    return named[0] if len(named) == 1 else None
