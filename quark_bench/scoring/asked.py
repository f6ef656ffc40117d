"""Asked: scorers as a person asked for them, each with name, weight and threshold of its own; and all as one score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quark_bench.score_measures import OVERALL
from quark_bench.scoring.agents import Calibration
from quark_bench.scoring.score import Judging, Score, Scorer
from quark_bench.trials import agent_of


@dataclass(frozen=True, slots=True)
class AskedScorer:
    """A scorer under the name that its scores are kept by. With a `threshold` its scores are passes: 1 from there on,
    else 0. `weight` is its part in the overall score; None where none was given."""

    scorer: Scorer | Judging | Calibration
    name: str
    weight: float | None = None
    threshold: float | None = None

    @property
    def version(self) -> str:
        """Changes whenever scores of before no longer compare."""
        passes = "" if self.threshold is None else f" threshold={self.threshold:g}"
        return f"{self.scorer.version}{passes}"

    def passed(self, score: Score) -> Score:
        """The score, or whether it passes."""
        if self.threshold is None or score.value is None:
            return score
        passes = score.value >= self.threshold
        told = f"{score.value:.3f} {'passes' if passes else 'is below'} {self.threshold:g}: {score.explanation}"
        return Score(float(passes), told)


@dataclass(frozen=True, slots=True)
class Overall:
    """The mean of a record's scores by these weights.

    A scorer that does not apply to the prompt is left out; where one could not judge, there is no overall score.
    """

    weights: Mapping[str, float]
    versions: Sequence[str]
    name: str = OVERALL

    @property
    def version(self) -> str:
        parts = zip(self.weights.items(), self.versions, strict=True)
        return "1 " + "; ".join(f"{name} x {weight:g} ({version})" for (name, weight), version in parts)

    def of(self, scores: Mapping[str, Score]) -> Score | None:
        """The overall score of one record, from its scores by name; None where none of them counts."""
        counted = {name: score for name, score in scores.items() if self.weights.get(name)}
        if not counted:
            return None
        if unscored := [name for name, score in counted.items() if score.value is None]:
            return Score(None, f"{', '.join(unscored)} unscored")
        total = sum(self.weights[name] for name in counted)
        value = sum(self.weights[name] * (score.value or 0.0) for name, score in counted.items()) / total
        told = ", ".join(f"{name} {score.value:.3g} x {self.weights[name]:g}" for name, score in counted.items())
        return Score(min(1.0, value), told)


def with_overall(asked: Iterable[AskedScorer]) -> list[AskedScorer | Overall]:
    """The scorers, followed by the overall score where any has a weight; those of the answer without one count 1 then.
    Calibrations come last, as they may judge by it."""
    scorers = list(asked)
    last = [each for each in scorers if isinstance(each.scorer, Calibration)]
    scorers = [each for each in scorers if each not in last]
    if all(each.weight is None for each in scorers):
        return [*scorers, *last]
    counted = [each for each in scorers if each.weight is not None or agent_of(each.name) is None]
    weights = {each.name: 1.0 if each.weight is None else each.weight for each in counted}
    return [*scorers, Overall(weights, [each.version for each in counted]), *last]
