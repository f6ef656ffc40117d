"""Trials: one of Inspect's cases as prompt, record, spans, questions to models and scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from quark_bench.dataset import FIELDS, Prompt
from quark_bench.errors import DataError
from quark_bench.inspect_log.events import Whole, offset, spans_of, text_of, tokens_of
from quark_bench.record import ModelCall, Record, RecordStatus, Span

GRADES = {"c": 1.0, "correct": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""What Inspect's `value_to_float` takes a text for."""
NO_TEXT = "(the log has no text of this prompt)"
OWN = "quark_bench_"
"""Begins the facts that our own export adds to a prompt's."""


class LoggedScore(NamedTuple):
    """A score; `value` is None where it is none from 0 to 1."""

    scorer: str
    value: float | None
    explanation: str


class LoggedTrial(NamedTuple):
    """All that a log tells of one trial; `repeat` counts from 0."""

    repeat: int
    prompt: Prompt
    record: Record
    spans: list[Span]
    calls: list[ModelCall]
    scores: list[LoggedScore]


def read_trial(told: Mapping[str, Any], session_s: float, name: str) -> LoggedTrial:
    """The trial that a log tells of; `session_s` is the start of the log in seconds since 1970, `name` where it stands.

    Raises DataError for what is not as Inspect writes it.
    """
    try:
        return _trial(told, session_s)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{name}, trial {told.get('id')!r}: not as Inspect writes it: {error!r}") from None


def _trial(told: Mapping[str, Any], session_s: float) -> LoggedTrial:
    attachments = told.get("attachments") or {}
    prompt = _prompt(told, attachments)
    start_s = offset(told.get("started_at"), session_s) or 0.0
    end_s = start_s + float(told.get("total_time") or 0.0)
    spans, calls = spans_of(told.get("events") or (), Whole(prompt.id, session_s, start_s, end_s), attachments)
    record = _record(told, prompt, start_s, spans, text_or_none(told.get("output") or {}, attachments))
    scores = [score for name, each in (told.get("scores") or {}).items() for score in _scores(name, each)]
    return LoggedTrial(int(told["epoch"]) - 1, prompt, record, spans, calls, scores)


def text_or_none(output: Mapping[str, Any], attachments: Mapping[str, str]) -> str | None:
    """The answer; None where the model, or who stood in for it, gave none."""
    choice = next(iter(output.get("choices") or ()), None)
    return None if choice is None else text_of(choice["message"]["content"], attachments)


def _prompt(told: Mapping[str, Any], attachments: Mapping[str, str]) -> Prompt:
    given = told["input"]
    messages = [given] if isinstance(given, str) else [each["content"] for each in given if each["role"] != "assistant"]
    text = "\n\n".join(text_of(each, attachments) for each in messages)
    target = told.get("target") or ()
    metadata = {name: value for name, value in (told.get("metadata") or {}).items() if not name.startswith(OWN)}
    category = metadata.pop("category", None)
    if told.get("choices"):
        metadata["choices"] = told["choices"]
    return Prompt(
        id=str(told["id"]),
        text=text if text.strip() else NO_TEXT,
        category=category if isinstance(category, str) else None,
        reference=(target,) if isinstance(target, str) else tuple(map(str, target)),
        metadata={f"metadata_{name}" if name in FIELDS else name: value for name, value in metadata.items()},
    )


def _record(
    told: Mapping[str, Any], prompt: Prompt, start_s: float, spans: Sequence[Span], answer: str | None
) -> Record:
    tokens = tokens_of((told.get("model_usage") or {}).values())
    status, error = _ended(told, answer)
    at_fault = next((span.agent for span in reversed(spans) if span.status == "failed"), None)
    latency_s = max(0.0, max(span.end_s for span in spans) - start_s)
    return Record(
        prompt_id=prompt.id,
        category=prompt.category,
        status=status.value,
        answer=answer,
        error=error,
        error_agent=at_fault if status is RecordStatus.FAILED else None,
        due_s=start_s,
        start_s=start_s,
        latency_s=latency_s,
        answer_s=None if answer is None else latency_s,
        service_s=None,  # type: ignore[arg-type] # no log tells the waits apart from those of scorers
        work_s=sum(span.end_s - span.start_s for span in spans),
        critical_path_s=longest_chain_s(spans),
        simulated_s=0.0,
        attempts=len(spans),
        fallbacks=0,
        executions=1 + len(told.get("error_retries") or ()),
        tokens_in=tokens.tokens_in,
        tokens_out=tokens.tokens_out,
        cost_usd=tokens.cost_usd,
        worker="",
    )


def _ended(told: Mapping[str, Any], answer: str | None) -> tuple[RecordStatus, str | None]:
    if error := told.get("error"):
        return RecordStatus.FAILED, str(error["message"])
    if limit := told.get("limit"):
        return RecordStatus.DEGRADED if answer else RecordStatus.FAILED, f"limit of {limit['type']} reached"
    return (RecordStatus.OK, None) if answer is not None else (RecordStatus.FAILED, "no answer")


def longest_chain_s(spans: Sequence[Span]) -> float:
    """The largest sum of durations of calls that followed one another: what was, or could have been, waited for."""
    best: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda each: each.end_s):
        before_s = max((sum_s for end_s, sum_s in best if end_s <= span.start_s), default=0.0)
        best.append((span.end_s, before_s + span.end_s - span.start_s))
    return max((sum_s for _, sum_s in best), default=0.0)


def _scores(name: str, score: Mapping[str, Any]) -> Iterator[LoggedScore]:
    """A score; of one with several values by name, each of them."""
    value, told = score["value"], str(score.get("explanation") or score.get("answer") or "")
    if isinstance(value, Mapping):
        for part, each in value.items():
            yield _score(f"{name}_{part}", each, told)
    else:
        yield _score(name, value, told)


def _score(name: str, value: Any, told: str) -> LoggedScore:
    number = _number(value)
    if number is None or not 0 <= number <= 1:  # NaN is neither
        return LoggedScore(name, None, f"{value!r} is not between 0 and 1")
    return LoggedScore(name, number, told)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        grade = GRADES.get(value.lower())
        try:
            value = float(value) if grade is None else grade
        except ValueError:
            return None
    return float(value) if isinstance(value, bool | int | float) and math.isfinite(value) else None
