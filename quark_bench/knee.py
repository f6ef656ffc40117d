"""Knee: the load beyond which more of it costs more latency than it gives throughput.

Taken where the power, throughput over mean latency, is largest. Source: Kleinrock 1979, Power and deterministic rules
of thumb for probabilistic problems in computer communications, ICC '79, 43.1.1; of a server of k slots and constant
service it is k in flight. There a straight line from the origin touches the curve of latency over throughput, and one
more per cent of throughput costs one more per cent of latency.

Kneedle (Satopää et al. 2011, ICDCS workshops, 166) finds where a curve bends most after both axes are scaled to the
range that was measured: its knee moves with the levels that one happens to try, and it has a sensitivity to choose.
Power has neither, and its interval follows from those of its parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quark_bench.stats import Interval


@dataclass(frozen=True, slots=True)
class Operation:
    """What came of one load: answered prompts a second, and their mean latency in seconds."""

    level: float
    answered_per_s: Interval
    latency_s: Interval

    @property
    def power(self) -> Interval:
        """Prompts a second, a second of latency. Bounds are those of the worst case of both intervals."""
        rate, latency = self.answered_per_s, self.latency_s
        low = _quotient(rate.low, latency.high)
        high = _quotient(rate.high, latency.low)
        known = low is not None and high is not None
        return Interval(_quotient(rate.value, latency.value), low if known else None, high if known else None, 1)


@dataclass(frozen=True, slots=True)
class Knee:
    """The level of the largest power, and the levels from `low` to `high` around it whose power may be as large.

    `at_end` says that no higher level was measured, or no lower one: the knee may lie beyond.
    """

    level: float
    low: float
    high: float
    at_end: bool


def knee(operations: Sequence[Operation]) -> Knee | None:
    """The knee of the curve through these loads, in any order; None for fewer than three with a power.

    Where an interval is not known the value stands for it, which `low` and `high` then pass over.
    """
    known = sorted((each for each in operations if each.power.value is not None), key=lambda each: each.level)
    if len(known) < 3:
        return None
    powers = [each.power for each in known]
    best = max(range(len(known)), key=lambda place: powers[place].value or 0.0)
    least = _bound(powers[best].low, powers[best].value)
    first = last = best
    while first > 0 and _bound(powers[first - 1].high, powers[first - 1].value) >= least:
        first -= 1
    while last < len(known) - 1 and _bound(powers[last + 1].high, powers[last + 1].value) >= least:
        last += 1
    return Knee(known[best].level, known[first].level, known[last].level, best in (0, len(known) - 1))


def _bound(bound: float | None, value: float | None) -> float:
    return bound if bound is not None else (value or 0.0)


def _quotient(above: float | None, below: float | None) -> float | None:
    if above is None or below is None or not 0 < below < math.inf:
        return None
    return above / below
