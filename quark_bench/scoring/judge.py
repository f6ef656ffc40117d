"""Judge: models that grade an answer by a rubric. What that takes and costs is no part of the pipeline's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from quark_bench.agent import Call, stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import ModelError, describe
from quark_bench.model import Message, Model
from quark_bench.scoring.rubric import Grade, Rubric
from quark_bench.scoring.score import NO_ANSWER, Answered, Opinion, Score

TIMEOUT_S = 120.0
ATTEMPTS = 3
BACKOFF_S = 1.0
LONGEST_WAIT_S = 60.0
SHOWN = 200
"""Characters of a reply that an explanation shows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge made of one answer, in one order of the grades: a grade, or None and why there is none."""

    judge: str
    grade: Grade | None
    told: str
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks every model to grade an answer; the grade that most of them give counts, see `opinion_of`.

    `both_ways` asks each once more with the grades listed the other way round. A model that does not answer is asked
    ATTEMPTS times; a reply without a grade is no verdict, and is not asked for again.
    """

    models: Sequence[Model]
    rubric: Rubric
    both_ways: bool = False
    name: str = "judge"

    @property
    def version(self) -> str:
        models = "+".join(model.name for model in self.models)
        return f"1 models={models} rubric={self.rubric.digest}" + (" both ways" if self.both_ways else "")

    async def judge(self, given: Answered, prompt: Prompt) -> Opinion:
        if given.answer is None:
            return Opinion(NO_ANSWER)
        orders = (self.rubric, self.rubric.reversed()) if self.both_ways else (self.rubric,)
        rounds = []
        for rubric in orders:
            messages = rubric.messages(prompt, given.answer)
            rounds.append([await self._verdict(model, messages, given) for model in self.models])
        return opinion_of(rounds)

    async def _verdict(self, model: Model, messages: Sequence[Message], given: Answered) -> Verdict:
        call = _call(model, given)
        try:
            text = await _reply(call, messages)
        except Exception as error:  # noqa: BLE001 - one answer that cannot be judged ends no scoring
            return Verdict(model.name, None, describe(error, SHOWN), call.usage.cost_usd)
        grade = self.rubric.grade_of(text)
        return Verdict(model.name, grade, " ".join(text.split())[-SHOWN:] or "an empty reply", call.usage.cost_usd)


def opinion_of(rounds: Sequence[Sequence[Verdict]]) -> Opinion:
    """What judges say together, each round having asked all of them in one order of the grades.

    The score is the value of the grade that most verdicts give, the mean of those that tie; verdicts that cannot be
    read have no vote, and without any vote the answer is unscored. The order's bias is half of what a judge's value was
    higher in the first round than in the second, the mean over those who gave both. Source of the swap: Zheng et al.
    2023, arXiv 2306.05685, section 3.4, there for the order of two answers.
    """
    verdicts = [verdict for each in rounds for verdict in each]
    cost_usd = sum(verdict.cost_usd for verdict in verdicts)
    votes = Counter(verdict.grade for verdict in verdicts if verdict.grade is not None)
    if not votes:
        why = "; ".join(dict.fromkeys(f"{verdict.judge}: {verdict.told}" for verdict in verdicts))
        return Opinion(Score(None, f"no verdict: {why}"), cost_usd)
    most = max(votes.values())
    first = [grade for grade, count in votes.items() if count == most]
    score = sum(grade.value for grade in first) / len(first)
    tied = " or ".join(grade.label for grade in first)
    many = f", {most} of {len(verdicts)} verdicts" if len(verdicts) > 1 else ""
    reason = next(verdict.told for verdict in verdicts if verdict.grade == first[0])
    return Opinion(Score(score, f"{tied}{many}: {reason}"), cost_usd, _order_bias(rounds))


def _order_bias(rounds: Sequence[Sequence[Verdict]]) -> float | None:
    if len(rounds) != 2:
        return None
    pairs = [(a.grade, b.grade) for a, b in zip(*rounds, strict=True)]
    halves = [(a.value - b.value) / 2 for a, b in pairs if a is not None and b is not None]
    return sum(halves) / len(halves) if halves else None


def _call(model: Model, given: Answered) -> Call:
    seed = stable_hash("judge", given.prompt_id, given.repeat)
    run_key = f"judge {given.arm}"
    return Call("judge", given.prompt_id, given.repeat, 1, seed, TIMEOUT_S, None, run_key, model, blocking=False)


async def _reply(call: Call, messages: Sequence[Message]) -> str:
    """Raises the last attempt's ModelError, or TimeoutError."""
    for attempt in range(1, ATTEMPTS + 1):
        call.attempt = attempt
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return str((await call.model(messages)).text)
        except (ModelError, TimeoutError) as error:
            if attempt == ATTEMPTS or getattr(error, "final", False):
                raise
            asked_s = getattr(error, "retry_after_s", None)
            wait_s = BACKOFF_S * 2 ** (attempt - 1) if asked_s is None else asked_s
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))
    raise AssertionError("the last attempt returns or raises")
