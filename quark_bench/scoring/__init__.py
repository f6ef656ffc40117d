"""Scoring: several ways to judge the answer of one record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from quark_bench.dataset import Prompt
from quark_bench.errors import DataError
from quark_bench.scoring.agents import AgentScorer, Calibration
from quark_bench.scoring.ahead import ahead
from quark_bench.scoring.asked import AskedScorer, Overall
from quark_bench.scoring.registry import BUILT_IN, DEFAULT, Loaders, scorers_named
from quark_bench.scoring.score import Answered, Judging, Opinion, ReferenceScorer, Score, Scorer

__all__ = [
    "BUILT_IN",
    "DEFAULT",
    "Answered",
    "AskedScorer",
    "Judging",
    "Loaders",
    "Opinion",
    "Overall",
    "ReferenceScorer",
    "Score",
    "ScoreRow",
    "Scorer",
    "asks_models",
    "judged_agents",
    "score_records",
    "scorers_named",
]

JUDGED_AT_ONCE = 16
"""Answers that judges are asked about at the same time."""


class ScoreRow(NamedTuple):
    """One score of one record. `value` is from 0 to 1, None where the record could not be judged; `scored_s` is how
    long the scorer took; `cost_usd` and `order_bias` are a judge's, see `Opinion`."""

    arm: str
    repeat: int
    prompt_id: str
    scorer: str
    value: float | None
    explanation: str
    scored_s: float
    cost_usd: float
    order_bias: float | None = None


def judged_agents(scorers: Iterable[AskedScorer | Overall]) -> tuple[str, ...]:
    """The agents whose outputs these scorers need, each once."""
    own = (each.scorer for each in scorers if isinstance(each, AskedScorer))
    return tuple(dict.fromkeys(each.agent for each in own if isinstance(each, AgentScorer | Calibration)))


def asks_models(scorers: Iterable[AskedScorer | Overall]) -> bool:
    """Whether any of these scores is waited for, and paid."""
    return any(isinstance(each, AskedScorer) and _judges(each) for each in scorers)


def score_records(
    rows: Iterable[Answered],
    prompts: Mapping[str, Prompt],
    scorers: Sequence[AskedScorer | Overall],
    clock: Callable[[], float],
) -> Generator[ScoreRow]:
    """Every score of every record, in their order; a scorer that does not apply to a prompt gives no row.

    Judges are asked about JUDGED_AT_ONCE records at a time, until the iterator is closed. `clock` reads seconds. Raises
    DataError for a record whose prompt is not among `prompts`.
    """
    judges = {each.name: each.scorer for each in scorers if isinstance(each, AskedScorer) and _judges(each)}
    pairs = ((given, _prompt_of(given, prompts)) for given in rows)

    async def asked(pair: tuple[Answered, Prompt]) -> tuple[Answered, Prompt, _Opinions]:
        opinions = {}
        for name, scorer in judges.items():
            assert isinstance(scorer, Judging), "that is how they were chosen"
            start_s = clock()
            opinion = await scorer.judge(*pair)
            opinions[name] = opinion, clock() - start_s
        return (*pair, opinions)

    if not judges:
        for given, prompt in pairs:
            yield from _rows(given, prompt, {}, scorers, clock)
        return
    with contextlib.closing(ahead(pairs, asked, JUDGED_AT_ONCE)) as judged:
        for given, prompt, opinions in judged:
            yield from _rows(given, prompt, opinions, scorers, clock)


_Opinions = dict[str, tuple[Opinion, float]]
"""What judges made of a record, by their scores' names, and in how many seconds."""


def _judges(asked: AskedScorer) -> bool:
    return isinstance(asked.scorer, Judging)


def _prompt_of(given: Answered, prompts: Mapping[str, Prompt]) -> Prompt:
    if given.prompt_id not in prompts:
        raise DataError(f"prompt {given.prompt_id!r} is not in this data set; score a run with the one it was made of")
    return prompts[given.prompt_id]


def _rows(
    given: Answered,
    prompt: Prompt,
    opinions: _Opinions,
    scorers: Sequence[AskedScorer | Overall],
    clock: Callable[[], float],
) -> Iterator[ScoreRow]:
    scores: dict[str, Score] = {}
    for each in scorers:
        start_s, opinion = clock(), None
        if isinstance(each, Overall):
            score = each.of(scores)
            scored_s = clock() - start_s
        elif each.name in opinions:
            opinion, scored_s = opinions[each.name]
            score = each.passed(opinion.score)
        else:
            if isinstance(each.scorer, Calibration):
                found = each.scorer.score_beside(given, scores)
            else:
                found = each.scorer.score(given, prompt)  # type: ignore[union-attr] # the others were asked before
            score = None if found is None else each.passed(found)
            scored_s = clock() - start_s
        if score is None:
            continue
        scores[each.name] = score
        cost_usd, bias = (opinion.cost_usd, opinion.order_bias) if opinion else (0.0, None)
        yield ScoreRow(*given[:3], each.name, score.value, score.explanation, scored_s, cost_usd, bias)
