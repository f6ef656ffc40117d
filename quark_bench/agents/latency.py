"""Simulated latency: a sleep inside each built-in agent, so that a fast offline reader waits like a real system.

Lognormal, because service times are positive and skewed to the right; its median is the profile's value.
"""

from __future__ import annotations

import math
import random
from asyncio import sleep
from collections.abc import Mapping
from types import MappingProxyType

from quark_bench.agent import Call
from quark_bench.errors import UsageError

AGENTS = ("nlu", "memory", "retrieval", "reasoning", "planning", "metrics", "self_improvement")
"""The assistant's agents in their declared order, which is the order of a profile's medians."""

CV = 0.2
"""Coefficient of variation: standard deviation over mean."""

SIGMA = math.sqrt(math.log1p(CV**2))
"""Of a lognormal with that coefficient: CV^2 = exp(sigma^2) - 1 (Johnson, Kotz & Balakrishnan 1994, ch. 14)."""


def _profile(*medians_s: float) -> Mapping[str, float]:
    return MappingProxyType(dict(zip(AGENTS, medians_s, strict=True)))


PROFILES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "none": _profile(0, 0, 0, 0, 0, 0, 0),
        "demo": _profile(0.020, 0.030, 0.050, 0.120, 0.060, 0.005, 0.010),
        "quark": _profile(0.8, 0.8, 0.8, 0.6, 0.25, 0.25, 0.25),
    }
)
"""Median seconds by profile and agent."""


def medians_s(profile: str) -> Mapping[str, float]:
    """Median latency of each agent, in seconds. Raises UsageError, naming the known, for another profile."""
    if profile not in PROFILES:
        raise UsageError(f"unknown latency profile {profile!r}; known: {', '.join(PROFILES)}")
    return PROFILES[profile]


def draw_s(median_s: float, seed: int) -> float:
    """One latency in seconds; equal for equal seeds."""
    return median_s * math.exp(random.Random(seed).gauss(0.0, SIGMA))


async def simulate(median_s: float, call: Call) -> None:
    """Wait as long as this call's seed says, and note it in its usage; a median of 0 does not wait."""
    if median_s > 0:
        latency_s = draw_s(median_s, call.seed)
        await sleep(latency_s)
        call.usage.simulated_s += latency_s
