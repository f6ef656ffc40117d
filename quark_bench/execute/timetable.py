"""Timetable: when each prompt of a block is due, on the client's clock, and what is handed out ahead of that. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection

from quark_bench.execute import Setting, Work
from quark_bench.plan import Block, arrivals_seed

LEAD_S = 0.5
"""A block's first moment lies so far ahead: its first chunks are with their workers by then."""
AHEAD_S = 2.0
"""Chunks are handed out so long before their first prompt is due: a client that writes, or a scheduler that is busy,
delays none."""


class Timetable:
    """Of the prompts of one block, in their order; `due_s` never falls."""

    def __init__(self, start: int, due_s: array[float]) -> None:
        self._start = start
        self._due_s = due_s

    def due_s(self, start: int, stop: int) -> tuple[float, ...]:
        """When these prompts of the data set are due."""
        return tuple(self._due_s[start - self._start : stop - self._start])

    def handed_out(self, now_s: float) -> int:
        """The prompts before this one are handed out by now."""
        return self._start + bisect_right(self._due_s, now_s + AHEAD_S)

    def next_due_s(self, now_s: float) -> float | None:
        """When the next prompt is due that is not due yet; None after the last."""
        place = bisect_right(self._due_s, now_s)
        return self._due_s[place] if place < len(self._due_s) else None


def timetable(work: Work, block: Block, setting: Setting, finished: Collection[int], now_s: float) -> Timetable | None:
    """Of the block's chunks but for those that are finished, whose time is left out: every other prompt keeps its
    distance from the one before it. None for a closed load.
    """
    arrivals = work.arm(block).arrivals
    if arrivals is None:
        return None
    offsets_s = arrivals.offsets_s(len(block), arrivals_seed(work.seed, block))
    origin_s = now_s + LEAD_S
    due_s = array("d")
    for chunk in setting.chunks(block):
        first, last = chunk.start - block.start, chunk.stop - block.start
        if chunk.index in finished:
            begun_s = offsets_s[first - 1] if first else 0.0
            due_s.extend([origin_s + begun_s] * len(chunk))
            origin_s -= offsets_s[last - 1] - begun_s
        else:
            due_s.extend(origin_s + offset_s for offset_s in offsets_s[first:last])
    return Timetable(block.start, due_s)
