"""Score and Scorer: one judgement of one record, and what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of one answer: `value` from 0 (wrong) to 1 (right), and why. Raises UsageError outside that."""

    value: float
    explanation: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise UsageError(f"a score of {self.value} is not between 0 and 1; scale it in the scorer")


class Scorer(Protocol):
    """A way to judge answers. A change of `version` says that its scores no longer compare with older ones."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    def score(self, answer: str | None, prompt: Prompt) -> Score | None:
        """Judge an answer, which is None where the trial gave none; None where the prompt cannot be judged so."""
        ...


@dataclass(frozen=True, slots=True)
class ReferenceScorer:
    """Judges an answer by the reference that it meets best.

    `judge(answer, reference)` returns None for a reference it cannot judge by; a prompt without any other is
    not scored. A missing answer scores 0.
    """

    name: str
    version: int
    judge: Callable[[str, str], Score | None]

    def score(self, answer: str | None, prompt: Prompt) -> Score | None:
        judged = (self.judge(answer or "", reference) for reference in prompt.reference)
        scores = [score for score in judged if score is not None]
        if scores and answer is None:
            return Score(0.0, "no answer")
        return max(scores, key=lambda score: score.value, default=None)
