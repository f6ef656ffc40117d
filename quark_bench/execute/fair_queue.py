"""Fair queue: who is next, where several callers wait for the same slots. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Claim(NamedTuple):
    """For whom something waits: callers (`flow`) take turns, and of one caller the lowest `rank` goes first."""

    flow: str
    rank: int


class FairQueue(Generic[T]):
    """Items that wait. Source: round robin over flows, Nagle 1987, so that a caller with a thousand prompts delays one
    with a single prompt by one item; within a flow equal ranks keep their order. Items that are `over` before it is
    their turn are thrown away and cost their flow no turn."""

    def __init__(self, over: Callable[[T], bool]) -> None:
        self._over = over
        self._flows: dict[str, list[tuple[int, int, T]]] = {}
        self._order: deque[str] = deque()
        self._numbers = count()

    def push(self, claim: Claim, item: T) -> None:
        """Add an item at the end of its flow's items of that rank; a new flow is the last to have its turn."""
        if claim.flow not in self._flows:
            self._flows[claim.flow] = []
            self._order.append(claim.flow)
        heapq.heappush(self._flows[claim.flow], (claim.rank, next(self._numbers), item))

    def pop(self) -> T | None:
        """Take the next item, whose flow goes to the end of the line; None when there is none."""
        while self._order:
            flow = self._order.popleft()
            waiting = self._flows[flow]
            item = self._first_of(waiting)
            if waiting:
                self._order.append(flow)
            else:
                del self._flows[flow]
            if item is not None:
                return item
        return None

    def _first_of(self, waiting: list[tuple[int, int, T]]) -> T | None:
        while waiting:
            item = heapq.heappop(waiting)[2]
            if not self._over(item):
                return item
        return None
