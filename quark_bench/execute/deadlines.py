"""Deadlines: one sweep over all calls under way instead of a timer for each.

An `asyncio.timeout` costs 4 µs a call, two thirds of what the call itself costs; a sweep costs a comparison.
The price is precision: a limit is enforced up to a twentieth late.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

SHORTEST_SWEEP_S, LONGEST_SWEEP_S = 0.002, 0.25
STUCK_S = 5.0
"""A call that is overdue for this long has not been swept: it blocks the loop itself. Longer than any GIL hiccup."""


class Branch:
    """A task that calls agents one after another. `agent` is the one it calls at present, `deadline_s` when that call
    must have ended, `expired` how often it has been cancelled because it had not."""

    __slots__ = ("_held_up", "_held_up_s", "agent", "calls", "deadline_s", "expired", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.agent = ""
        self.deadline_s = math.inf
        self.expired = 0
        self.calls = 0
        self._held_up = 0
        self._held_up_s = 0.0

    def begin(self, agent: str, deadline_s: float) -> None:
        """A call begins, which must have ended by then."""
        self.agent, self.deadline_s, self._held_up = agent, deadline_s, 0
        self.calls += 1

    def hold_up(self, call: int, now_s: float) -> None:
        """A call waits for what is no fault of its own, a rate limit: that time does not count. Calls are numbered:
        of one that was given up on, a thread may still be at work."""
        if call == self.calls:
            if not self._held_up:
                self._held_up_s = now_s
            self._held_up += 1

    def let_go(self, call: int, now_s: float) -> None:
        """It waits no more; of several waits side by side all must have ended."""
        if call == self.calls:
            self._held_up -= 1
            if not self._held_up:
                self.deadline_s += now_s - self._held_up_s

    def is_over(self, now_s: float) -> bool:
        """Whether the call has outlived its limit."""
        return self.deadline_s < now_s and not self._held_up


class Deadlines:
    """Cancels the task of every branch whose call has outlived its limit. Lives on one event loop."""

    def __init__(self) -> None:
        self._open: set[Branch] = set()
        self._every_s = LONGEST_SWEEP_S
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def refine(self, shortest_limit_s: float) -> None:
        """Sweep often enough for a limit of this length."""
        self._every_s = min(self._every_s, max(SHORTEST_SWEEP_S, shortest_limit_s / 20))

    def watch(self, branch: Branch) -> None:
        self._open.add(branch)
        if self._timer is None:
            self._loop = asyncio.get_running_loop()
            self._timer = self._loop.call_later(self._every_s, self._sweep)

    def forget(self, branch: Branch) -> None:
        self._open.discard(branch)

    def _sweep(self) -> None:
        now_s = time.perf_counter()
        for branch in self._open:
            if branch.is_over(now_s):
                branch.expired += 1
                branch.deadline_s = now_s + 1.0  # an agent that swallows its cancellation is cancelled again
                branch.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._sweep) if self._open else None

    def stuck(self) -> str | None:
        """The agent that blocks this loop beyond the limit of any call on it; asked from another thread."""
        now_s = time.perf_counter()
        branches = tuple(self._open)
        if self._loop is None or not any(branch.is_over(now_s - STUCK_S) for branch in branches):
            return None
        running = asyncio.current_task(self._loop)
        return next((f"agent {branch.agent!r}" for branch in branches if branch.task is running), "an agent")
