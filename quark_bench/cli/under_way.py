"""Under way: what the agents of the arm that runs now are at, as far as what has come back tells.

Nobody asks the workers: a question to them would disturb what is being measured. So calls under way are a mean over the
last seconds, and a call is first counted when the chunk of its prompt has come back.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from itertools import compress
from operator import sub
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.plain import one_line, shortened
from quark_bench.record import Batch, SpanStatus
from quark_bench.redact import redact
from quark_bench.units import COUNT, SECONDS, significant

RECENT_S = 5.0
"""Seconds that calls under way and their mean time are over; more where chunks come back more rarely."""
SLICE_S = 0.25
"""Chunks that came back within this time are put together: memory is bounded however small they are."""
MOST_AGENTS = 12
"""Agents that are shown, those with most calls under way: the view stays within a terminal of 24 rows."""
LONGEST_NAME = 32
FOOTNOTE = "Under way and mean time are over what came back in the last seconds."


class AgentCalls(NamedTuple):
    """An agent's calls in an arm: attempts that ended so far, of which `failed` failed.

    `under_way` and `mean_s` are means over the last seconds; None where no time, or no call, is known of.
    """

    agent: str
    done: int
    failed: int
    under_way: float | None
    mean_s: float | None


class _Slice:
    """What came back within a short time, by agent."""

    __slots__ = ("busy_s", "calls", "took_s")

    def __init__(self) -> None:
        self.took_s = 0.0
        self.calls: Counter[str] = Counter()
        self.busy_s: defaultdict[str, float] = defaultdict(float)


class UnderWay:
    """The calls of one arm. Takes 0.09 µs a call (seen), a third of what it takes to unpickle it."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._recent: deque[_Slice] = deque([_Slice()])

    def take(self, batch: Batch, took_s: float) -> None:
        """Count the calls of a chunk that came back `took_s` seconds after the one before it."""
        if self._recent[-1].took_s >= SLICE_S:
            self._recent.append(_Slice())
        latest, spans = self._recent[-1], batch.spans
        latest.took_s += took_s
        called = Counter(compress(spans["agent"], spans["attempt"]))  # attempt 0: it was not called
        self._done.update(called)
        latest.calls.update(called)
        for agent, busy_s in zip(spans["agent"], map(sub, spans["end_s"], spans["start_s"]), strict=True):
            latest.busy_s[agent] += busy_s
        if SpanStatus.FAILED in spans["status"]:
            failed = map(SpanStatus.FAILED.value.__eq__, spans["status"])
            self._failed.update(compress(spans["agent"], failed))
        while self._took_s() - self._recent[0].took_s >= RECENT_S:
            self._recent.popleft()

    def _took_s(self) -> float:
        return sum(each.took_s for each in self._recent)

    def agents(self) -> list[AgentCalls]:
        """What is known of each agent, in the order in which they were first seen.

        Calls under way are busy seconds that came back a second (Little's law, 1961).
        """
        took_s, found = self._took_s(), []
        for agent, done in self._done.items():
            calls = sum(each.calls[agent] for each in self._recent)
            busy_s = sum(each.busy_s[agent] for each in self._recent)
            under_way, mean_s = (busy_s / took_s if took_s else None), (busy_s / calls if calls else None)
            found.append(AgentCalls(agent, done, self._failed[agent], under_way, mean_s))
        return found


def busiest(agents: Sequence[AgentCalls], most: int = MOST_AGENTS) -> list[AgentCalls]:
    """Those with most calls under way, in their order."""
    ranked = sorted(agents, key=lambda each: -(each.under_way or 0.0))
    kept = {each.agent for each in ranked[:most]}
    return [each for each in agents if each.agent in kept]


def under_way_table(arm: str, agents: Sequence[AgentCalls]) -> Group:
    """A line for each agent, in at most 80 columns, readable without colour."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(f"agents in {_told(arm)}"), no_wrap=True)
    for header in ("under way", "done", "failed", "mean time"):
        table.add_column(header, justify="right", no_wrap=True)
    shown = busiest(agents)
    for each in shown:
        under_way = "n/a" if each.under_way is None else significant(each.under_way, 2)
        counts = (COUNT.format(each.done), COUNT.format(each.failed))
        table.add_row(Text(_told(each.agent)), under_way, *counts, SECONDS.format(each.mean_s))
    if len(shown) < len(agents):
        table.add_row(Text(f"and {len(agents) - len(shown)} less busy"))
    return Group(table, Text(FOOTNOTE, style="dim"))


def _told(name: str) -> str:
    """Names are a user's: they neither steer the terminal nor show a password."""
    return shortened(one_line(redact(name)), LONGEST_NAME)
