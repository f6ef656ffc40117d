"""Gate cells: the changes that a gate judged as they are written for people, the same in every place that tells them.

A change is kept as what is for the worse. Here it is turned as people think of it: more throughput is a ratio above
1, a lost score is below 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quark_bench.gate_result import GateResult
from quark_bench.rule import Change, Scale, Verdict
from quark_bench.units import DOLLARS, PER_SECOND, RATIO, SCORE, SECONDS, SHARE, Unit, significant

UNITS = {"latency": SECONDS, "throughput": PER_SECOND, "failures": SHARE, "cost": DOLLARS}
"""Of measures that are no scores."""
LARGEST_RATIO = 10_000.0
"""Beyond it the digits say nothing."""
LARGEST = 1e12
"""Beyond it, in whatever unit, nothing was measured."""
UNKNOWN = "n/a"
NOTE = "Ratios are means over pairs; bounds are one-sided at 99 %."


@dataclass(frozen=True, slots=True)
class GateRow:
    """A measure in the table of a gate. `bounds` is empty where there are none."""

    label: str
    baseline: str
    candidate: str
    change: str
    bounds: str
    verdict: Verdict


def gate_rows(result: GateResult) -> tuple[GateRow, ...]:
    """A row per judged measure, in their order."""
    return tuple(
        GateRow(
            label=label(each.change),
            baseline=level(each.change, each.change.baseline),
            candidate=level(each.change, each.change.candidate),
            change="equal" if each.change.equal else changed(each.change),
            bounds="" if each.change.equal else bounds(each.change),
            verdict=each.verdict,
        )
        for each in result.judged
    )


def label(change: Change) -> str:
    """The measure's name in words."""
    return change.measure.removeprefix("score_").replace("_", " ")


def level(change: Change, value: float | None) -> str:
    """A value of the measure in its unit: `152 ms`; `n/a` where there is none, or none that can be."""
    if value is None or not abs(value) < LARGEST:
        return UNKNOWN
    return _unit(change).format(value if abs(value) > 1 / LARGEST else 0.0)


def levels(change: Change) -> str:
    """`152 ms -> 185 ms`: the measure in both arms; empty where one has none."""
    sides = [level(change, value) for value in (change.baseline, change.candidate)]
    return "" if UNKNOWN in sides else " -> ".join(sides)


def changed(change: Change) -> str:
    """`1.22x`, `-0.050`, `+3.0 points`; `n/a` where there is no value."""
    value = _turned(change, change.worse)
    if change.scale is Scale.RATIO:
        return times(value)
    told = _signed(change, value)
    return f"{told} points" if _in_points(change) and told != UNKNOWN else told


def bounds(change: Change) -> str:
    """`1.21x to 1.23x`, `-0.094 to -0.006`, the lower one first; empty where there are none."""
    turned = [_turned(change, bound) for bound in (change.low, change.high)]
    if None in turned:
        return ""
    ordered = sorted(bound for bound in turned if bound is not None)
    if change.scale is Scale.RATIO:
        return " to ".join(map(times, ordered))
    return " to ".join(_signed(change, bound) for bound in ordered)


def smallest(change: Change) -> str:
    """The smallest detectable change: `0.80 %`, `5.0 points`, `0.050`; empty where it is unknown."""
    mde = change.mde
    if mde is None or not math.isfinite(mde):
        return ""
    if change.scale is Scale.RATIO:
        # So many times longer a block is so much less throughput.
        return percent(1 - 1 / (1 + mde) if change.measure == "throughput" else mde)
    return f"{_digits(mde * 100)} points" if _in_points(change) else _digits(mde)


def times(ratio: float | None) -> str:
    """`1.220x`; what is beyond LARGEST_RATIO, or below its inverse, only says so."""
    if ratio is None or math.isnan(ratio):
        return UNKNOWN
    if ratio > LARGEST_RATIO:
        return f"over {RATIO.format(LARGEST_RATIO)}"
    if ratio < 1 / LARGEST_RATIO:
        return f"under {1 / LARGEST_RATIO}x"
    # Next to 1 a third decimal tells a bound from what it bounds.
    return f"{ratio:.3f}x" if 0.1 <= ratio < 10 else RATIO.format(ratio)


def percent(share: float) -> str:
    """`0.80 %`: two digits, for bounds and detectable changes."""
    return "over 1,000 %" if share > 10 else f"{_digits(share * 100)} %"


def _digits(value: float) -> str:
    """Two significant digits of a number from 0 on, unless that is next to nothing or beyond all sense."""
    if value > LARGEST_RATIO:
        return f"over {LARGEST_RATIO:,.0f}"
    return "0" if value < 1e-6 else significant(value, 2)


def _unit(change: Change) -> Unit:
    return UNITS.get(change.measure, SCORE)


def _in_points(change: Change) -> bool:
    return _unit(change) is SHARE


def _turned(change: Change, worse: float | None) -> float | None:
    """What is for the worse, as people count it. Only throughput and scores are better where there is more."""
    if worse is None or math.isnan(worse):
        return None
    if change.scale is Scale.DIFFERENCE:
        return worse if change.measure in UNITS else -worse
    if change.measure == "throughput":
        return 1 / worse if worse else math.inf
    return worse


def _signed(change: Change, value: float | None) -> str:
    if value is None or not abs(value) < LARGEST:
        return UNKNOWN
    written = _digits(abs(value) * 100) if _in_points(change) else SCORE.format(abs(value))
    nothing = not any(digit in written for digit in "123456789")
    return written if nothing else f"{'-' if value < 0 else '+'}{written}"
