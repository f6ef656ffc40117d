"""Function: a user's own way to judge answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError, describe
from quark_bench.scoring.score import NO_ANSWER, Answered, Score


@dataclass(frozen=True, slots=True)
class FunctionScorer:
    """Calls `function(answer, prompt)`, which returns a bool, a number from 0 to 1, a Score, or None for unscored.

    What it raises, and what else it returns, leaves that answer unscored and is told. Without an answer it is not
    called: that scores 0.
    """

    name: str
    version: str
    function: Callable[[str, Prompt], Any]

    def score(self, given: Answered, prompt: Prompt) -> Score | None:
        if given.answer is None:
            return NO_ANSWER
        try:
            return _as_score(self.function(given.answer, prompt))
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return Score(None, f"raised {describe(error, 300)}")


def function_scorer(named: str, function: Any, code_hash: str) -> FunctionScorer:
    """The scorer of a function, called as it is; another `code_hash` is another version. Raises UsageError for what
    cannot be called with an answer and a prompt, and for a coroutine function."""
    told = f"--score {named}"
    if not callable(function):
        raise UsageError(f"{told} is a {type(function).__name__}, no function; write def NAME(answer, prompt)")
    if inspect.iscoroutinefunction(function):
        raise UsageError(f"{told} is a coroutine function; make it a plain one, or ask a model by --score judge")
    try:
        inspect.signature(function).bind("answer", "prompt")
    except (TypeError, ValueError):
        raise UsageError(f"{told} does not take two arguments; write def NAME(answer, prompt)") from None
    return FunctionScorer(named.rpartition(":")[2], f"1 code={code_hash[:12]}", function)


def _as_score(value: Any) -> Score:
    if isinstance(value, Score):
        return value
    if value is None:
        return Score(None, "the function returned None")
    if isinstance(value, str | bytes):
        raise TypeError(f"it returned {value!r:.40}, which is no score; return a bool, a number, a Score or None")
    number = float(value)
    return Score(number, f"{number:.3g}")
