"""Scheduling in virtual time, pure: how long work takes when it waits for nothing but its inputs, a slot or a server.

Everywhere, steps of a DAG come in topological order: `needs[i]` holds positions before `i`. Durations are finite
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapreplace


def longest_path(durations_s: Sequence[float], needs: Sequence[Sequence[int]]) -> float:
    """Seconds of the critical path: the last end with unlimited workers; 0 for no steps."""
    return max(earliest_ends(durations_s, needs), default=0.0)


def longest_chain(durations_s: Sequence[float], needs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Positions of the steps on the critical path, first to last; of equal paths, the one through earlier steps."""
    ends_s = earliest_ends(durations_s, needs)
    chain: list[int] = []
    candidates: Sequence[int] = range(len(ends_s))
    while candidates:
        last = min(candidates, key=lambda index: (-ends_s[index], index))
        chain.append(last)
        candidates = needs[last]
    return tuple(reversed(chain))


def earliest_ends(durations_s: Sequence[float], needs: Sequence[Sequence[int]]) -> list[float]:
    """For each step, when it ends if it starts the moment its last input is there; seconds from the first start.

    Source: earliest finish times of the critical path method, Kelley and Walker 1959.
    """
    # A plain loop on purpose: this runs once per trial, and max() over a generator takes three times as long.
    ends_s: list[float] = []
    for duration_s, needed in zip(durations_s, needs, strict=True):
        end_s = 0.0
        for need in needed:
            end_s = ends_s[need] if ends_s[need] > end_s else end_s
        ends_s.append(end_s + duration_s)
    return ends_s


def most_at_once(needs: Sequence[Sequence[int]]) -> int:
    """The most steps that can be under way together: none of them needs another, however far back.

    As many as chains that hold every step, and chains are what is left when as many steps as can be have one that comes
    right after them. Source: Dilworth 1950; found by matching, as Fulkerson 1956 has it.
    """
    before: list[set[int]] = []
    for needed in needs:
        before.append(set(needed).union(*(before[need] for need in needed)))
    after: dict[int, int] = {}

    def comes_after_one(step: int, tried: set[int]) -> bool:
        for earlier in before[step]:
            if earlier not in tried:
                tried.add(earlier)
                if earlier not in after or comes_after_one(after[earlier], tried):
                    after[earlier] = step
                    return True
        return False

    return len(needs) - sum(comes_after_one(step, set()) for step in range(len(needs)))


def makespan(durations_s: Iterable[float], slots: int) -> float:
    """Seconds until the last of these jobs has ended, when each begins, in this order, the moment a slot is free.

    At most (2 - 1 / slots) times what any order could reach. Source: list scheduling, Graham 1966. Raises ValueError
    for fewer than one slot.
    """
    if slots < 1:
        raise ValueError(f"{slots} slots: nothing would ever begin")
    free_s, last_s = [0.0] * slots, 0.0
    for duration_s in durations_s:
        end_s = free_s[0] + duration_s
        heapreplace(free_s, end_s)
        last_s = end_s if end_s > last_s else last_s
    return last_s


def time_at_server(service_s: float, elsewhere_s: float, customers: int) -> float:
    """Mean seconds that a customer spends at one server in each round, waiting for the others included.

    Each of `customers` needs `service_s` of the server, then spends `elsewhere_s` where nobody waits for anybody, and
    comes again. Source: exact mean value analysis of a closed network, Reiser and Lavenberg 1980.
    """
    at_server, spent_s = 0.0, service_s
    for present in range(1, customers + 1 if service_s > 0 else 1):
        spent_s = service_s * (1 + at_server)
        at_server = present * spent_s / (spent_s + elsewhere_s)
    return spent_s
