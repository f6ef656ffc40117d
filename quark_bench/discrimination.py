"""Discrimination: how well doubts tell wrong answers from right ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from quark_bench.blame import WRONG_BELOW, Mask
from quark_bench.pairing import codes
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import SCORE_PREFIX, Trials, numbers

ONE_KIND = "all answers are right, or all are wrong"
DIGITS = 6
"""Of a doubt: the root of a rounded square has no more, and equal doubts are to stay equal."""
EXTREME = "its error cannot be told here"


@dataclass(frozen=True, slots=True)
class Discrimination:
    """How an agent's doubt stands to wrong answers in an arm: `auroc` is the chance that a wrong answer was doubted
    more than a right one, a half where doubt tells nothing; `brier` the mean of (doubt - wrong)^2, 0 at best."""

    arm: str
    agent: str
    by: str
    auroc: Interval
    brier: float | None

    def as_data(self) -> dict[str, Any]:
        """JSON-able."""
        auroc = {"value": self.auroc.value, "low": self.auroc.low, "high": self.auroc.high, "note": self.auroc.note}
        return {"arm": self.arm, "agent": self.agent, "by": self.by, "auroc": auroc, "brier": self.brier}


def discriminations(
    trials: Trials, arms: Iterable[str], by: str, calibrated: Iterable[tuple[str, str]]
) -> Iterator[Discrimination]:
    """For each arm and each pair of an agent and the scorer of its calibration, which judges by the score `by`."""
    pairs = list(calibrated)
    for arm in arms if pairs else ():
        names = (by, *(scorer for _, scorer in pairs))
        records = trials.records(["prompt_id", *(SCORE_PREFIX + name for name in names)], arm)
        wrong = numbers(records, SCORE_PREFIX + by) < WRONG_BELOW
        for agent, scorer in pairs:
            value = numbers(records, SCORE_PREFIX + scorer)
            known = np.isfinite(value)
            gap = np.sqrt(1 - value[known])  # the score is 1 - (doubt - wrong)^2
            doubt = np.where(wrong[known], 1 - gap, gap).round(DIGITS)
            brier = float((gap**2).mean()) if known.any() else None
            yield Discrimination(arm, agent, by, auroc(doubt, wrong[known], codes(records["prompt_id"])[known]), brier)


def auroc(doubt: Floats, wrong: Mask, prompts: Groups, *, level: float = 0.95) -> Interval:
    """The area under the ROC curve, ties counting half, with a logit interval; trials of one prompt are dependent.

    Sources: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837, by ranks; its variance for clusters: Obuchowski
    1997, Biometrics 53, 567; the logit: Pepe 2003, section 5.2.4.
    """
    many, few = int(wrong.sum()), int((~wrong).sum())
    n = len(doubt)
    if not many or not few:
        return Interval(None, None, None, n, ONE_KIND)
    ranks = rankdata(doubt)
    above = (ranks[wrong] - rankdata(doubt[wrong])) / few
    below = 1 - (ranks[~wrong] - rankdata(doubt[~wrong])) / many
    area = float(above.mean())
    se = math.sqrt(max(0.0, _variance(above - area, below - area, prompts[wrong], prompts[~wrong])))
    if not 0 < area < 1 or not se or not math.isfinite(se):
        return Interval(area, None, None, n, EXTREME)
    half = float(norm.ppf((1 + level) / 2)) * se / (area * (1 - area))
    low, high = (float(expit(logit(area) + side * half)) for side in (-1, 1))
    return Interval(area, low, high, n)


def _variance(above: Floats, below: Floats, of_wrong: Groups, of_right: Groups) -> float:
    """Of the area, from how far each placement is from it, and the prompt that each belongs to."""
    size = int(max(of_wrong.max(), of_right.max())) + 1
    sums = (np.bincount(of_wrong, above, size), np.bincount(of_right, below, size))
    clusters = (len(np.unique(of_wrong)), len(np.unique(of_right)))
    if min(clusters) < 2:
        return math.nan
    own = [c / (c - 1) * float(s @ s) for c, s in zip(clusters, sums, strict=True)]
    every = len(np.unique(np.concatenate([of_wrong, of_right])))
    shared = every / (every - 1) * float(sums[0] @ sums[1])
    many, few = len(above), len(below)
    return own[0] / many**2 + own[1] / few**2 + 2 * shared / (many * few)
