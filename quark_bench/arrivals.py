"""Arrivals: an open load. When each prompt is due, fixed before the first one starts.

In a closed load a slow answer holds back the next prompt, so the slowest moments are measured the least (coordinated
omission). In an open load prompts come whether or not the ones before them are answered, as people's do.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quark_bench.errors import UsageError

AT_ONCE = 10
"""Prompts of a burst, where nobody says how many."""


class Shape(StrEnum):
    """How prompts follow one another at a given rate."""

    CONSTANT = "constant"
    """At equal distances."""
    POISSON = "poisson"
    """At distances that are drawn from the exponential distribution, each by itself: as people come who know nothing
    of one another."""
    BURST = "burst"
    """Several at once, at equal distances."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """So many prompts a second, over all workers together, in this shape.

    `end_rate_per_s` makes a ramp: the rate rises, or falls, linearly with time, from `rate_per_s` at a block's first
    moment to this at its last. `at_once` is the number of prompts in a burst, 1 for other shapes.
    """

    rate_per_s: float
    shape: Shape = Shape.POISSON
    at_once: int = 1
    end_rate_per_s: float | None = None

    def __post_init__(self) -> None:
        for rate in (self.rate_per_s, self.last_rate_per_s):
            if not 0 < rate < math.inf:
                raise UsageError(f"a rate of {rate:g} prompts a second; give a number above 0")
        if self.at_once < 1 or (self.at_once > 1) != (self.shape is Shape.BURST):
            raise UsageError(f"{self.at_once} at once, {self.shape}; only bursts have more than one, at least 2")

    def __str__(self) -> str:
        """`poisson, 20/s`, `bursts of 10, 20/s`, `constant, 5/s to 50/s`."""
        shape = f"bursts of {self.at_once}" if self.shape is Shape.BURST else str(self.shape)
        ramp = "" if self.end_rate_per_s is None else f" to {self.end_rate_per_s:g}/s"
        return f"{shape}, {self.rate_per_s:g}/s{ramp}"

    @property
    def last_rate_per_s(self) -> float:
        return self.rate_per_s if self.end_rate_per_s is None else self.end_rate_per_s

    @property
    def mean_rate_per_s(self) -> float:
        """Prompts of a block over the time that they are to take."""
        return (self.rate_per_s + self.last_rate_per_s) / 2

    def rate_at(self, share: float) -> float:
        """The rate when this share of a block's prompts has come: in a ramp, its square is linear in that share."""
        first, last = self.rate_per_s, self.last_rate_per_s
        return math.sqrt(first * first + (last * last - first * first) * share)

    def offsets_s(self, prompts: int, seed: int) -> array[float]:
        """When each of so many prompts is due, in seconds after the block's first moment: equal for equal seeds.

        Arrivals at rate 1 are put where the cumulative rate of the ramp reaches them: by inversion, Çinlar,
        Introduction to Stochastic Processes, 1975, section 4.7.
        """
        first = self.rate_per_s
        bend = (self.last_rate_per_s**2 - first**2) / max(1, prompts)  # twice the slope of the rate
        found = array("d")
        for n, at in enumerate(self._at_rate_1(random.Random(seed))):
            if n == prompts:
                break
            # What a Poisson stream has left over at the end of a ramp comes at the last rate.
            within = min(at, prompts)
            ramp_s = 2 * within / (first + math.sqrt(max(0.0, first * first + bend * within)))
            found.append(ramp_s + (at - within) / self.last_rate_per_s)
        return found

    def _at_rate_1(self, draws: random.Random) -> Iterator[float]:
        at = 0.0
        n = 0
        while True:
            if self.shape is Shape.POISSON:
                at += draws.expovariate(1.0)
            else:
                at = float(n - n % self.at_once)
                n += 1
            yield at

    def as_data(self) -> dict[str, str]:
        """As it is written on the command line."""
        ramp = "" if self.end_rate_per_s is None else f"..{self.end_rate_per_s!r}"
        shape = f"{self.shape}:{self.at_once}" if self.shape is Shape.BURST else str(self.shape)
        return {"rate": f"{self.rate_per_s!r}{ramp}", "shape": shape}


def parse_arrivals(rate: str | float, shape: str = Shape.POISSON) -> Arrivals:
    """`20` or `5..50` prompts a second; `constant`, `poisson`, `burst` (10 at once) or `burst:N`. Raises UsageError."""
    first, ramp, last = str(rate).partition("..")
    try:
        rates = [float(first), float(last) if ramp else None]
    except ValueError:
        raise UsageError(f"--rate {rate}: give prompts a second, as in 20, or 5..50 for a rate that rises") from None
    name, several, count = shape.partition(":")
    if name not in list(Shape) or (several and (name != Shape.BURST or not count.isdecimal())):
        raise UsageError(f"--arrivals {shape}: give constant, poisson, burst or burst:N, N at once")
    at_once = int(count) if several else AT_ONCE if name == Shape.BURST else 1
    try:
        return Arrivals(rates[0] or 0.0, Shape(name), at_once, rates[1])
    except UsageError as error:
        raise UsageError(f"--rate {rate} --arrivals {shape}: {error}") from None


def load_of(arm: Mapping[str, Any]) -> str:
    """`8 in flight`, or an open load's arrivals; of an arm as a manifest has it."""
    arrivals = arrivals_of(arm)
    return f"{arm['in_flight']} in flight" if arrivals is None else f"{arrivals}, at most {arm['in_flight']} in flight"


def arrivals_of(arm: Mapping[str, Any]) -> Arrivals | None:
    """Those of an arm as a manifest has it; None for a closed load. Raises UsageError for what cannot be read."""
    told = arm.get("arrivals")
    return None if told is None else parse_arrivals(told["rate"], told["shape"])
