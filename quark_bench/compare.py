"""Comparison: two arms paired by prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better or worse, with its 95 % interval (None and a note where none is valid)."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""
