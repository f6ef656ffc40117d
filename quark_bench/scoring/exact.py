"""Exact: the answer is a reference, up to case, punctuation, articles and whitespace."""

from __future__ import annotations

from quark_bench.scoring.score import ReferenceScorer, Score
from quark_bench.scoring.words import words


def judge_exact(answer: str, reference: str) -> Score | None:
    """1 where both have the same words in the same order, else 0; None for a reference without words."""
    wanted = words(reference)
    if not wanted:
        return None
    same = words(answer) == wanted
    return Score(float(same), "equals the reference" if same else "differs from the reference")


EXACT = ReferenceScorer("exact", "1", judge_exact)
