"""Needs: which agents wait for which, as far as a log shows it: one that never began before another had ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from quark_bench.record import Span

MOST_AGENTS = 100
"""More names than that are no pipeline: each call has a name of its own."""


class FollowedBy:
    """Sees the spans of each trial, and tells the DAG that none of them contradicts."""

    def __init__(self) -> None:
        self._began: Counter[str] = Counter()
        self._together: set[tuple[str, str]] = set()
        self._not_after: set[tuple[str, str]] = set()

    def see(self, spans: Sequence[Span]) -> None:
        """The spans of one trial, in the order in which they began."""
        for place, span in enumerate(spans):
            self._began[span.agent] = max(self._began[span.agent], place)
        if len(self._began) > MOST_AGENTS:
            return
        for before in spans:
            for after in spans:
                if before.agent != after.agent:
                    self._together.add((before.agent, after.agent))
                    if before.end_s > after.start_s:
                        self._not_after.add((before.agent, after.agent))

    def layout(self) -> list[tuple[str, list[str]]]:
        """Every agent with those that it directly follows, these first; of too many agents none follows any."""
        names = sorted(self._began, key=lambda name: self._began[name])
        if len(names) > MOST_AGENTS:
            return [(name, []) for name in names]
        known = self._together - self._not_after
        earlier: dict[str, set[str]] = {}
        direct: defaultdict[str, list[str]] = defaultdict(list)
        for place, name in enumerate(names):
            before = [other for other in names[:place] if (other, name) in known]
            earlier[name] = {each for other in before for each in (other, *earlier[other])}
            further = {each for other in before for each in earlier[other]}
            direct[name] = [other for other in before if other not in further]
        return [(name, direct[name]) for name in names]
