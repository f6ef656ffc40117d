"""Round trips: how far away a cluster is, and by that how its clocks compare with ours."""

from __future__ import annotations

import contextlib
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, as_completed

from quark_bench.errors import ClusterError, describe
from quark_bench.execute.graph import prompt_graph

TRIED = 7
MANY = 140
"""Empty tasks that are timed together: a fifth of a second."""
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
        with _coming_back():
            client.submit(_nothing, pure=False).result(timeout=HOP_S)
        hops.append(time.perf_counter() - before)
    return statistics.median(hops)


def measure_task(client: Client, needs: Sequence[Sequence[int]]) -> float:
    """Seconds for each of MANY empty tasks that are wired like a pipeline's agents and submitted in one message.

    Independent ones would tell too little: tasks that need each other cost twice as much. `needs` holds, for each
    agent, the positions of those it needs. Raises ClusterError where they do not come back.
    """
    layout, label = [(f"nothing{index}", needed) for index, needed in enumerate(needs)], secrets.token_hex(4)
    copies = -(-MANY // len(layout))
    before = time.perf_counter()
    ends = [end for copy in range(copies) for end in prompt_graph(layout, _nothing, f"{label}-{copy}")]
    futures = client.compute(ends, optimize_graph=False, fifo_timeout=0)
    with _coming_back():
        for _ in as_completed(futures, loop=client.loop, timeout=HOP_S):
            pass
    return (time.perf_counter() - before) / (copies * len(layout))


@contextlib.contextmanager
def _coming_back() -> Iterator[None]:
    """Raises ClusterError where empty tasks do not come back in time."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"an empty task did not come back within {HOP_S:.0f} s ({describe(error, 200)}); "
            "are the workers paused, or busy with other work? `quark-bench doctor` looks at them"
        ) from error


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


def _nothing(*_: object) -> bytes:
    return b"nothing"
