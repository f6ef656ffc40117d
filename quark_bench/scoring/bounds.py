"""Bounds: the answer took less than so long, or cost less than so much."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from quark_bench.dataset import Prompt
from quark_bench.scoring.score import NO_ANSWER, Answered, Score
from quark_bench.units import DOLLARS, SECONDS, Unit

OPERATORS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le}
BOUNDED: dict[str, tuple[str, Unit]] = {"latency": ("latency_s", SECONDS), "cost": ("cost_usd", DOLLARS)}
"""By scorer, what of an answered trial it looks at."""


@dataclass(frozen=True, slots=True)
class Bound:
    """1 where the trial's latency (seconds) or cost (dollars) is within the limit; a missing answer scores 0."""

    name: str
    op: str
    limit: float

    @property
    def version(self) -> str:
        return f"1 {self.op}{self.limit:g}"

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        if given.answer is None:
            return NO_ANSWER
        field, unit = BOUNDED[self.name]
        took = getattr(given, field)
        within = OPERATORS[self.op](took, self.limit)
        told = f"{unit.format(took)} is {'' if within else 'not '}{self.op} {unit.format(self.limit)}"
        return Score(float(within), told)
