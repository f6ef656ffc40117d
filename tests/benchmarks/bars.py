"""What a benchmark came to, beside its bar; and all of them as a table for people, in a terminal or in the README."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter

from quark_bench.units import BYTES, PER_SECOND, SECONDS, SHARE, Unit, significant

UNITS = {
    "prompts/s": Unit("prompts/s", lambda value: f"{significant(value)} prompts/s"),
    "req/s": PER_SECOND,
    "s": SECONDS,
    "bytes": BYTES,
    "share": SHARE,
}
BUSY_RATE = 0.5
BUSY_EXCESS = 3
"""A busy machine may halve a rate, and treble what something takes too long, before a benchmark fails; the table still
says missed."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What the ratio, ours over what is beside it, should come to."""

    limit: float
    at_least: bool

    def __str__(self):
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def met(self, ratio):
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def bearable(self, ratio):
        """Whether no more than a busy machine may be what keeps the ratio from the bar."""
        return self.met(ratio / BUSY_RATE if self.at_least else 1 + (ratio - 1) / BUSY_EXCESS)


def at_least(limit):
    return Bar(limit, at_least=True)


def at_most(limit):
    return Bar(limit, at_least=False)


@dataclass(frozen=True, slots=True)
class Beside:
    """What ours is measured beside: something else that is measured too, or a number that is known."""

    measure: Callable[[], float] | float
    bar: Bar | None = None

    def measured(self):
        return self.measure() if callable(self.measure) else self.measure


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `ratio` is the median of the ratios that were taken pair by pair."""

    case: str
    unit: str
    ours: float
    beside: str = ""
    theirs: float | None = None
    ratio: float | None = None
    bar: Bar | None = None
    ratios: list[float] = field(default_factory=list)

    @classmethod
    def of_pairs(cls, case, unit, ours, beside, theirs, bar):
        """Of what was measured in turn: the first of ours belongs to the first of theirs."""
        ratios = [float(a / b) for a, b in zip(ours, theirs, strict=True)]
        median = statistics.median
        rounded = [round(each, 3) for each in ratios]
        return cls(case, unit, float(median(ours)), beside, float(median(theirs)), median(ratios), bar, rounded)

    @classmethod
    def of_values(cls, case, unit, ours, where):
        """Of what stands beside nothing."""
        return cls(case, unit, float(statistics.median(ours)), where)

    @classmethod
    def of_data(cls, data):
        """The row that `as_data` wrote."""
        bar = data["bar"]
        return cls(**{name: data[name] for name in cls.__slots__} | {"bar": bar and Bar(**bar)})

    def as_data(self):
        return {**asdict(self), "verdict": self.verdict}

    @property
    def verdict(self):
        if self.bar is None:
            return ""
        return "met" if self.bar.met(self.ratio) else "missed"

    @property
    def bearable(self):
        return self.bar is None or self.bar.bearable(self.ratio)

    def in_words(self):
        """Columns: what was done, ours, what was beside it, the ratio, its bar and what came of it."""
        beside = self.beside if self.theirs is None else f"{UNITS[self.unit].format(self.theirs)}, {self.beside}"
        ratio = "" if self.ratio is None else significant(self.ratio)
        return [self.case, UNITS[self.unit].format(self.ours), beside, ratio, str(self.bar or ""), self.verdict]


def text_table(rows):
    """For a terminal."""
    lines = [["", "quark-bench", "beside it", "ratio", "bar", ""], *(row.in_words() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def markdown_table(rows):
    """For the README: a line a case, with all that was beside it."""
    lines = ["| | quark-bench | beside it (bar) |", "|---|--:|---|"]
    for case, group in groupby(rows, attrgetter("case")):
        of_case = list(group)
        ours = UNITS[of_case[0].unit].format(statistics.median(row.ours for row in of_case))
        lines.append(f"| {case} | {ours} | {'; '.join(map(_ratio_in_words, of_case))} |")
    return "\n".join(lines)


def _ratio_in_words(row):
    if row.ratio is None:
        return f"{UNITS[row.unit].format(row.ours)} {row.beside}"
    missed = ", **missed**" if row.verdict == "missed" else ""
    bar = f" ({row.bar}{missed})" if row.bar else ""
    return f"{significant(row.ratio)} x {row.beside}{bar}"
