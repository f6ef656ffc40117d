"""Slots: at most so many things under way at once, the others in a fair line. Lives on one event loop."""

from __future__ import annotations

import asyncio

from quark_bench.execute.fair_queue import Claim, FairQueue

Waiter = asyncio.Future[bool]
"""Resolves to True when a slot is granted, to False when its owner was told not to wait any more."""


class Slots:
    """A bound on what is under way. A slot that is let go passes straight to who is next, so that no newcomer
    overtakes those in line."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.under_way = 0
        self._line: FairQueue[Waiter] = FairQueue(asyncio.Future.done)
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return self._waiting

    def ask(self, claim: Claim) -> Waiter | None:
        """Take a slot: None when it was free, else what to wait for."""
        if self.under_way < self.most:
            self.under_way += 1
            return None
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._line.push(claim, waiter)
        self._waiting += 1
        return waiter

    async def enter(self, claim: Claim) -> None:
        """Take a slot, waiting for it if need be."""
        waiter = self.ask(claim)
        if waiter is not None:
            await self.await_grant(waiter)

    async def await_grant(self, waiter: Waiter) -> bool:
        """Whether a slot was granted; nothing is held where it was not, or where the caller is cancelled."""
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiting -= 1
            elif waiter.result():
                self.leave()  # granted in the very moment of the cancellation
            raise

    def withdraw(self, waiter: Waiter) -> None:
        """Tell one that waits that it need not: its place in line is given up."""
        if not waiter.done():
            waiter.set_result(False)
            self._waiting -= 1

    def leave(self) -> None:
        """Let a slot go: to the next in line, if there is one."""
        waiter = self._line.pop()
        if waiter is None:
            self.under_way -= 1
        else:
            waiter.set_result(True)
            self._waiting -= 1
