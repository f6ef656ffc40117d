"""Decide: what a failure costs, and how a block is cut. Pure: time comes in as a number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from quark_bench.policy import Policy

CHUNK_S = 0.5
"""A chunk holds what a worker finishes in about this time: long against a 10 ms hop, short against a run."""
LARGEST_CHUNK = 2_000
BEARABLE_HOPS = 0.05
"""Agent granularity is chosen while its hops add at most this share to a prompt's critical path."""
BEARABLE_LOAD = 0.5
"""... and while they take at most this share of the one scheduler's time."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after a wait."""

    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The agent has failed for good."""


def after_failure(policy: Policy, attempt: int, seed: int) -> Retry | GiveUp:
    """What follows the failure of attempt number `attempt` (from 1).

    Waits double and are drawn from [half, full] by `seed`: AWS's "equal jitter", which keeps callers that
    failed together from coming back together, yet never retries at once.
    """
    if attempt > policy.retries:
        return GiveUp()
    full_s = min(policy.backoff_max_s, policy.backoff_s * 2 ** (attempt - 1))
    return Retry(full_s * (0.5 + 0.5 * random.Random(seed * 31 + attempt).random()))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the warm-up of one arm showed. All durations are medians over its trials."""

    latency_s: float
    critical_path_s: float
    levels: int
    calls: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A granularity and the reason for it, as it stands in the report."""

    agent: bool
    reason: str


def choose_granularity(calibration: Calibration | None, hop_s: float, declared: Mapping[str, str]) -> Choice:
    """Agent granularity where agents ask for it or are long against a hop; else chunks.

    `declared` names the agents that declare CPU work or resources and what they declare. A task per agent
    costs one hop a level on the critical path, and the scheduler about half a hop's CPU for every call.
    """
    if declared:
        names = ", ".join(f"{agent} ({what})" for agent, what in declared.items())
        return Choice(True, f"agents declare what only the scheduler can place: {names}")
    if calibration is None:
        return Choice(False, "no warm-up to calibrate by: the chunk is the safe choice")
    if hop_s == 0:
        return Choice(False, "nothing is submitted: everything runs in this process")
    path_s = calibration.critical_path_s
    hops_s = calibration.levels * hop_s
    rate = calibration.in_flight / max(calibration.latency_s, 1e-9)
    load = rate * calibration.calls * hop_s / 10
    facts = (
        f"{calibration.levels} hops of {hop_s * 1e3:.1f} ms beside a critical path of {path_s * 1e3:.0f} ms, "
        f"{rate * calibration.calls:,.0f} calls/s wanted"
    )
    if hops_s <= BEARABLE_HOPS * path_s and load <= BEARABLE_LOAD:
        return Choice(True, f"agents are long against a hop: {facts}")
    return Choice(False, f"a task for every agent would cost too much: {facts}")


def least_chunk(latency_s: float | None, lanes: int, hop_s: float) -> int:
    """Prompts that `lanes` prompts under way finish in one hop: below that, a chunk's hop costs more than its work."""
    if latency_s is None:
        return 1
    return max(1, min(LARGEST_CHUNK, int(hop_s * lanes / max(latency_s, 1e-6))))


def chunk_size(latency_s: float | None, lanes: int) -> int:
    """Prompts that `lanes` prompts under way finish in about half a second, 1 to 2,000.

    By Little's law, lanes / latency is the rate; without a calibration two rounds of the lanes.
    """
    if latency_s is None:
        return max(1, min(LARGEST_CHUNK, 2 * lanes))
    return max(1, min(LARGEST_CHUNK, int(CHUNK_S * lanes / max(latency_s, 1e-6))))
