"""Similarity: answer and reference mean the same, as far as an encoder of texts tells."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from quark_bench.errors import UsageError, describe
from quark_bench.scoring.score import ReferenceScorer, Score

Encode = Callable[[list[str]], Sequence[Any]]
"""Gives a vector, of equal length, for each text."""


def similarity(encode: Encode, version: str) -> ReferenceScorer:
    """The cosine of the vectors of answer and reference, 0 where it is negative; with several references the best.

    There is no encoder of our own: what counts shared words or letters is called f1, rouge_l or chrf here.
    An encoder that raises leaves the answer unscored.
    """

    @functools.lru_cache(maxsize=1024)
    def vector(text: str) -> tuple[float, ...]:
        return tuple(map(float, encode([text])[0]))

    def judge(answer: str, reference: str) -> Score | None:
        if not reference.strip():
            return None
        try:
            value = cosine(vector(answer), vector(reference))
        except Exception as error:  # noqa: BLE001 - a user's encoder may raise anything
            return Score(None, f"the encoder raised {describe(error, 200)}")
        return Score(max(0.0, value), f"cosine {value:.3f}")

    return ReferenceScorer("similarity", f"1 encoder={version}", judge)


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine of the angle between two vectors, 0 where one is all zeros. Raises UsageError for unequal lengths."""
    if len(a) != len(b):
        raise UsageError(f"vectors of {len(a)} and {len(b)} numbers; an encoder gives all texts the same length")
    sizes = math.hypot(*a) * math.hypot(*b)
    return min(1.0, sum(map(operator.mul, a, b)) / sizes) if sizes else 0.0
