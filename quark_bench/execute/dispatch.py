"""Dispatch: which worker gets what next, and what the loss of a worker costs. Pure: no clock, no Dask.

A lost worker takes the trials down that it had not returned, but only one of them may be at fault, or none. So all
are suspects, and each runs again alone in a process: only a trial that loses its worker while alone, and loses it
once more, has failed. Dask itself blames every task assigned to a dead worker.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass

from quark_bench.plan import Chunk

LOSSES_ALONE = 2
"""A trial that lost its worker so often while it was alone has failed: once may be bad luck."""
LOSSES_TOGETHER = 2
"""A trial that lost so many workers while it ran among others is a suspect: Dask would have it take down a third."""
CHUNKS_WAITING = 3
"""Chunks with prompts yet to begin that a worker holds: the one its lanes are at, the next, and one for lanes that all
become free at once. In virtual time, prompts of equal length take 0.8 % more than the ideal, 1.9 % with two."""

MOST_HELD = 10_000
"""Prompts at a worker, where they are due faster than it carries them out."""


@dataclass(frozen=True, slots=True)
class Order:
    """Prompts `start` to `stop` of a chunk for one worker, `lanes` of them under way at once.

    `alone`: one suspect, in a process that has nothing else.
    """

    number: int
    worker: str
    chunk: Chunk
    start: int
    stop: int
    lanes: int
    alone: bool

    def __len__(self) -> int:
        return self.stop - self.start


def is_hopeless(losses: int, able: Collection[str] | None, ready: Set[str]) -> bool:
    """Whether a trial that Dask places by itself is withdrawn, to run again alone.

    It has lost `losses` workers since it was admitted, may run on the `able` ones (None: on all), and `ready` can take
    part. One that lost a worker does not wait for the next to join: it might take that down while it starts.
    """
    stranded = able is not None and ready.isdisjoint(able)
    return stranded or losses >= LOSSES_TOGETHER or (losses > 0 and not ready)


class Dispatch:
    """The state of one block: what waits, what is under way where, who is suspected.

    Laws: prompts under way never exceed `in_flight`; every prompt of every chunk is returned or given up, once. In an
    open load (`by_turns`) chunks are handed out when it is time, to workers in turn, whatever these have waiting.
    """

    def __init__(self, chunks: Iterator[Chunk], in_flight: int, *, by_turns: bool = False) -> None:
        self._in_flight = in_flight
        self._by_turns = by_turns
        self._turns: dict[str, int] = {}
        self._chunks = chunks
        self._next: Chunk | None = next(chunks, None)
        self._under_way: dict[int, Order] = {}
        self._held: dict[str, dict[int, Order]] = {}
        self._begun: set[int] = set()
        self._targets: dict[str, int] = {}
        self._suspects: deque[tuple[Chunk, int]] = deque()
        self._losses: Counter[tuple[int, int]] = Counter()
        self._missing: dict[int, int] = {}
        self._orders = 0
        self._stopped = False

    @property
    def done(self) -> bool:
        """Nothing is under way and nothing more will be."""
        return not self._under_way and (self._stopped or (self._next is None and not self._suspects))

    @property
    def under_way(self) -> Collection[Order]:
        return self._under_way.values()

    def stop(self) -> None:
        """Hand out nothing more; what is under way may still return."""
        self._stopped = True

    def present(self, workers: Set[str]) -> None:
        """Share the prompts in flight among these workers: shares differ by at most one and add up.

        Where there are more workers than prompts in flight, those that are busy keep their share.
        """
        if workers == self._targets.keys():
            return
        ranked = sorted(workers, key=lambda worker: (worker not in self._held, worker))
        self._targets = shares(ranked, self._in_flight) | dict.fromkeys(ranked[self._in_flight :], 0)

    def orders(self, before: int = sys.maxsize) -> Iterator[Order]:
        """What to hand out now, of chunks that begin before this prompt. Suspects come first, each to a worker that has
        nothing else; while one waits, workers get nothing new, so that they become free for it."""
        while not self._stopped:
            order = self._next_alone() if self._suspects else self._next_chunk(before)
            if order is None:
                return
            self._under_way[order.number] = order
            self._held.setdefault(order.worker, {})[order.number] = order
            yield order

    def begun(self, number: int) -> None:
        """Take note that an order's last prompt has begun: nothing of it waits any more."""
        if number in self._under_way:
            self._begun.add(number)

    def returned(self, order: Order) -> bool:
        """Take note that an order's results are here. True when its chunk is whole."""
        self._forget(order)
        return self._account(order)

    def lost(self, order: Order) -> bool:
        """Take note that an order's worker was lost. True when its trial is thereby given up: it has failed."""
        self._forget(order)
        if not order.alone:
            self._missing[order.chunk.index] = len(order.chunk)
        for position in range(order.start, order.stop):
            trial = (order.chunk.index, position)
            self._losses[trial] += 1
            if self._losses[trial] > LOSSES_ALONE:  # the first loss was in company
                return True
            self._suspects.append((order.chunk, position))
        return False

    def given_up(self, order: Order) -> bool:
        """Take note that a given-up trial has its record. True when its chunk is whole."""
        return self._account(order)

    def losses(self, order: Order) -> int:
        """How often the order's trials have lost their worker so far."""
        return self._losses[(order.chunk.index, order.start)]

    # -- choosing

    def _next_alone(self) -> Order | None:
        free = self._free_lanes()
        if free < 1:
            return None
        worker = next((each for each, target in self._targets.items() if target and each not in self._held), None)
        if worker is None:
            return None
        chunk, position = self._suspects.popleft()
        return self._order(worker, chunk, position, position + 1, 1, alone=True)

    def _next_chunk(self, before: int) -> Order | None:
        """To the hungriest worker, or, of several alike, to the one whose turn it is."""
        if self._next is None or self._next.start >= before:
            return None
        free = self._free_lanes()
        best: tuple[float, int, str, int] | None = None
        for worker, target in self._targets.items():
            held = self._held.get(worker, {}).values()
            lanes = min(target, free + _lanes_of(held))
            if lanes < 1 or any(order.alone for order in held):
                continue
            prompts = sum(map(len, held)) if self._by_turns else self._to_begin(held, lanes)
            if prompts is None or prompts > MOST_HELD:
                continue
            rank = (prompts / lanes, self._turns.get(worker, 0), worker, lanes)
            best = rank if best is None else min(best, rank)
        if best is None:
            return None
        _, _, worker, lanes = best
        chunk, self._next = self._next, next(self._chunks, None)
        order = self._order(worker, chunk, chunk.start, chunk.stop, lanes, alone=False)
        if self._by_turns:
            self._turns[worker] = order.number
        return order

    def _to_begin(self, held: Collection[Order], lanes: int) -> int | None:
        """Prompts that a worker is at or has waiting; None where it has enough: no fewer chunks waiting than it should
        have, and more prompts than fill its lanes."""
        waiting = [len(order) for order in held if order.number not in self._begun]
        begun = min(lanes, sum(map(len, held)) - sum(waiting))  # at most: some of them have ended
        prompts = sum(waiting) + begun
        return None if len(waiting) >= CHUNKS_WAITING and prompts > lanes else prompts

    def _free_lanes(self) -> int:
        """Prompts in flight that no worker holds. A worker's lanes narrow only when all it was handed with more of
        them is back."""
        return self._in_flight - sum(_lanes_of(held.values()) for held in self._held.values())

    def _order(self, worker: str, chunk: Chunk, start: int, stop: int, lanes: int, *, alone: bool) -> Order:
        self._orders += 1
        return Order(self._orders, worker, chunk, start, stop, lanes, alone)

    # -- settling

    def _forget(self, order: Order) -> None:
        del self._under_way[order.number]
        self._begun.discard(order.number)
        held = self._held[order.worker]
        del held[order.number]
        if not held:
            del self._held[order.worker]

    def _account(self, order: Order) -> bool:
        if not order.alone:
            return True
        self._missing[order.chunk.index] -= 1
        return self._missing[order.chunk.index] == 0


def _lanes_of(held: Collection[Order]) -> int:
    return max((order.lanes for order in held), default=0)


def shares(workers: Collection[str], in_flight: int) -> dict[str, int]:
    """Prompts in flight by worker, for the first `in_flight` of them: they differ by at most one and add up."""
    used = list(workers)[:in_flight]
    share, rest = divmod(in_flight, len(used)) if used else (0, 0)
    return {worker: share + (index < rest) for index, worker in enumerate(used)}
