"""F1: how many words an answer and a reference share."""

from __future__ import annotations

from collections import Counter

from quark_bench.scoring.score import ReferenceScorer, Score
from quark_bench.scoring.words import words


def judge_f1(answer: str, reference: str) -> Score | None:
    """Harmonic mean of precision and recall over words, counted with their repetitions.

    SQuAD's `f1_score` (evaluate-v1.1.py; Rajpurkar et al. 2016, section 6.1, https://arxiv.org/abs/1606.05250).
    None for a reference without words.
    """
    wanted, given = Counter(words(reference)), Counter(words(answer))
    if not wanted:
        return None
    shared = (wanted & given).total()
    if not shared:
        return Score(0.0, "shares no word with the reference")
    precision, recall = shared / given.total(), shared / wanted.total()
    value = 2 * precision * recall / (precision + recall)
    return Score(value, f"precision {precision:.2f}, recall {recall:.2f} of {wanted.total()} words")


F1 = ReferenceScorer("f1", "1", judge_f1)
