"""Fair queue: who is next, where several callers wait for the same slots. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Claim(NamedTuple):
    """For whom something waits: callers (`flow`) take turns, and of one caller the lowest `rank` goes first."""

    flow: str
    rank: int


class FairQueue(Generic[T]):
    """Items that wait. Source: round robin over flows, Nagle 1987, so that a caller with a thousand prompts delays one
    with a single prompt by one item; within a flow equal ranks keep their order."""

    def __init__(self) -> None:
        self._flows: dict[str, list[tuple[int, int, T]]] = {}
        self._order: deque[str] = deque()
        self._numbers = count()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, claim: Claim, item: T) -> None:
        """Add an item at the end of its flow's items of that rank; a new flow is the last to have its turn."""
        if claim.flow not in self._flows:
            self._flows[claim.flow] = []
            self._order.append(claim.flow)
        heapq.heappush(self._flows[claim.flow], (claim.rank, next(self._numbers), item))
        self._length += 1

    def pop(self) -> T:
        """Take the next item; its flow goes to the end of the line. Raises IndexError when there is none."""
        flow = self._order.popleft()
        waiting = self._flows[flow]
        item = heapq.heappop(waiting)[2]
        if waiting:
            self._order.append(flow)
        else:
            del self._flows[flow]
        self._length -= 1
        return item
