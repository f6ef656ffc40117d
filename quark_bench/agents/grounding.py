"""Grounding: how much of what is said stands in the passages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quark_bench.language import FUNCTION_WORDS, content_stems, stem, words

HALF = 0.5
"""What has more of its content words missing than this is doubtful."""


def stems_of(passage: Mapping[str, Any]) -> frozenset[str]:
    """The content stems of a passage, its title's among them."""
    return frozenset(content_stems(f"{passage['title']} {passage['text']}"))


def claimed(text: str) -> list[str]:
    """The content words of a text, in order, without repeats."""
    return list(dict.fromkeys(word for word in words(text) if word not in FUNCTION_WORDS))


def unsupported_words(text: str, known: frozenset[str]) -> list[str]:
    """The content words of a text whose stems are not among the known, in order, without repeats."""
    return [word for word in claimed(text) if stem(word) not in known]


def grounding(text: str, known: frozenset[str]) -> float:
    """Share of a text's distinct content words that are known by stem; 1 for a text that claims nothing."""
    said = claimed(text)
    return 1.0 - len(unsupported_words(text, known)) / len(said) if said else 1.0
