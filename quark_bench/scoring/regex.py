"""Regex: a regular expression is found in the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.scoring.score import NO_ANSWER, Answered, ReferenceScorer, Score, Scorer


@dataclass(frozen=True, slots=True)
class PatternScorer:
    """1 where the one pattern is found in an answer, whatever the prompt's reference."""

    pattern: re.Pattern[str]
    name: str = "regex"

    @property
    def version(self) -> str:
        return f"1 pattern={self.pattern.pattern}"

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        return NO_ANSWER if given.answer is None else _found(self.pattern, given.answer)


def regex(pattern: str | None = None) -> Scorer:
    """The scorer that looks for `pattern`, or, without one, for each prompt's reference as a pattern.

    Raises UsageError for what is no regular expression.
    """
    if pattern is None:
        return ReferenceScorer("regex", "1", judge_regex)
    try:
        return PatternScorer(re.compile(pattern))
    except re.error as error:
        raise UsageError(f"--score regex: {pattern!r} is no regular expression of Python's: {error}") from None


def judge_regex(answer: str, reference: str) -> Score | None:
    """1 where the reference, a regular expression, is found in the answer; unscored where it is none."""
    try:
        return _found(re.compile(reference), answer)  # which remembers the last 512
    except re.error as error:
        return Score(None, f"the reference is no regular expression: {error}")


def _found(pattern: re.Pattern[str], answer: str) -> Score:
    found = pattern.search(answer)
    return Score(float(found is not None), "matches the pattern" if found else "does not match the pattern")
