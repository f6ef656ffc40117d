"""Score and Scorer: one judgement of one record, and what makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of one answer: `value` from 0 (wrong) to 1 (right), and why. Raises UsageError outside that.

    Where `value` is None the answer could not be judged, which is not the same as wrong: `explanation` says why.
    """

    value: float | None
    explanation: str

    def __post_init__(self) -> None:
        if self.value is not None and not 0 <= self.value <= 1:
            raise UsageError(f"a score of {self.value} is not between 0 and 1; scale it in the scorer")


class Answered(NamedTuple):
    """What is scored of a record: which trial, its answer (None where there is none), and what it took."""

    arm: str
    repeat: int
    prompt_id: str
    answer: str | None
    latency_s: float = 0.0
    cost_usd: float = 0.0
    outputs: Mapping[str, str | None] = MappingProxyType({})
    """By agent, for those that are scored and were called: what was kept of the output, None where the agent failed."""


NO_ANSWER = Score(0.0, "no answer")
PASS = "_pass"  # noqa: S105 - no password
"""Ends the name of a scorer with a threshold, unless it was given another one."""


class Scorer(Protocol):
    """A way to judge answers by computing. Another `version` says that its scores do not compare with older ones: it
    counts changes of the rule, and names the options that a score depends on."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        """Judge an answer; None where the prompt is not one to be judged so. A missing answer scores 0."""
        ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What judges that are paid and may err made of one answer. `order_bias` is half the difference that the order of
    the grades made; None where it was not asked both ways."""

    score: Score
    cost_usd: float = 0.0
    order_bias: float | None = None


@runtime_checkable
class Judging(Protocol):
    """A way to judge answers by asking somebody: answers are waited for, many at once."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def judge(self, given: Answered, prompt: Prompt) -> Opinion:
        """Judge an answer. A missing one scores 0, unasked."""
        ...


@dataclass(frozen=True, slots=True)
class ReferenceScorer:
    """Judges an answer by the reference that it meets best.

    `rule(answer, reference)` returns None for a reference it cannot judge by; a prompt without any other is
    not scored. A missing answer scores 0.
    """

    name: str
    version: str
    rule: Callable[[str, str], Score | None]

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        judged = (self.rule(given.answer or "", reference) for reference in prompt.reference)
        scores = [score for score in judged if score is not None]
        if scores and given.answer is None:
            return NO_ANSWER
        return max(scores, key=_value, default=None)


def _value(score: Score) -> float:
    """An unscored one is the last that counts."""
    return -1.0 if score.value is None else score.value
