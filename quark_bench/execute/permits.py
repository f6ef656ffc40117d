"""Permits: a process's share of what all processes together may ask its models; see `ration.py`.

The hub lives beside the scheduler of a cluster (`shared.py`), or here where nothing is linked. Questions wait in the
order in which they came; one exchange with the hub is under way at a time, and carries all that is to be said. A model
without limits that has refused nothing yet is asked without a word to anyone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from quark_bench.execute.ration import LEASE_S, Ended, Place, RationHub, Told, by_end
from quark_bench.model_use import Limits

MOST_ASKED = 256
"""Questions of a model that one exchange asks for: more could not be sent before the next."""
RENEW_S = LEASE_S / 4
ALONE_S = 5.0
"""A hub that could not be reached is left alone for so long: until then this process goes by its own."""

Exchange = Callable[[list[Told]], Awaitable[list[Told]]]
"""Brings rows to the hub (`RationHub.exchange`) and its answers back. Raises what kept it from that."""


class Permit(NamedTuple):
    """Allows one question; `epoch` tells which refusals it is too old to have caused."""

    epoch: int
    tokens: float


@dataclass(slots=True)
class _Queue:
    """Of one model: who waits, with how many tokens; how many are under way; what the hub has not heard of yet."""

    limits: Limits
    epoch: int = 0
    watched: bool = False
    held: int = 0
    waiting: deque[tuple[float, asyncio.Future[int]]] = field(default_factory=deque)
    ended: list[tuple[Ended, int, float]] = field(default_factory=list)
    tokens: float = 0.0
    """To be given back."""

    def row(self, place: Place) -> Told:
        """All there is to say, which is news no longer. Who was cancelled waits no more."""
        self.waiting = deque(each for each in self.waiting if not each[1].done())
        limits = [self.limits.requests_per_s, self.limits.tokens_per_min, self.limits.calls]
        needs = [tokens for tokens, _ in self.waiting][:MOST_ASKED]
        row = [*place, limits, self.held, needs, by_end(self.ended), self.tokens]
        self.ended, self.tokens = [], 0.0
        return row


class Permits:
    """Of one process; lives on its event loop. Without a link, its own hub is the truth."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.hub = RationHub()
        self._clock = clock
        self._link: Exchange | None = None
        self._queues: dict[Place, _Queue] = {}
        self._stirred = asyncio.Event()
        self._talking: asyncio.Task[None] | None = None
        self._alone_until_s = float("-inf")

    def link(self, exchange: Exchange | None) -> None:
        """From now on share the hub that `exchange` reaches; None: be alone again."""
        self._link = exchange
        self._alone_until_s = float("-inf")

    def forget(self, run: str) -> None:
        """Let go of what a run's earlier session left."""
        self.hub.forget(run)
        for place in [place for place in self._queues if place[0] == run]:
            del self._queues[place]

    def pass_freely(self, place: Place, limits: Limits, tokens: float) -> Permit | None:
        """The permit for a question to a model that has no limits and has refused nothing yet; else None."""
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue(limits, watched=limits.is_set)
        if queue.watched:
            return None
        queue.held += 1
        return Permit(queue.epoch, tokens)

    async def enter(self, place: Place, tokens: float) -> Permit:
        """Wait until a question of about so many tokens may be sent, which `pass_freely` did not let pass."""
        queue = self._queues[place]
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue.waiting.append((tokens, granted))
        self._stir()
        try:
            return Permit(await granted, tokens)
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted while its agent's time ran out
                self.leave(place, Permit(granted.result(), tokens), Ended.OTHERWISE, 0.0)
            raise

    def leave(self, place: Place, permit: Permit, ended: Ended, tokens: float, retry_after_s: float = 0.0) -> None:
        """A question has ended, having taken so many tokens."""
        queue = self._queues.get(place)
        if queue is None:
            return
        if not queue.watched:
            if ended is not Ended.REFUSED:
                queue.held -= 1
                return
            queue.watched = True  # from now on the hub decides: it is told of all that is under way here
        queue.held -= 1
        queue.ended.append((ended, permit.epoch, retry_after_s))
        queue.tokens += permit.tokens - tokens
        self._stir()

    # -- talking to the hub

    def _stir(self) -> None:
        self._stirred.set()
        if self._talking is None or self._talking.done():
            self._talking = asyncio.get_running_loop().create_task(self._talk())

    async def _talk(self) -> None:
        """Exchange with the hub while there is something to say, to wait for, or to hold."""
        while open_queues := {place: queue for place, queue in self._queues.items() if self._has_business(queue)}:
            self._stirred.clear()
            pause_s = await self._exchange(open_queues)
            with contextlib.suppress(TimeoutError):
                await (asyncio.wait_for(self._stirred.wait(), pause_s) if pause_s > 0.0 else asyncio.sleep(0))

    def _has_business(self, queue: _Queue) -> bool:
        return queue.watched and bool(queue.waiting or queue.held or queue.ended)

    async def _exchange(self, queues: dict[Place, _Queue]) -> float:
        """Say what there is to say, and let go who may; how long nothing more is to be said."""
        rows = [queue.row(place) for place, queue in queues.items()]
        answers = await self._answers(rows)
        pause_s = RENEW_S
        for queue, (count, wait_s, epoch, watched) in zip(queues.values(), answers, strict=True):
            queue.epoch, queue.watched = epoch, watched
            spare = self._let_go(queue, count)
            if spare:  # those who asked have been cancelled in the meantime
                queue.ended.extend([(Ended.OTHERWISE, epoch, 0.0)] * spare)
                pause_s = 0.0
            if queue.waiting:
                pause_s = min(pause_s, wait_s)
        return pause_s

    async def _answers(self, rows: list[Told]) -> list[Told]:
        """The hub's, or this process's own where that cannot be reached: no question may be lost with it."""
        if self._link is not None and self._clock() >= self._alone_until_s:
            try:
                return await self._link(rows)
            except Exception:  # noqa: BLE001 - whatever keeps us from the hub
                self._alone_until_s = self._clock() + ALONE_S
        return self.hub.exchange("", rows, self._clock())

    def _let_go(self, queue: _Queue, count: int) -> int:
        """Grant as many questions as may be sent; how many grants nobody wanted any more."""
        while count and queue.waiting:
            _, granted = queue.waiting.popleft()
            if granted.done():
                continue
            queue.held += 1
            granted.set_result(queue.epoch)
            count -= 1
        return count
