"""Breakers: the circuit breakers of a run, kept in one place and seen from every process.

The hub holds the truth. Inline it lives in the process that calls the agents; on a cluster it lives beside the
scheduler (`shared.py`), and each process goes by a view of it that is brought up to date several times a second, so
that a call waits for the hub only where the hub alone can say who the probe is. A process that cannot reach the hub
goes on with its view alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from quark_bench.execute.decide import BreakerState, Phase, Verdict, admit, settle
from quark_bench.policy import Breaker
from quark_bench.record import REFUSAL

Key = tuple[str, bool, str]
"""A breaker's run and arm (as idempotency keys know them), whether that is its warm-up, and the breaker's name."""

NEWS_S = 0.05
"""Failures, and what becomes of a breaker that is not closed, are exchanged this often."""
QUIET_S = 0.25
"""All else is."""
FRESH_S = 1.0
"""A view older than this is brought up to date before anything is decided by it."""
UNUSED_S = 2.0
"""After this time without a call there is nothing to be up to date for."""
ALONE_S = 5.0
"""A hub that could not be reached is left alone for so long."""
MOST_TRANSITIONS = 200
"""Kept of a breaker; one that flaps for hours is told by its counts."""

Told = list[Any]
"""A row of a message: plain data."""
Exchange = Callable[[list[Told]], Awaitable[list[Told]]]
"""Brings a process's rows to the hub (`Hub.exchange`) and its answers back. Raises what kept it from that."""


class Guard(NamedTuple):
    """A breaker as an agent uses it: its name, its settings, and how long a probe by this agent may take."""

    name: str
    breaker: Breaker
    lease_s: float


class Admission(NamedTuple):
    """Whether a call may be made. `probe` numbers it if it is one; `refused` says why it may not."""

    probe: int = 0
    refused: str | None = None


PASSED = Admission()

CLOSED = Phase.CLOSED
"""Looked up once for all calls: an Enum's attribute takes longer than the question."""


@dataclass(slots=True)
class Entry:
    """A breaker and what has befallen it; `transitions` are times on the hub's clock and the phases entered."""

    state: BreakerState = field(default_factory=BreakerState)
    opened: int = 0
    refused: int = 0
    transitions: list[tuple[float, str]] = field(default_factory=list)

    def enter(self, state: BreakerState, now_s: float) -> None:
        if state.phase is not self.state.phase:
            self.opened += state.phase is Phase.OPEN
            if len(self.transitions) < MOST_TRANSITIONS:
                self.transitions.append((now_s, state.phase.value))
        self.state = state


class Hub:
    """Breakers by key. Knows no clock: every question says what time it is."""

    def __init__(self) -> None:
        self._entries: defaultdict[Key, Entry] = defaultdict(Entry)

    def state(self, key: Key) -> BreakerState:
        return self._entries[key].state

    def put(self, key: Key, state: BreakerState) -> None:
        """Take over a state that another hub holds."""
        self._entries[key].state = state

    def admit(self, key: Key, lease_s: float, now_s: float) -> Verdict:
        entry = self._entries[key]
        state, verdict = admit(entry.state, now_s, lease_s)
        entry.enter(state, now_s)
        entry.refused += verdict is Verdict.REFUSE
        return verdict

    def settle(self, key: Key, breaker: Breaker, succeeded: bool, probe: int, now_s: float) -> None:
        """Take in how a call has ended."""
        entry = self._entries[key]
        entry.enter(settle(entry.state, breaker, succeeded, probe, now_s), now_s)

    def exchange(self, rows: list[Told], now_s: float) -> list[Told]:
        """Take in what a process tells of some breakers, and tell it how they stand."""
        answers: list[Told] = []
        for (place, warm, name), failures, reset_s, refused, ended, lease_s in rows:
            key = (place, warm, name)
            for succeeded, count, probe in ended:
                for _ in range(count):
                    self.settle(key, Breaker(failures, reset_s), succeeded, probe, now_s)
            self._entries[key].refused += refused
            verdict = self.admit(key, lease_s, now_s).value if lease_s is not None else None
            state = self.state(key)
            answers.append([state.phase.value, state.failures, state.until_s - now_s, state.probe, verdict])
        return answers

    def history(self, run_key: str, now_s: float) -> list[Told]:
        """All breakers of a run outside its warm-ups: place, name, opened, probes, refused, phase, transitions by
        their age in seconds."""
        return [
            [
                place,
                name,
                entry.opened,
                entry.state.probe,
                entry.refused,
                entry.state.phase.value,
                [[now_s - at_s, phase] for at_s, phase in entry.transitions],
            ]
            for (place, warm, name), entry in list(self._entries.items())
            if place.startswith(f"{run_key}-") and not warm
        ]

    def forget(self, run_key: str) -> None:
        """Let go of a run's breakers: its next session begins with all of them closed."""
        for key in [key for key in self._entries if key[0].startswith(f"{run_key}-")]:
            del self._entries[key]


def histories(
    run_key: str, breakers: Mapping[str, Iterable[str]], rows: Iterable[Sequence[Any]], now_s: float
) -> list[dict[str, Any]]:
    """What `Hub.history` told, a dict for each breaker of each arm (`breakers` names them); `now_s` counts from where
    transitions shall count."""
    found = {(place, name): row for place, name, *row in rows}
    never = (0, 0, 0, Phase.CLOSED.value, ())
    told = []
    for arm, name in ((arm, name) for arm, names in breakers.items() for name in names):
        opened, probes, refused, phase, transitions = found.get((f"{run_key}-{arm}", name), never)
        counts = {"opened": opened, "probes": probes, "refused": refused, "state": phase}
        changes = [[now_s - age_s, entered] for age_s, entered in transitions]
        told.append({"arm": arm, "breaker": name, **counts, "transitions": changes})
    return told


@dataclass(slots=True)
class _News:
    """What the hub has not been told of a breaker yet: how calls ended, runs of equal ends as one, and refusals."""

    breaker: Breaker
    used_s: float = 0.0
    ended: list[Told] = field(default_factory=list)
    refused: int = 0

    def add(self, succeeded: bool, probe: int) -> None:
        if self.ended and not probe and self.ended[-1][0] == succeeded and not self.ended[-1][2]:
            self.ended[-1][1] += 1
        else:
            self.ended.append([succeeded, 1, probe])

    def endings(self) -> Iterator[tuple[bool, int]]:
        """Success and number of the probe, call by call."""
        return ((succeeded, probe) for succeeded, count, probe in self.ended for _ in range(count))

    def is_over(self, now_s: float) -> bool:
        return now_s - self.used_s >= UNUSED_S and not self.ended and not self.refused

    def row(self, key: Key, lease_s: float | None) -> Told:
        """All of it, which is news no longer."""
        row = [list(key), self.breaker.failures, self.breaker.reset_s, self.refused, self.ended, lease_s]
        self.ended, self.refused = [], 0
        return row


class Breakers:
    """The breakers as one process sees them; lives on its event loop. Without a link, its own hub is the truth."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, time_of_day: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._time_of_day = time_of_day
        self._hub = Hub()
        self._link: Exchange | None = None
        self._news: dict[Key, _News] = {}
        self._talk = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._fresh_s = self._alone_until_s = float("-inf")
        self._updates: asyncio.Task[None] | None = None

    def link(self, exchange: Exchange | None) -> None:
        """From now on share the hub that `exchange` reaches; None: be alone again."""
        self._link = exchange
        self._fresh_s = self._alone_until_s = float("-inf")

    def forget(self, run_key: str) -> None:
        self._hub.forget(run_key)

    def history(self, run_key: str) -> list[Told]:
        """See `Hub.history`; of this process's own hub."""
        return self._hub.history(run_key, self._clock())

    def is_closed(self, key: Key, guard: Guard) -> bool:
        """Whether this process knows by itself that `admit` would let a call pass, which then need not be awaited."""
        if self._hub.state(key).phase is not CLOSED:
            return False
        return self._link is None or not self._is_stale(self._use(key, guard).used_s)

    async def admit(self, key: Key, guard: Guard) -> Admission:
        """Whether a call may be made now. Waits for the hub only where this process cannot know."""
        verdict = None
        if self._link is not None:
            self._use(key, guard)
            if self._is_unsure(key):
                async with self._talk:
                    if self._is_unsure(key):  # else another call has asked in the meantime
                        verdict = await self._ask(key, guard)
        if verdict is None:
            verdict = self._hub.admit(key, guard.lease_s, self._clock())
            if verdict is Verdict.REFUSE and self._link is not None:
                self._use(key, guard).refused += 1
        if verdict is Verdict.PASS:
            return PASSED
        if verdict is Verdict.PROBE:
            return Admission(probe=self._hub.state(key).probe)
        return Admission(refused=self._refusal(key, guard))

    def settle(self, key: Key, guard: Guard, succeeded: bool, probe: int) -> None:
        """Take in how a call that was admitted has ended. A success costs nothing while nothing fails."""
        state = self._hub.state(key)
        if succeeded and not probe and state.phase is CLOSED and not state.failures:
            return
        self._hub.settle(key, guard.breaker, succeeded, probe, self._clock())
        if self._link is not None:
            self._use(key, guard).add(succeeded, probe)
            self._stirred.set()

    def _refusal(self, key: Key, guard: Guard) -> str:
        """Names a time of day, not a number of seconds: equal errors are counted together."""
        state = self._hub.state(key)
        again = datetime.fromtimestamp(round(self._time_of_day() + state.until_s - self._clock()), UTC)
        what = "waits for its probe" if state.phase is Phase.HALF_OPEN else "is open"
        return f"{REFUSAL}: breaker {guard.name!r} {what}; it probes again at {again:%H:%M:%S} UTC"

    # -- talking to the hub

    async def flush(self) -> None:
        """Tell the hub what it has not been told yet."""
        if self._link is not None:
            async with self._talk:
                await self._exchange()

    def _use(self, key: Key, guard: Guard) -> _News:
        news = self._news.get(key)
        if news is None:
            news = self._news[key] = _News(guard.breaker)
        news.used_s = self._clock()
        if self._updates is None or self._updates.done():
            self._updates = asyncio.create_task(self._keep_up())
        return news

    def _is_unsure(self, key: Key) -> bool:
        now_s = self._clock()
        if now_s < self._alone_until_s:
            return False
        state = self._hub.state(key)
        return self._is_stale(now_s) or (state.phase is not CLOSED and now_s >= state.until_s)

    def _is_stale(self, now_s: float) -> bool:
        """Whether the hub, if it can be reached, has been silent for too long to go by this process's view."""
        return now_s - self._fresh_s > FRESH_S and now_s >= self._alone_until_s

    async def _keep_up(self) -> None:
        """Exchange views with the hub while calls are made, sooner where there is something to say or to hear."""
        while self._link is not None:
            if all(news.is_over(self._clock()) for news in self._news.values()):
                self._news.clear()
                return
            self._stirred.clear()
            if self._clock() >= self._alone_until_s:
                await self.flush()
            await asyncio.sleep(NEWS_S)
            if not any(self._hub.state(key).failures for key in self._news):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), QUIET_S - NEWS_S)

    async def _ask(self, key: Key, guard: Guard) -> Verdict | None:
        """The hub's verdict; None where it cannot be reached."""
        answer = (await self._exchange(key, guard.lease_s)).get(key)
        return Verdict(answer) if answer else None

    async def _exchange(self, asking: Key | None = None, lease_s: float | None = None) -> dict[Key, str | None]:
        """Tell the hub the news and take over how its breakers stand; ask it to admit a call of breaker `asking`.

        Returns its verdicts, nothing where it cannot be reached: what it was to be told is lost then, but stands in
        this process's own view. Called by whoever holds `_talk`: an older answer must not overwrite a newer one.
        """
        if self._link is None:
            return {}
        news = dict(self._news)
        rows = [each.row(key, lease_s if key == asking else None) for key, each in news.items()]
        try:
            answers = await self._link(rows)
        except Exception:  # noqa: BLE001 - whatever keeps us from the hub, the calls go on
            self._alone_until_s = self._clock() + ALONE_S
            return {}
        now_s = self._fresh_s = self._clock()
        verdicts = {}
        for (key, each), (phase, failures, remaining_s, probe, verdict) in zip(news.items(), answers, strict=True):
            self._hub.put(key, BreakerState(Phase(phase), failures, now_s + remaining_s, probe))
            for succeeded, late_probe in each.endings():  # in the meantime
                self._hub.settle(key, each.breaker, succeeded, late_probe, now_s)
            verdicts[key] = verdict
        return verdicts
