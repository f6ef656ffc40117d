"""Scoring: several ways to judge the answer of one record."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.scoring.contains import CONTAINS
from quark_bench.scoring.exact import EXACT
from quark_bench.scoring.f1 import F1
from quark_bench.scoring.number import NUMBER
from quark_bench.scoring.score import ReferenceScorer, Score, Scorer

__all__ = [
    "SCORERS",
    "AnsweredTrial",
    "ReferenceScorer",
    "Score",
    "ScoreRow",
    "Scorer",
    "default_scorers",
    "score_records",
    "scorers_named",
]

SCORERS: Mapping[str, Scorer] = {scorer.name: scorer for scorer in (EXACT, CONTAINS, NUMBER, F1)}
"""The built-in scorers by name."""

AnsweredTrial = tuple[str, int, str, str | None]
"""What is scored of a record: arm, repeat, prompt id, answer (None where there is none)."""


class ScoreRow(NamedTuple):
    """One score of one record. `value` is from 0 to 1; `scored_s` is how long the scorer took."""

    arm: str
    repeat: int
    prompt_id: str
    scorer: str
    value: float
    explanation: str
    scored_s: float
    cost_usd: float


def scorers_named(names: Iterable[str]) -> list[Scorer]:
    """The built-in scorers of those names, each once. Raises UsageError, with the nearest, for an unknown one."""
    return [_scorer_named(name) for name in dict.fromkeys(names)]


def default_scorers(dataset: Dataset) -> list[Scorer]:
    """All built-in scorers where the data set has references, which they judge by; else none."""
    return list(SCORERS.values()) if dataset.has_references else []


def score_records(
    rows: Iterable[AnsweredTrial],
    prompts: Mapping[str, Prompt],
    scorers: Sequence[Scorer],
    clock: Callable[[], float],
) -> Iterator[ScoreRow]:
    """Every score of every record, in their order; a scorer that does not apply to a prompt gives no row.

    `clock` reads seconds. Raises DataError for a record whose prompt is not among `prompts`.
    """
    for arm, repeat, prompt_id, answer in rows:
        if prompt_id not in prompts:
            raise DataError(f"prompt {prompt_id!r} is not in this data set; score a run with the one it was made of")
        for scorer in scorers:
            start_s = clock()
            score = scorer.score(answer, prompts[prompt_id])
            scored_s = clock() - start_s
            if score is not None:
                # These scorers compute; none of them pays a model.
                yield ScoreRow(arm, repeat, prompt_id, scorer.name, score.value, score.explanation, scored_s, 0.0)


def _scorer_named(name: str) -> Scorer:
    if name in SCORERS:
        return SCORERS[name]
    close = difflib.get_close_matches(name.lower(), SCORERS, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"--score {name}: no such scorer; {hint}scorers: {', '.join(SCORERS)}")
