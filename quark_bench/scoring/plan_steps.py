"""Plan steps: how much of a gold decomposition a plan has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from quark_bench.dataset import Prompt
from quark_bench.scoring.f1 import judge_f1
from quark_bench.scoring.passages import NotUnderstoodError, told
from quark_bench.scoring.score import Score

DECOMPOSITION = "decomposition"
"""Where a prompt's metadata has the steps of a right plan, a list of texts."""
TEXTS = ("do", "text", "step")


def judge_steps(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """Recall of the gold steps: each is aligned with one step of the plan at most, so that the sum of their token F1
    is the largest (Kuhn 1955's assignment), and the mean over all gold steps counts, 0 for one without a step.

    Their order does not count, and neither do further steps: a decomposition has many right orders, and the plan may
    be finer.
    """
    gold = gold_steps(prompt)
    if not gold:
        return None
    steps = steps_in(output)[:k]
    alike = np.array([[_alike(step, wanted) for step in steps] for wanted in gold]).reshape(len(gold), len(steps))
    rows, columns = linear_sum_assignment(alike, maximize=True)
    met = int((alike[rows, columns] > 0).sum())
    value = float(alike[rows, columns].sum()) / len(gold)
    return Score(min(1.0, value), f"{met} of {len(gold)} gold steps met at all, by {len(steps)} steps")


def _alike(step: str, wanted: str) -> float:
    score = judge_f1(step, wanted)
    return 0.0 if score is None or score.value is None else score.value


def gold_steps(prompt: Prompt) -> list[str]:
    """The steps that the prompt's metadata has; none where it has no such list."""
    found = prompt.metadata.get(DECOMPOSITION)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list | tuple) else []


def steps_in(output: Any) -> list[str]:
    """The texts of a plan's steps. Raises NotUnderstoodError for what is neither a list of texts nor one of dicts with
    `do` or `text`, itself or under `steps`."""
    steps = output.get("steps") if isinstance(output, Mapping) else output
    if not isinstance(steps, list):
        raise NotUnderstoodError(f"{told(output)} is no plan; return a list of steps, or a dict with steps")
    return [_text(number, step) for number, step in enumerate(steps, 1)]


def _text(number: int, step: Any) -> str:
    if isinstance(step, str):
        return step
    if isinstance(step, Mapping):
        text = next((step[key] for key in TEXTS if isinstance(step.get(key), str)), None)
        if text is not None:
            return str(text)
    raise NotUnderstoodError(f"step {number} is {told(step)}; return a text, or a dict with do or text")
