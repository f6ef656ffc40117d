"""Failures: trials that ended alike, for the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from quark_bench.plain import shortened
from quark_bench.record import ENGINE_FAULT, REFUSAL
from quark_bench.report.findings import Findings
from quark_bench.report.waterfall import text_of

NAMED_PROMPTS = 3
CLASS = r"^([A-Za-z_][\w.]*):"
"""Begins an error with its class, as `TimeoutError: after 60 s`."""
LONGEST_ERROR = 400


@dataclass(frozen=True, slots=True)
class Failure:
    """Trials that ended alike: the agent at fault, the most frequent of its errors of one class, how many other
    messages that class had, and the first prompts it struck."""

    agent: str
    error: str
    status: str
    trials: int
    arms: tuple[str, ...]
    prompts: tuple[str, ...]
    others: int = 0


@dataclass(frozen=True, slots=True)
class Failures:
    """The most frequent kinds of failure, and how many further kinds there are."""

    listed: tuple[Failure, ...]
    unlisted: int


def kinds_of_failure(findings: Findings, most: int) -> Failures:
    """What went wrong, by agent and class of error, the `most` frequent kinds first."""
    struck = findings.trials.struck(["arm", "prompt_id", "status", "error", "error_agent"])
    causes = struck.assign(error_agent=struck["error_agent"].map(text_of), error=struck["error"].map(_kind_of))
    causes["class"] = causes["error"].str.extract(CLASS, expand=False).fillna(causes["error"])
    alike = causes.groupby(["status", "error_agent", "class"])
    kinds = [_failure(findings, str(status), str(agent), trials) for (status, agent, _), trials in alike]
    kinds.sort(key=lambda kind: (-kind.trials, kind.agent, kind.error))
    return Failures(tuple(kinds[:most]), max(0, len(kinds) - most))


def _kind_of(error: Any) -> str:
    """The error; of a refusal what does not differ from one moment to the next."""
    text = text_of(error)
    return text.partition(";")[0] if text.startswith(REFUSAL) else text


def _failure(findings: Findings, status: str, agent: str, trials: pd.DataFrame) -> Failure:
    messages = trials["error"].value_counts()
    error = min(messages[messages == messages.max()].index)
    return Failure(
        agent=agent or ("the engine" if (error or "").startswith(ENGINE_FAULT) else "the worker"),
        error=shortened(error or "no error was recorded", LONGEST_ERROR),
        status=status,
        trials=len(trials),
        arms=tuple(arm for arm in findings.arms if (trials["arm"] == arm).any()),
        others=len(messages) - 1,
        prompts=tuple(dict.fromkeys(trials["prompt_id"].astype(str)))[:NAMED_PROMPTS],
    )
