"""Units of measures: how a number is written for a person, and which direction is better.

Numbers keep their unit in their name (`latency_s`); this table is the one place that turns them into text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way a measure improves."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's name and how to write a finite number in it."""

    name: str
    write: Callable[[float], str]

    def format(self, value: float | None) -> str:
        """The number with its unit; `n/a` for None and NaN."""
        if value is None or math.isnan(value):
            return "n/a"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return self.write(value)

    def format_interval(self, low: float | None, high: float | None) -> str:
        """`low to high`, or `n/a` where either bound is missing."""
        if low is None or high is None or math.isnan(low) or math.isnan(high):
            return "n/a"
        return f"{self.format(low)} to {self.format(high)}"


def significant(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, without an exponent, thousands separated."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(_rounded_size(value, digits))))
    return f"{value:,.{decimals}f}"


def _rounded_size(value: float, digits: int = 3) -> float:
    """The number without its sign as `digits` digits show it: 999.9 is written 1,000, which takes the next unit."""
    return float(f"{abs(value):.{digits - 1}e}")


def _seconds(value: float) -> str:
    size = _rounded_size(value)
    if size == 0:
        return "0 s"
    if size < 1e-3:
        return f"{significant(value * 1e6)} µs"
    if size < 1:
        return f"{significant(value * 1e3)} ms"
    if size < 120:
        return f"{significant(value)} s"
    if size < 7_200:
        return f"{significant(value / 60)} min"
    return f"{significant(value / 3_600)} h"


def _bytes(value: float) -> str:
    for name in ("B", "kB", "MB", "GB"):
        if _rounded_size(value) < 1_000:
            return f"{significant(value)} {name}"
        value /= 1_000
    return f"{significant(value)} TB"


SECONDS = Unit("s", _seconds)
SHARE = Unit("share", lambda value: f"{significant(value * 100)} %")
RATIO = Unit("ratio", lambda value: f"{significant(value)}x")
PER_SECOND = Unit("req/s", lambda value: f"{significant(value)} req/s")
BYTES = Unit("bytes", _bytes)
COUNT = Unit("count", lambda value: f"{value:,.0f}" if value == int(value) else significant(value))
TOKENS = Unit("tokens", lambda value: f"{value:,.0f} tokens")
DOLLARS = Unit("USD", lambda value: f"${value:,.4f}" if abs(value) < 1 else f"${value:,.2f}")
SCORE = Unit("score", lambda value: f"{value:.3f}")
