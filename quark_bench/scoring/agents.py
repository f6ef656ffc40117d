"""Agents: each agent of a pipeline judged by what it returned itself, apart from the answer.

A score is named after the agent and the measure, as in `retrieval.recall@5`; no other score's name has a dot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.dataset import Prompt
from quark_bench.record import NOT_KEPT
from quark_bench.scoring.passages import (
    NotUnderstoodError,
    judge_mrr,
    judge_precision,
    judge_recall,
    judge_relevance,
    told,
)
from quark_bench.scoring.plan_steps import judge_steps
from quark_bench.scoring.score import PASS, Answered, Score

CALIBRATION = "calibration"
HALF = 0.5
FOUND_NONE = 1e-9

Rule = Callable[[Any, Prompt, int | None], Score | None]
"""Judges an output, or the first k of it; None for a prompt without what it is judged by. Raises NotUnderstoodError."""


def judge_accuracy(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """1 where the output, or what it has as `category`, `label` or `intent`, is the prompt's category."""
    if prompt.category is None:
        return None
    given = output
    if isinstance(output, Mapping):
        given = next((output[key] for key in ("category", "label", "intent") if key in output), None)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise NotUnderstoodError(f"{told(output)} names no category; return a text, or a dict with category")
    same = str(given).strip().casefold() == prompt.category.strip().casefold()
    return Score(float(same), f"{given} is right" if same else f"{given} for {prompt.category}")


@dataclass(frozen=True, slots=True)
class AgentMeasure:
    """A way to judge an agent. Where it is below `wrong_below`, what comes of the output is the agent's fault; None
    where that does not follow."""

    judge: Rule
    wrong_below: float | None
    takes_k: bool = False


MEASURES: Mapping[str, AgentMeasure] = {
    "accuracy": AgentMeasure(judge_accuracy, HALF),
    "recall": AgentMeasure(judge_recall, HALF, takes_k=True),
    "mrr": AgentMeasure(judge_mrr, FOUND_NONE, takes_k=True),
    "precision": AgentMeasure(judge_precision, None, takes_k=True),
    "relevance": AgentMeasure(judge_relevance, HALF, takes_k=True),
    "steps": AgentMeasure(judge_steps, HALF),
}
"""By name; beside them there is CALIBRATION, which needs the answer's score."""
BY_NAME = {
    "nlu": "accuracy",
    "memory": "relevance",
    "retrieval": "recall@5",
    "planning": "steps",
    "self_improvement": CALIBRATION,
}
"""What the agents of these names are judged by where nobody says."""


@dataclass(frozen=True, slots=True)
class AgentScorer:
    """Judges what an agent returned. One that failed scores 0; one that was not called, as an agent it needs had
    failed, is not judged. What cannot be read leaves it unscored."""

    agent: str
    measure: str
    k: int | None = None
    version: str = "1"

    @property
    def name(self) -> str:
        return f"{self.agent}.{self.measure}" + ("" if self.k is None else f"@{self.k}")

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        if self.agent not in given.outputs:
            return None
        rule = MEASURES[self.measure].judge
        try:
            if (text := given.outputs[self.agent]) is None:
                return None if rule(_NOTHING[self.measure], prompt, self.k) is None else Score(0.0, "the agent failed")
            return rule(read_output(text), prompt, self.k)
        except NotUnderstoodError as error:
            return Score(None, f"the output of {self.agent}: {error}")


_NOTHING: Mapping[str, Any] = {name: "" if name == "accuracy" else [] for name in MEASURES}
"""An output of which a rule can say whether the prompt is to be judged at all."""


def read_output(text: str) -> Any:
    """The output that was kept. Raises NotUnderstoodError where it was not."""
    if text.startswith(NOT_KEPT):
        raise NotUnderstoodError(text)
    return json.loads(text)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether an agent's doubt foretells wrong answers: 1 - (doubt - wrong)^2, wrong being 1 or 0 by the scorer `by`.
    1 less its mean is the Brier score (Brier 1950); 0.75 is had by always doubting half."""

    agent: str
    by: str

    @property
    def version(self) -> str:
        return f"1 by={self.by}"

    @property
    def name(self) -> str:
        return f"{self.agent}.{CALIBRATION}"

    def score_beside(self, given: Answered, scores: Mapping[str, Score]) -> Score | None:
        """Judge an output by the record's scores; None where nothing tells whether the answer is wrong."""
        text = given.outputs.get(self.agent)
        if text is None or self.by not in scores or (value := scores[self.by].value) is None:
            return None
        try:
            doubt = doubt_in(read_output(text))
        except NotUnderstoodError as error:
            return Score(None, f"the output of {self.agent}: {error}")
        wrong = value < HALF
        return Score(1 - (doubt - wrong) ** 2, f"doubt {doubt:.2f}, {'wrong' if wrong else 'right'} by {self.by}")


def doubt_in(output: Any) -> float:
    """The probability that the answer is wrong: a number, or what a dict has as `doubt`, or 1 less its `confidence`.

    Raises NotUnderstoodError for what has none from 0 to 1.
    """
    given = output
    if isinstance(output, Mapping):
        given = output.get("doubt")
        if given is None and isinstance(confidence := output.get("confidence"), int | float):
            given = 1 - confidence
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise NotUnderstoodError(f"{told(output)} tells no doubt; return a number from 0 to 1, or a dict with doubt")
    return float(given)


def wrong_below(name: str) -> float | None:
    """Below which score of that name its agent went wrong; None where that does not follow."""
    measure = name.partition(".")[2].partition("@")[0]
    if measure == CALIBRATION:
        return None
    return MEASURES[measure].wrong_below if measure in MEASURES and not name.endswith(PASS) else HALF
