"""Steering: what a trial that runs live is told while it goes on, and what it tells.

A trial of a batch has none: every agent of its pipeline runs, and nobody waits for a single one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from quark_bench.execute.fair_queue import Claim
from quark_bench.execute.outcome import Outcome
from quark_bench.execute.slots import Slots, Waiter
from quark_bench.pipeline import Pipeline, Step
from quark_bench.routing import Router, category_of


class Observer(Protocol):
    """Who is told how a trial gets on."""

    def began(self, step: Step) -> None:
        """An agent is called; again for each further attempt."""
        ...

    def ended(self, step: Step, outcome: Outcome) -> None:
        """An agent's call has ended, or the agent was left out."""
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
        pipeline: Pipeline,
        slots: Slots,
        claim: Claim,
        observer: Observer,
        router: Router | None = None,
        unneeded: frozenset[int] = frozenset(),
        given: Mapping[int, Any] | None = None,
    ) -> None:
        self.category: str | None = None
        self.unneeded = unneeded
        self.given = given or {}
        self.begun: set[int] = set()
        self._pipeline = pipeline
        self._slots = slots
        self.claim = claim
        self._observer = observer
        self._router = router
        self._finder = -1 if router is None else router.finder(pipeline)
        self._waiting: dict[int, Waiter] = {}

    async def enter(self, step: Step) -> bool:
        """Take a slot for a call of this agent. False where the agent turned out to be unneeded before it began."""
        if step.index in self.unneeded and step.index not in self.begun:
            return False
        waiter = self._slots.ask(self.claim)
        if waiter is not None:
            if step.index not in self.begun:
                self._waiting[step.index] = waiter
            try:
                if not await self._slots.await_grant(waiter):
                    return False
            finally:
                self._waiting.pop(step.index, None)
        self.begun.add(step.index)
        self._observer.began(step)
        return True

    def leave(self) -> None:
        """Let the slot of a call go."""
        self._slots.leave()

    def ended(self, step: Step, outcome: Outcome) -> frozenset[int]:
        """An agent has ended as the outcome tells: the agents that are unneeded because of it."""
        self._observer.ended(step, outcome)
        if step.index != self._finder or self._router is None or not outcome.gave_result:
            return frozenset()
        self.category = category_of(outcome.value)
        found = self._router.unneeded(self._pipeline, self.category) - self.unneeded
        self.unneeded |= found
        for index in found & self._waiting.keys():
            self._slots.withdraw(self._waiting[index])
        return found
