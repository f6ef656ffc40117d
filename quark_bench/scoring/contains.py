"""Contains: a reference occurs in the answer, as whole words."""

from __future__ import annotations

from quark_bench.scoring.score import ReferenceScorer, Score
from quark_bench.scoring.words import words


def judge_contains(answer: str, reference: str) -> Score | None:
    """1 where the reference's words stand in the answer one after another; None for a reference without words."""
    wanted = words(reference)
    if not wanted:
        return None
    # Blanks around both keep "no" from being found in "know".
    inside = f" {' '.join(wanted)} " in f" {' '.join(words(answer))} "
    return Score(float(inside), "holds the reference" if inside else "does not hold the reference")


CONTAINS = ReferenceScorer("contains", "1", judge_contains)
