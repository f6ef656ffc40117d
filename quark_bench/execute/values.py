"""Values: what may pass from agent to agent, and how an answer becomes text. Equal in every executor."""

from __future__ import annotations

import json
import pickle

import cloudpickle

from quark_bench.errors import describe
from quark_bench.record import NOT_KEPT
from quark_bench.redact import redact_answer

PLAIN = frozenset({str, int, float, bool, type(None), bytes})
"""Types that pass from agent to agent unchecked; anything else must pickle."""

LONGEST_OUTPUT = 64_000
"""Bytes of JSON: a dozen long passages. More would be kept for every trial."""
ANSWER_KEY = "answer"
"""An answer agent may return a dict: the value under this key is the answer, the rest is for other agents."""


def check_travels(value: object) -> None:
    """Raise TypeError unless the value can go to another process; checked in every executor alike.

    There and back: an exception with arguments of its own pickles well and then cannot be rebuilt.
    """
    try:
        pickle.loads(pickle.dumps(value, 5))
    except Exception:  # noqa: BLE001 - pickle raises what a value's own methods raise
        try:
            pickle.loads(cloudpickle.dumps(value))
        except Exception as error:  # noqa: BLE001
            raise TypeError(
                f"the result, a {type(value).__name__}, cannot be sent to another process ({describe(error, 200)}); "
                "return text, numbers, lists or dicts"
            ) from None


def answer_text(value: object) -> str | None:
    """The answer as it is stored, without known secrets. Raises TypeError for what is neither text nor JSON-able."""
    if isinstance(value, dict) and ANSWER_KEY in value:
        value = value[ANSWER_KEY]
    if value is None:
        return None
    if isinstance(value, str):
        return redact_answer(str.__str__(value))  # a subclass need not exist where the record is read
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        return redact_answer(json.dumps(value, ensure_ascii=False, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the answer, a {type(value).__name__}, cannot be stored as text ({error}); "
            "return text, a number, a bool, None, or lists and dicts of them"
        ) from None


def output_text(value: object) -> str:
    """An agent's output as JSON, without known secrets; or, after NOT_KEPT, why it is not kept."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"{NOT_KEPT}a {type(value).__name__} that is no JSON ({describe(error, 200)})"
    size = len(text.encode("utf-8", "replace"))
    if size > LONGEST_OUTPUT:
        return f"{NOT_KEPT}{size:,} bytes of JSON, more than {LONGEST_OUTPUT:,}"
    return redact_answer(text)
