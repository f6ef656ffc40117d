"""Load: how many prompts an arm completed and how many calls were under way, window by window of its own time.

Blocks of other arms lie between an arm's blocks; its own are joined, so that every arm's time runs from 0 to what
its blocks took together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quark_bench.report.findings import Findings
from quark_bench.stats import Floats, Groups
from quark_bench.trials import block_numbers, numbers

MOST_WINDOWS = 40
FEWEST_COMPLETIONS = 4
"""In a window of the rate, on average."""
MOMENTS = 160
"""Windows of the calls under way."""


@dataclass(frozen=True, slots=True)
class Load:
    """An arm's blocks joined, `took_s` long: `per_s` completions a second and `under_way` calls on average, each in
    windows of equal length; `borders` are the shares of the time at which a block ends and the next begins."""

    arm: str
    took_s: float
    per_s: Floats
    under_way: Floats
    borders: Floats


def loads(findings: Findings) -> list[Load]:
    """The arms that have records, in their order."""
    return [load for arm in findings.arms if (load := _load(findings, arm)) is not None]


@dataclass(frozen=True, slots=True)
class _Clock:
    """An arm's own time: `start_s` and `before_s` are by block, on the session's clock and on the arm's."""

    blocks: Groups
    start_s: Floats
    before_s: Floats
    took_s: float

    def at(self, blocks: Groups, moments_s: Floats) -> Floats:
        """Moments of these blocks on the arm's clock."""
        place = np.searchsorted(self.blocks, blocks)
        return np.clip(moments_s - self.start_s[place] + self.before_s[place], 0.0, self.took_s)


def _load(findings: Findings, arm: str) -> Load | None:
    block_of = block_numbers(findings.trials, arm)
    if not len(block_of):
        return None
    start_s = numbers(findings.trials.records(["start_s"], arm), "start_s")
    due_s = numbers(findings.trials.records(["due_s"], arm), "due_s")
    end_s = due_s + numbers(findings.trials.records(["latency_s"], arm), "latency_s")
    clock = _clock(block_of, start_s, end_s)
    if not clock.took_s > 0:
        return None
    windows = int(np.clip(len(block_of) // FEWEST_COMPLETIONS, 1, MOST_WINDOWS))
    ended = np.histogram(clock.at(block_of, end_s), windows, (0.0, clock.took_s))[0]
    under_way = _under_way(findings, arm, clock)
    return Load(arm, clock.took_s, ended * windows / clock.took_s, under_way, clock.before_s[1:] / clock.took_s)


def _clock(block_of: Groups, start_s: Floats, end_s: Floats) -> _Clock:
    blocks, place = np.unique(block_of, return_inverse=True)
    first, last = np.full(len(blocks), np.inf), np.full(len(blocks), -np.inf)
    np.minimum.at(first, place, start_s)
    np.maximum.at(last, place, end_s)
    so_far_s = np.cumsum(last - first)
    return _Clock(blocks, first, so_far_s - (last - first), float(so_far_s[-1]))


def _under_way(findings: Findings, arm: str, clock: _Clock) -> Floats:
    """Call seconds in each window over its length, in one pass over the spans.

    The call seconds up to a moment t are the sum of t - start over all starts before it, less that of all ends.
    """
    edges_s = np.linspace(0.0, clock.took_s, MOMENTS + 1)
    until_s = np.zeros(MOMENTS + 1)
    for spans in findings.trials.spans(["session", "block", "attempt", "start_s", "end_s"], arm):
        called = spans[spans["attempt"] > 0]
        block_of = (called["session"].to_numpy(np.int64) << 32) | called["block"].to_numpy(np.int64)
        known = np.isin(block_of, clock.blocks)
        for name, sign in (("start_s", 1.0), ("end_s", -1.0)):
            until_s += sign * _elapsed(clock.at(block_of[known], numbers(called, name)[known]), edges_s)
    under_way: Floats = np.maximum(0.0, np.diff(until_s)) * MOMENTS / clock.took_s
    return under_way


def _elapsed(moments_s: Floats, edges_s: Floats) -> Floats:
    """For each edge the sum of what has elapsed since every moment before it."""
    place = np.searchsorted(edges_s, moments_s)
    count = np.cumsum(np.bincount(place, minlength=len(edges_s)))
    total = np.cumsum(np.bincount(place, moments_s, minlength=len(edges_s)))
    return edges_s * count - total
