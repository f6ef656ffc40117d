"""Rule: from measured changes to verdicts, and from those to an exit code. Pure: no clock, no file, no table.

A measure has regressed where its change is beyond the margin, its bound excludes no change at all, and both hold again
in a second, fresh measurement. Where a change that matters could have been overlooked the verdict says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from quark_bench.significance import ALPHA, false_discovery

MARGIN = 0.05
"""A ratio is worse from here on: smaller slowdowns are found by longer measurements, and matter to few."""
DECISIVE = frozenset({"latency", "failures"})
"""Measures that make a gate inconclusive where they are: the others are often noisy for want of data."""

EXIT_PASS, EXIT_REGRESSED, EXIT_INCONCLUSIVE = 0, 1, 3


class Verdict(Enum):
    """What is said of a measure, or of a gate."""

    PASS = "pass"  # noqa: S105
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


class Scale(Enum):
    """How a change is measured."""

    RATIO = "ratio"
    """Candidate over baseline, or the other way round where more is better: above 1 is worse."""
    DIFFERENCE = "difference"
    """Of shares or scores: above 0 is worse."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one measure of the candidate compares with the baseline's, over pairs of trials.

    `worse` is the change, see Scale; `low` is the bound that the rule stands on, one-sided at 99 %, and `high` as far
    above. `p` is one-sided. `mde` is the smallest change that would have been found 4 times in 5: 0.05 is 5 %, or 5
    points of a share. `baseline` and `candidate` are the measure itself in each arm, in its own unit. `prompts` names
    those that turned for the worse, the worst first. What is None has no valid value, and `note` says why; `equal` is a
    measure that differed in no pair of `n` prompts.
    """

    measure: str
    scale: Scale
    worse: float | None
    low: float | None
    high: float | None
    p: float | None
    mde: float | None
    n: int
    pairs: int
    equal: bool = False
    widest: str = ""
    note: str = ""
    baseline: float | None = None
    candidate: float | None = None
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A change, the verdict on it, and why. `again` is the change in the confirming measurement, if there was one."""

    change: Change
    verdict: Verdict
    why: str
    again: Change | None = None

    @property
    def measure(self) -> str:
        return self.change.measure


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a measurement was like beside its changes.

    `noise` is the ratio of the baseline to itself, its second half over its first; None where it is unknown. `margin`
    is the ratio from which on something is worse.
    """

    noise: float | None
    margin: float = MARGIN

    @property
    def steady(self) -> bool:
        """Whether the baseline was as fast in one half as in the other."""
        return self.noise is None or 1 / (1 + self.margin) <= self.noise <= 1 + self.margin


def judge(changes: Sequence[Change], conditions: Conditions) -> list[Judged]:
    """The verdict on every change of one measurement; several are judged at once, false discoveries controlled."""
    testable = [change for change in changes if change.p is not None and not change.equal]
    adjusted = dict(zip(map(id, testable), false_discovery([c.p for c in testable if c.p is not None]), strict=True))
    return [_judged(change, adjusted.get(id(change)), conditions) for change in changes]


def _judged(change: Change, p: float | None, conditions: Conditions) -> Judged:
    if change.equal and change.measure == "failures" and change.candidate == 1:
        return Judged(change, Verdict.INCONCLUSIVE, "every trial failed on both sides")
    if change.equal:
        return Judged(change, Verdict.PASS, "equal in every pair")
    if p is None or change.worse is None:
        return Judged(change, Verdict.NOT_JUDGED, change.note or "no valid interval")
    border = 1 + conditions.margin if change.scale is Scale.RATIO else 0.0
    if change.worse > border and p <= ALPHA:
        return Judged(change, Verdict.REGRESSED, "beyond the margin, and its bound excludes no change")
    excluded = change.high is not None and change.high <= border  # much better is not open, however uneven
    if change.mde is not None and change.mde > 2 * conditions.margin and not excluded:
        return Judged(change, Verdict.INCONCLUSIVE, "a change twice the margin could have been overlooked")
    if change.measure == "latency" and not conditions.steady:
        return Judged(change, Verdict.INCONCLUSIVE, "the same code changed by more than the margin meanwhile")
    why = "no change beyond the margin" if change.scale is Scale.RATIO else "no significant change"
    return Judged(change, Verdict.PASS, why)


def confirm(first: Sequence[Judged], second: Sequence[Judged]) -> list[Judged]:
    """The verdicts after a second measurement: what regressed in the first has to do so in the second, too."""
    again = {each.measure: each for each in second}
    return [_confirmed(each, again.get(each.measure)) for each in first]


def _confirmed(first: Judged, second: Judged | None) -> Judged:
    if second is None or first.verdict is not Verdict.REGRESSED:
        return first
    if second.verdict is Verdict.REGRESSED:
        return replace(first, why="regressed in both of two measurements", again=second.change)
    if second.verdict is Verdict.PASS:
        return replace(first, verdict=Verdict.PASS, why="a second measurement did not confirm it", again=second.change)
    return replace(
        first, verdict=Verdict.INCONCLUSIVE, why="a second measurement could not confirm it", again=second.change
    )


def alarms(judged: Iterable[Judged]) -> tuple[str, ...]:
    """The measures that regressed."""
    return tuple(each.measure for each in judged if each.verdict is Verdict.REGRESSED)


def overall(judged: Sequence[Judged]) -> Verdict:
    """Regressed if any measure did; else inconclusive if latency or failures are; else pass."""
    if alarms(judged):
        return Verdict.REGRESSED
    decisive = [each.verdict for each in judged if each.measure in DECISIVE]
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in decisive else Verdict.PASS


def exit_code(verdict: Verdict) -> int:
    """0 pass, 1 regressed, 3 inconclusive."""
    return {Verdict.REGRESSED: EXIT_REGRESSED, Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE}.get(verdict, EXIT_PASS)
