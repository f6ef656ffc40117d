"""Round trips: how far away a cluster is, and by that how its clocks compare with ours."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from quark_bench.errors import ClusterError, describe

TRIED = 7
HOP_S = 15.0
"""Longest wait for an empty task."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Seconds from a request to its answer, of several tried."""

    median_s: float
    least_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What to add to a worker's clock readings to get this process's, and by how much that may be wrong at most."""

    offset_s: float
    uncertainty_s: float


SAME_CLOCK = ClockOffset(0.0, 0.0)
"""All processes of one boot of one machine share a monotonic clock."""


def scheduler_round_trip(client: Client) -> RoundTrip:
    """To the scheduler and back, with nothing done there."""
    taken = []
    for _ in range(TRIED):
        before = time.perf_counter()
        client.sync(client.scheduler.echo, data=b"")
        taken.append(time.perf_counter() - before)
    return RoundTrip(statistics.median(taken), min(taken), max(taken))


def measure_hop(client: Client) -> float:
    """Median seconds from submitting an empty task to its result. Raises ClusterError where none comes."""
    hops = []
    for _ in range(TRIED):
        before = time.perf_counter()
        try:
            client.submit(_nothing, pure=False).result(timeout=HOP_S)
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"an empty task did not come back within {HOP_S:.0f} s ({describe(error, 200)}); "
                "are the workers paused, or busy with other work? `quark-bench doctor` looks at them"
            ) from error
        hops.append(time.perf_counter() - before)
    return statistics.median(hops)


def best_offset(readings: Sequence[tuple[float, float, float]]) -> ClockOffset:
    """The offset by the shortest of `(before, theirs, after)`, wrong by at most half of it (Cristian 1989)."""
    before, theirs, after = min(readings, key=lambda reading: reading[2] - reading[0])
    return ClockOffset((before + after) / 2 - theirs, (after - before) / 2)


# -- what runs on the workers


def read_clock() -> tuple[str | None, float]:
    """Which boot of which machine this is (None: unknown), and its monotonic clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = None
    return boot, time.perf_counter()


def _nothing() -> bytes:
    return b"nothing"
