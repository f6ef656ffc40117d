"""Ration: how many questions all processes together may ask one model. Pure: time comes in as a number.

Requests and tokens by token buckets; calls under way by leases; and where a server refuses (429), a ceiling that it
teaches: additive increase, multiplicative decrease (Chiu and Jain 1989, doi:10.1016/0169-7552(89)90019-6), as TCP
finds the rate that a network bears. A decrease answers only for questions that were sent after the last one: refusals
of one crowd are one piece of news. Failures of another kind (5xx, timeouts) tell nothing of how much is too much.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quark_bench.model_use import Limits

DECREASE = 0.7
"""TCP CUBIC's factor (RFC 9438, 4.6): half, as TCP Reno's, leaves a model idle for longer."""
LEASE_S = 10.0
"""A process that has not been heard of for so long holds nothing any more: it is gone."""
LOOK_AGAIN_S = 0.02
"""Who waits for what others hold asks again after this."""
FRESH_S = 0.5
"""Who has not asked again for so long waits no more."""
MOST_CHANGES = 500
"""Kept of a ceiling's history."""


class Ended(StrEnum):
    """How a question to a model ended, as far as a ration cares."""

    ANSWERED = "answered"
    REFUSED = "refused"
    OTHERWISE = "otherwise"


@dataclass(slots=True)
class Bucket:
    """Fills at a rate, up to a size; who takes more than there is leaves a debt."""

    rate_per_s: float
    size: float
    level: float
    at_s: float

    def wait_s(self, need: float, now_s: float) -> float:
        """How long until this may be taken; more than the size waits for a full bucket."""
        self.level = min(self.size, self.level + (now_s - self.at_s) * self.rate_per_s)
        self.at_s = now_s
        lacking = min(need, self.size) - self.level
        return max(0.0, lacking / self.rate_per_s) if lacking > 1e-9 else 0.0

    def take(self, need: float) -> None:
        self.level -= need


@dataclass(slots=True)
class Lease:
    """What a process has under way, and how many more of its questions wait; `turn_s` is when it last got a permit."""

    held: int
    heard_s: float
    wanting: int = 0
    turn_s: float = -math.inf


@dataclass(slots=True)
class Ration:
    """Of one model. `ceiling` is infinite until the server refuses for the first time."""

    limits: Limits
    requests: Bucket | None = None
    tokens: Bucket | None = None
    leases: dict[str, Lease] = field(default_factory=dict)
    ceiling: float = math.inf
    epoch: int = 0
    """Counts the decreases."""
    paused_until_s: float = -math.inf
    granted: int = 0
    refused: int = 0
    changes: list[tuple[float, float, str]] = field(default_factory=list)
    """When the ceiling changed, to what, and why."""

    @classmethod
    def of(cls, limits: Limits, now_s: float) -> Ration:
        per_s, per_min = limits.requests_per_s, limits.tokens_per_min
        requests = None if per_s is None else Bucket(per_s, max(1.0, per_s / 10), max(1.0, per_s / 10), now_s)
        tokens = None if per_min is None else Bucket(per_min / 60, per_min / 60, per_min / 60, now_s)
        return cls(limits, requests, tokens)

    @property
    def held(self) -> int:
        return sum(lease.held for lease in self.leases.values())

    @property
    def most(self) -> float:
        """Calls that may be under way at once."""
        return min(self.ceiling, math.inf if self.limits.calls is None else self.limits.calls)

    @property
    def is_watched(self) -> bool:
        """Whether there is anything to wait for."""
        return self.limits.is_set or self.ceiling < math.inf

    def renew(self, process: str, held: int, now_s: float) -> None:
        """A process tells how many calls it has under way; who is silent for long holds none."""
        for gone in [name for name, lease in self.leases.items() if lease.heard_s + LEASE_S < now_s]:
            del self.leases[gone]
        lease = self.leases.get(process)
        if lease is None:
            self.leases[process] = Lease(held, now_s)
            if self.ceiling < math.inf and held:  # it asked freely so far: the ceiling was found without its calls
                self._move(self.ceiling + DECREASE * held, now_s, "joined")
        else:
            lease.held, lease.heard_s = held, now_s

    def grant(self, process: str, needs: Sequence[float], now_s: float) -> tuple[int, float]:
        """How many of the questions in a process's queue, of so many tokens each, may be sent now; and how long the
        next one should wait before it asks again."""
        count, wait_s = 0, 0.0
        lease = self.leases[process]
        lease.wanting = len(needs)
        for need in needs:
            wait_s = self._wait_s(need, now_s) or self._turn_wait_s(process, now_s)
            if wait_s > 0.0:
                break
            if self.requests is not None:
                self.requests.take(1)
            if self.tokens is not None:
                self.tokens.take(need)
            lease.held += 1
            lease.wanting -= 1
            lease.turn_s = now_s
            count += 1
        self.granted += count
        return count, wait_s

    def _wait_s(self, need: float, now_s: float) -> float:
        waits = [self.paused_until_s - now_s]
        if self.held + 1 > max(1.0, self.most):
            waits.append(LOOK_AGAIN_S)
        if self.requests is not None:
            waits.append(self.requests.wait_s(1, now_s))
        if self.tokens is not None:
            waits.append(self.tokens.wait_s(need, now_s))
        return max(0.0, *waits)

    def _turn_wait_s(self, process: str, now_s: float) -> float:
        """A process with fewer calls under way, or whose last turn is longer ago, comes first: what is left must
        suffice for it."""
        own = self.leases[process]
        before = sum(
            lease.wanting
            for name, lease in self.leases.items()
            if name != process
            and now_s - lease.heard_s < FRESH_S
            and (lease.held, lease.turn_s, name) < (own.held, own.turn_s, process)
        )
        left = max(1.0, self.most) - self.held
        if self.requests is not None:
            left = min(left, self.requests.level)
        return LOOK_AGAIN_S if before and left - 1 < before else 0.0

    def settle(self, ended: Ended, epoch: int, retry_after_s: float, now_s: float, before: int) -> None:
        """Take in how a question ended that was granted in that epoch; `before` is how many were under way then."""
        if ended is Ended.REFUSED:
            self.refused += 1
            self.paused_until_s = max(self.paused_until_s, now_s + retry_after_s)
            if epoch >= self.epoch:
                self.epoch += 1
                self._move(max(1.0, DECREASE * min(self.ceiling, max(1, before))), now_s, "refused")
        elif ended is Ended.ANSWERED and self.ceiling < math.inf and before >= self.ceiling - 1:
            # One more for every ceiling of answers; an unused ceiling proves nothing, and stays.
            self._move(self.ceiling + 1 / self.ceiling, now_s, "answered")

    def give_back(self, tokens: float) -> None:
        """What an answer took less than was estimated; more is a debt."""
        if self.tokens is not None:
            self.tokens.take(-tokens)

    def _move(self, ceiling: float, now_s: float, why: str) -> None:
        told = math.floor(ceiling) != (math.floor(self.ceiling) if self.ceiling < math.inf else -1)
        self.ceiling = ceiling
        if told and len(self.changes) < MOST_CHANGES:
            self.changes.append((now_s, ceiling, why))


Told = list[Any]
"""A row of a message: plain data."""
Place = tuple[str, str]
"""A ration's run and model."""


class RationHub:
    """Rations by run and model. Knows no clock: every question says what time it is."""

    def __init__(self) -> None:
        self._rations: dict[Place, Ration] = {}

    def exchange(self, process: str, rows: Iterable[Told], now_s: float) -> list[Told]:
        """Take in how a process's questions have ended, and answer how many more it may send.

        A row: run, model, limits, calls under way, tokens of those that wait, what has ended (`Ended`, epoch, seconds
        to wait, how many), and tokens to give back. An answer: how many may be sent, how long the next should wait,
        the epoch, and whether there is anything to wait for.
        """
        answers: list[Told] = []
        for run, model, limits, held, needs, ended, tokens in rows:
            ration = self._rations.get((run, model))
            if ration is None:
                ration = self._rations[run, model] = Ration.of(Limits(*limits), now_s)
            ration.renew(process, held + sum(count for *_, count in ended), now_s)
            for how, epoch, retry_after_s, count in ended:
                for _ in range(count):
                    before = ration.held
                    ration.leases[process].held -= 1
                    ration.settle(Ended(how), epoch, retry_after_s, now_s, before)
            ration.give_back(tokens)
            count, wait_s = ration.grant(process, needs, now_s)
            answers.append([count, wait_s, ration.epoch, ration.is_watched])
        return answers

    def history(self, run: str, now_s: float) -> list[Told]:
        """Of each model of a run: its name, limits, questions granted and refused, ceiling (None: there is none), and
        the ceiling's changes by their age in seconds."""
        told = []
        for (of, model), ration in self._rations.items():
            if of == run:
                limits = [ration.limits.requests_per_s, ration.limits.tokens_per_min, ration.limits.calls]
                ceiling = ration.ceiling if ration.ceiling < math.inf else None
                changes = [[now_s - at_s, to, why] for at_s, to, why in ration.changes]
                told.append([model, limits, ration.granted, ration.refused, ceiling, changes])
        return told

    def forget(self, run: str) -> None:
        """Let go of a run's rations."""
        for place in [place for place in self._rations if place[0] == run]:
            del self._rations[place]


def by_end(ended: Iterable[tuple[Ended, int, float]]) -> list[Told]:
    """Equal ends as one row, for a message."""
    counts: defaultdict[tuple[Ended, int, float], int] = defaultdict(int)
    for each in ended:
        counts[each] += 1
    return [[how.value, epoch, retry_after_s, count] for (how, epoch, retry_after_s), count in counts.items()]


def ration_histories(rows: Iterable[Told], now_s: float) -> list[dict[str, Any]]:
    """What `RationHub.history` told, a dict for each model; `now_s` counts from where changes shall count."""
    return [
        {
            "model": model,
            "limits": dict(zip(("requests_per_s", "tokens_per_min", "calls"), limits, strict=True)),
            "granted": granted,
            "refused": refused,
            "ceiling": ceiling,
            "changes": [[now_s - age_s, to, why] for age_s, to, why in changes],
        }
        for model, limits, granted, refused, ceiling, changes in rows
    ]
