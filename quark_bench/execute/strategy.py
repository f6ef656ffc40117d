"""Strategy: whether a prompt's agents run side by side or one after another. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quark_bench.plan import Strategy
from quark_bench.schedule import longest_path
from quark_bench.units import SECONDS

BRANCH_S = 20e-6
"""Seconds that it costs to run an agent in a task of its own: to make and to await one takes 7 to 13 µs on an idle
event loop, and coming back to it in between as much again."""


class Choice(NamedTuple):
    """A strategy, and why."""

    strategy: Strategy
    reason: str


def choose_strategy(durations_s: Sequence[float | None], needs: Sequence[Sequence[int]]) -> Choice:
    """Parallel where branches save more time than they can cost, which is a task for every agent but the first.

    `durations_s` is what each agent takes in seconds, None where that was not measured yet; `needs` holds for each the
    positions of those before it that it waits for.
    """
    others = len(needs) - 1
    if longest_path([1.0] * len(needs), needs) == len(needs):
        return Choice(Strategy.SEQUENTIAL, "each agent needs the one before it: there is nothing to run side by side")
    measured_s = [duration_s for duration_s in durations_s if duration_s is not None]
    if len(measured_s) < len(durations_s):
        return Choice(Strategy.PARALLEL, "some agents need nothing of one another; what they take is not measured yet")
    work_s, critical_path_s = sum(measured_s), longest_path(measured_s, needs)
    told = f"agents take {SECONDS.format(work_s)} in turn, {SECONDS.format(critical_path_s)} side by side"
    if work_s - critical_path_s > others * BRANCH_S:
        return Choice(Strategy.PARALLEL, told)
    return Choice(Strategy.SEQUENTIAL, f"{told}: no more than starting {others} tasks may cost")
