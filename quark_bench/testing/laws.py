"""Latency laws, pure: how long a request takes, drawn from a seed and the request, never from the order of arrival."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from quark_bench.agent import stable_hash
from quark_bench.errors import UsageError

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Law:
    """A lognormal latency with an optional tail and an optional knee. With `median_s` alone it is constant.

    `cv` is the coefficient of variation of the lognormal. A share `tail_share` of requests is `tail_factor` times
    slower. A request that, when it was read, was one of more than `knee` under way is slower by under_way / knee, so
    that throughput stays what it is at the knee (processor sharing). Raises UsageError for values that no law has.
    """

    median_s: float
    cv: float = 0.0
    tail_share: float = 0.0
    tail_factor: float = 10.0
    knee: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.median_s < math.inf:
            raise UsageError(f"median_s={self.median_s!r}: give seconds, 0 or more")
        if not 0 <= self.cv < math.inf:
            raise UsageError(f"cv={self.cv!r}: give a coefficient of variation, 0 or more; 0.2 varies by about 20 %")
        if not 0 <= self.tail_share <= 1:
            raise UsageError(f"tail_share={self.tail_share!r}: give a share from 0 to 1; 0.01 for 1 %")
        if not 0 < self.tail_factor < math.inf:
            raise UsageError(f"tail_factor={self.tail_factor!r}: give how many times slower the tail is, above 0")
        if self.knee is not None and self.knee < 1:
            raise UsageError(f"knee={self.knee!r}: give the requests under way that are served in full, 1 or more")

    @property
    def is_drawn(self) -> bool:
        """Whether requests differ: a constant law needs no draw."""
        return self.cv > 0 or self.tail_share > 0

    def draw_s(self, key: str, under_way: int = 1) -> float:
        """Seconds for the request of that key, with so many under way, itself among them.

        Equal keys draw equally. A lognormal of median m and cv c is m exp(z sqrt(ln(1 + c²))), z standard normal.
        """
        seconds = self.median_s
        if self.cv:
            seconds *= math.exp(_NORMAL.inv_cdf(drawn(key, "latency")) * math.sqrt(math.log1p(self.cv**2)))
        if self.tail_share and drawn(key, "tail") < self.tail_share:
            seconds *= self.tail_factor
        if self.knee is not None and under_way > self.knee:
            seconds *= under_way / self.knee
        return seconds


def drawn(*parts: object) -> float:
    """A number between 0 and 1, neither of them, equal for equal parts in every process."""
    return ((stable_hash(*parts) >> 12) + 0.5) / 2**52


def law_of(seconds: Law | float) -> Law:
    """A number of seconds is a constant law."""
    return seconds if isinstance(seconds, Law) else Law(seconds)
