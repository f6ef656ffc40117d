"""Steering: what a trial that runs live is told while it goes on, and what it tells.

A trial of a batch has none: every agent of its pipeline runs, and nobody waits for a single one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from quark_bench.execute.fair_queue import Claim
from quark_bench.execute.outcome import Outcome
from quark_bench.execute.slots import Slots, Waiter
from quark_bench.pipeline import Step
from quark_bench.routing import Routing, category_of


class Observer(Protocol):
    """Who is told how a trial gets on."""

    def began(self, step: Step) -> None:
        """An agent is called; again for each further attempt."""
        ...

    def ended(self, step: Step, outcome: Outcome) -> None:
        """An agent's call has ended, or the agent turned out to be unneeded before it began."""
        ...


class Steering:
    """Of one trial: its claim to slots, which agents its category needs, and who looks on.

    `given` holds values that stand for what agents would have answered, by position: those are not called.
    `unneeded` are the agents that the trial does not need; those of them in `begun` were under way, or had ended,
    before that was known, and end by themselves. What they answer goes to nobody: the same answer must come of
    agents that run side by side and of agents that run one after another.
    """

    def __init__(
        self,
        slots: Slots,
        claim: Claim,
        observer: Observer,
        routing: Routing | None = None,
        unneeded: frozenset[int] = frozenset(),
        given: Mapping[int, Any] | None = None,
    ) -> None:
        self.category: str | None = None
        self.unneeded = unneeded
        self.given = given or {}
        self.begun: set[int] = set()
        self._slots = slots
        self.claim = claim
        self._observer = observer
        self._routing = routing
        self.late: Collection[int] = () if routing is None else routing.late
        """Begin only when the category is known."""
        self._waiting: dict[int, Waiter] = {}

    @property
    def route(self) -> str | None:
        """The category, where it has a route."""
        has_one = self._routing is not None and self.category in self._routing.by_category
        return self.category if has_one else None

    async def enter(self, step: Step) -> bool:
        """Take a slot for a call of this agent. False where the agent turned out to be unneeded before it began."""
        if self._may_not_begin(step):
            return False
        waiter = self._slots.ask(self.claim)
        if waiter is not None and not await self._granted(step, waiter):
            return False
        if self._may_not_begin(step):  # found when its slot had been granted
            self._slots.leave()
            return False
        self.begun.add(step.index)
        self._observer.began(step)
        return True

    def _may_not_begin(self, step: Step) -> bool:
        return step.index in self.unneeded and step.index not in self.begun

    async def _granted(self, step: Step, waiter: Waiter) -> bool:
        if step.index in self.begun:
            return await self._slots.await_grant(waiter)
        self._waiting[step.index] = waiter
        try:
            return await self._slots.await_grant(waiter)
        finally:
            del self._waiting[step.index]

    def leave(self) -> None:
        """Let the slot of a call go."""
        self._slots.leave()

    def follow(self, step: Step) -> Collection[int]:
        """The agents that waited for this one, each of them as often as it did."""
        is_finder = self._routing is not None and step.index == self._routing.finder
        return (*step.feeds, *self.late) if is_finder else step.feeds

    def ended(self, step: Step, outcome: Outcome) -> frozenset[int]:
        """An agent has ended as the outcome tells: the agents that are unneeded because of it."""
        self._observer.ended(step, outcome)
        if self._routing is None or step.index != self._routing.finder:
            return frozenset()
        self.category = category_of(outcome.value)
        found = self._routing.unneeded(self.category) - self.unneeded
        self.unneeded |= found
        for index in found & self._waiting.keys():
            self._slots.withdraw(self._waiting[index])
        return found
