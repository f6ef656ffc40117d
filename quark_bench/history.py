"""History: a measure over the runs of a series, and which of them lie outside the band that the runs before give. Pure.

It shows a trend and gives no verdict: machines drift from one run to the next, and only arms that are interleaved in
one run are safe from that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from scipy import stats as distributions

from quark_bench.measures import direction_of, unit_of
from quark_bench.stats import BEYOND_FAILURES, Interval
from quark_bench.units import BYTES, DOLLARS, PER_SECOND, RATIO, SCORE, SECONDS, SHARE, Direction, Unit

MOST_EARLIER = 15
"""Runs before one that its band comes from: older ones say little about today's machine."""
FEWEST_EARLIER = 5
"""With four, the band's half is 3.6 standard deviations and finds next to nothing."""
EARLIER_EQUAL = "all earlier values are equal"
ROUNDING = 1e-12
"""Relative difference that rounding makes between values which are equal."""
LARGEST_LOG = 709.0
"""Of a double."""
LOGARITHMIC = (SECONDS, PER_SECOND, RATIO, BYTES, DOLLARS)
"""Units in which changes multiply; shares, scores and counts, which may be 0, add."""


class Mark(Enum):
    """How a run lies outside its band."""

    WORSE = "worse"
    BETTER = "better"
    HIGHER = "higher"
    """Where neither direction is better."""
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Observation:
    """What a run measured: a value, with its own 95 % interval, in the measure's unit. None where there is none, and
    `note` says why. `started` is a time in ISO format, `commit` empty where it is not known."""

    run_id: str
    started: str
    commit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A run, the 95 % prediction band that the runs before it give, and how it lies outside; None where it does not.

    A band without bounds has a note that says why.
    """

    run: Observation
    band: Interval
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Trend:
    """One measure of one arm over the runs of a series, oldest first."""

    arm: str
    measure: str
    points: tuple[Point, ...]

    @property
    def unit(self) -> Unit:
        return unit_of(self.measure)

    @property
    def judged(self) -> int:
        """How many runs have a band to lie in or outside of."""
        return sum(1 for point in self.points if point.band.low is not None and _reached(point.run) is not None)

    @property
    def marked(self) -> tuple[Point, ...]:
        """The runs outside their bands."""
        return tuple(point for point in self.points if point.mark is not None)


def trend(arm: str, measure: str, runs: Iterable[Observation]) -> Trend:
    """Each run, in the order given, held against the band of those before it; what comes later changes nothing."""
    unit, direction = unit_of(measure), direction_of(measure)
    earlier: list[float] = []
    points = []
    for run in runs:
        points.append(_point(run, earlier[-MOST_EARLIER:], unit, direction))
        if run.value is not None:
            earlier.append(run.value)
    return Trend(arm, measure, tuple(points))


def prediction_interval(earlier: Sequence[float], *, logarithms: bool = False, level: float = 0.95) -> Interval:
    """Where the next value lies with probability `level`, as long as nothing changes.

    mean ± t(1 - (1 - level) / 2, K - 1) * s * sqrt(1 + 1 / K) of K earlier values, or of their logarithms. Source:
    Hahn and Meeker 1991, Statistical Intervals, chapter 4; the values are taken as independent and normal.
    """
    k = len(earlier)
    if k < FEWEST_EARLIER:
        return Interval(None, None, None, k, f"{FEWEST_EARLIER} earlier runs are needed")
    if max(earlier) - min(earlier) <= ROUNDING * max(map(abs, earlier)):
        return Interval(earlier[0], None, None, k, EARLIER_EQUAL)
    if logarithms and min(earlier) <= 0:
        return Interval(None, None, None, k, "an earlier value is 0, which has no logarithm")
    given = np.log(earlier) if logarithms else np.asarray(earlier, np.float64)
    with np.errstate(over="ignore"):
        mean, s = float(given.mean()), float(given.std(ddof=1))
    reach = float(distributions.t.ppf(1 - (1 - level) / 2, k - 1)) * s * math.sqrt(1 + 1 / k)
    if not math.isfinite(reach):
        return Interval(None, None, None, k, "the earlier values are too far apart")
    low, value, high = (
        math.exp(min(LARGEST_LOG, each)) if logarithms else each for each in (mean - reach, mean, mean + reach)
    )
    return Interval(value, low, high, k)


def _point(run: Observation, earlier: Sequence[float], unit: Unit, direction: Direction) -> Point:
    band = prediction_interval(earlier, logarithms=unit in LOGARITHMIC)
    reached = _reached(run)
    if band.low is None or band.high is None:
        return Point(run, replace(band, note=f"{band.note}, this one is not") if _breaks_equality(run, band) else band)
    mark = None if reached is None or band.low <= reached <= band.high else _mark(reached > band.high, direction)
    # No measure is negative, and no share or score above 1, though a band of few values may say so.
    high = min(1.0, band.high) if unit in (SHARE, SCORE) else band.high
    return Point(run, replace(band, low=max(0.0, band.low), high=high), mark)


def _breaks_equality(run: Observation, band: Interval) -> bool:
    """Whether a run is the first to differ: with no variance before there is no band, but something has changed."""
    if band.note != EARLIER_EQUAL or band.value is None or run.value is None:
        return False
    return not math.isclose(run.value, band.value, rel_tol=ROUNDING)


def _reached(run: Observation) -> float | None:
    """The value; infinite where it is a percentile that lies among failures, which are slower than everything."""
    return math.inf if run.value is None and run.note.startswith(BEYOND_FAILURES) else run.value


def _mark(higher: bool, direction: Direction) -> Mark:
    if direction is Direction.NEITHER:
        return Mark.HIGHER if higher else Mark.LOWER
    return Mark.BETTER if higher == (direction is Direction.HIGHER) else Mark.WORSE
