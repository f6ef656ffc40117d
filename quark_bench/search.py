"""Search: which load to measure next, from what the loads measured so far were found to be. Pure: it measures nothing.

Levels are prompts in flight or prompts a second. Those of a range are doubled from its lower end until one does not
meet the objectives, then the gap is halved until it is small: the highest level that meets them lies in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quark_bench.errors import UsageError
from quark_bench.units import significant

RESOLUTION = 0.05
"""Levels that are nearer than this to each other, as a share, are not told apart: neither are their throughputs."""
MOST_IN_FLIGHT = 100_000

History = Mapping[float, bool | None]
"""By level, whether it met the objectives; None where that stayed undecided."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels that were asked for, ascending: those of a list, or the ends of a range. `whole` are counts."""

    values: tuple[float, ...]
    is_range: bool
    whole: bool

    def __str__(self) -> str:
        """As it is written in an option."""
        return (".." if self.is_range else ",").join(f"{value:.12g}" for value in self.values)

    def doubled(self) -> Iterator[float]:
        """The lower end of a range, its doubles, and the upper end; of a list, its values."""
        if not self.is_range:
            yield from self.values
            return
        level, highest = self.values
        while level < highest:
            yield level
            level *= 2
        yield highest

    def between(self, met: float, other: float) -> float | None:
        """A level in the middle of a gap; None where the gap is small enough, and in a list."""
        if not self.is_range or other - met <= RESOLUTION * met or (self.whole and other - met <= 1):
            return None
        if self.whole:
            return (met + other) // 2
        middle = float(significant(math.sqrt(met * other), 3).replace(",", ""))
        return middle if met < middle < other else None


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the search stands: the highest level that met the objectives, every lower one that was asked having met
    them too, and the next one above it, which did not or was not yet measured. None where there is no such level."""

    met: float | None
    above: float | None


def parse_levels(text: str, option: str, *, whole: bool) -> Levels:
    """`1,2,4,8` or `1..64`. Raises UsageError, with an example, for anything else and for levels not above 0."""
    parts = text.split("..") if ".." in text else text.split(",")
    try:
        values = tuple(float(int(part)) if whole else float(part) for part in parts)
    except ValueError:
        values = ()
    is_range = ".." in text
    fitting = len(values) == 2 and values[0] < values[1] if is_range else bool(values)
    if not fitting or not all(0 < value < math.inf for value in values):
        kind = "whole numbers" if whole else "numbers"
        raise UsageError(f"{option} {text!r}: give {kind} above 0, as a list, 1,2,4,8, or as a range, 1..64")
    if whole and max(values) > MOST_IN_FLIGHT:
        raise UsageError(f"{option} {text!r}: give at most {MOST_IN_FLIGHT:,} in flight")
    return Levels(values if is_range else tuple(sorted(set(values))), is_range, whole)


def next_level(levels: Levels, history: History, *, judged: bool) -> float | None:
    """The level to measure next, one that is not in the history; None at the end.

    Without objectives to be `judged` by, a range is doubled to its upper end; all levels of a list are measured.
    """
    if not (judged and levels.is_range):
        return next((level for level in levels.doubled() if level not in history), None)
    above = bracket(levels, history).above
    return above if above is not None and above not in history else None


def bracket(levels: Levels, history: History) -> Bracket:
    """Where a search by objectives stands. A level that stayed undecided did not meet them: it was not shown to."""
    met: float | None = None
    for level in levels.doubled():
        if history.get(level) is not True:
            return Bracket(met, level) if met is None else _halved(levels, history, met, level)
        met = level
    return Bracket(met, None)


def _halved(levels: Levels, history: History, met: float, other: float) -> Bracket:
    """The gap halved as far as its middles are known; `above` is the first middle that is not."""
    if other not in history:
        return Bracket(met, other)
    while (middle := levels.between(met, other)) is not None:
        if middle not in history:
            return Bracket(met, middle)
        met, other = (middle, other) if history[middle] is True else (met, middle)
    return Bracket(met, other)
