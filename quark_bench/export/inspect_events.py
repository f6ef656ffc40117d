"""Inspect's events of one trial: a span for every agent's call, and in it an event for every question to a model.

Its tables of events and of messages, and its viewer, read these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.export.kept import KeptTrial, Row

Event = dict[str, Any]
OURS = "quark-bench"
"""Begins the name of a model that stands for agents."""
Moment = Callable[[float], str]
"""An offset in seconds as ISO 8601."""


class ModelUsage:
    """Tokens and dollars by model."""

    def __init__(self) -> None:
        self._tokens: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._cost_usd: defaultdict[str, float] = defaultdict(float)

    def count(self, model: str, row: Row) -> None:
        self._tokens[model].update(input_tokens=row["tokens_in"], output_tokens=row["tokens_out"])
        self._cost_usd[model] += row["cost_usd"]

    def add(self, other: ModelUsage) -> None:
        for model, tokens in other._tokens.items():
            self._tokens[model].update(tokens)
            self._cost_usd[model] += other._cost_usd[model]

    def as_data(self) -> dict[str, dict[str, Any]]:
        return {model: _usage(tokens, self._cost_usd[model]) for model, tokens in self._tokens.items()}

    def total(self) -> dict[str, Any]:
        return _usage(sum(self._tokens.values(), Counter()), sum(self._cost_usd.values()))


def usage_of(trial: KeptTrial, model: str) -> ModelUsage:
    """By the models that were asked; where none was, all that the record tells counts for this one."""
    usage = ModelUsage()
    for call in trial.calls:
        usage.count(call["model"], call)
    if not trial.calls and trial.record["tokens_in"] + trial.record["tokens_out"]:
        usage.count(model, trial.record)
    return usage


def _usage(tokens: Counter[str], cost_usd: float = 0.0) -> dict[str, Any]:
    told = {name: tokens[name] for name in ("input_tokens", "output_tokens")}
    return {**told, "total_tokens": sum(told.values()), "total_cost": cost_usd or None}


def answered(model: str, text: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    """A model's output; without a text there was no answer."""
    message = {"role": "assistant", "content": text}
    choices = [] if text is None else [{"message": message, "stop_reason": "stop"}]
    return {"model": model, "choices": choices, "usage": usage}


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a trial beside its rows: the name that no other has, the prompt's text, and the agent that
    answers."""

    name: str
    text: str
    answers: str
    moment: Moment


def events_of(trial: KeptTrial, told: Told) -> Iterator[Event]:
    """The events of a trial in the order of time. An agent that asked no model that we know of counts as one itself,
    whose output is known where it is the one that answers, or a score of that agent was asked for."""
    began_s = trial.record["start_s"]
    asked: defaultdict[str, list[Row]] = defaultdict(list)
    for call in trial.calls:
        asked[call["agent"]].append(call)
    attempts: defaultdict[str, list[Row]] = defaultdict(list)
    for span in trial.spans:
        attempts[span["agent"]].append(span)
    placed: list[tuple[float, Event]] = []
    for agent, spans in attempts.items():
        identity = f"{told.name}-{agent}"
        end_s = max(span["end_s"] for span in spans)
        placed.append((spans[0]["start_s"], _began(identity, agent, spans)))
        if calls := asked[agent]:
            placed.extend((call["start_s"], _asked(identity, call, end_s, told)) for call in calls)
        elif any(span["attempt"] for span in spans):
            output = trial.record["answer"] if agent == told.answers else spans[-1]["output"] or ""
            placed.append((spans[0]["start_s"], _asked_itself(identity, spans, output, told)))
        placed.append((end_s, {"event": "span_end", "id": identity, "span_id": identity, "uuid": f"{identity}-e"}))
    for at_s, event in sorted(placed, key=lambda pair: pair[0]):  # stable: a span of no length begins, asks, ends
        yield {"timestamp": told.moment(at_s), "working_start": max(0.0, at_s - began_s), **event}


def _began(identity: str, agent: str, spans: Sequence[Row]) -> Event:
    last = spans[-1]
    facts = {name: last[name] for name in ("status", "worker", "error", "queue_s")}
    return {
        "event": "span_begin",
        "id": identity,
        "span_id": identity,
        "uuid": f"{identity}-b",
        "type": "agent",
        "name": agent,
        "metadata": {**facts, "attempts": sum(span["attempt"] > 0 for span in spans)},
    }


def _asked(identity: str, call: Row, span_end_s: float, told: Told) -> Event:
    usage = _usage(Counter(input_tokens=call["tokens_in"], output_tokens=call["tokens_out"]), call["cost_usd"])
    output = (call["reply"] or "") if call["status"] == "ok" else None
    name = f"{identity}-{call['attempt']}-{call['number']}"
    end_s = min(call["end_s"], span_end_s)
    event = _model_event(identity, name, call["model"], (told.text, output), usage)
    return event | {
        "completed": told.moment(end_s),
        "working_time": max(0.0, call["end_s"] - call["start_s"] - call["waited_s"]),
        "retries": call["retries"],
        "error": call["error"],
    }


def _asked_itself(identity: str, spans: Sequence[Row], output: str | None, told: Told) -> Event:
    tokens = {f"{name}put_tokens": sum(span[f"tokens_{name}"] for span in spans) for name in ("in", "out")}
    last = spans[-1]
    said = told.text, None if last["status"] == "failed" else output
    return _model_event(identity, f"{identity}-m", f"{OURS}/{last['agent']}", said, _usage(Counter(tokens))) | {
        "completed": told.moment(last["end_s"]),
        "working_time": sum(span["end_s"] - span["start_s"] for span in spans),
        "error": last["error"],
    }


def _model_event(identity: str, name: str, model: str, said: tuple[str, str | None], usage: dict[str, Any]) -> Event:
    return {
        "event": "model",
        "uuid": name,
        "span_id": identity,
        "model": model,
        "input": [{"id": f"{name}-u", "role": "user", "content": said[0]}],
        "tools": [],
        "tool_choice": "none",
        "config": {},
        "output": _with_id(answered(model, said[1], usage), f"{name}-a"),
    }


def _with_id(output: dict[str, Any], name: str) -> dict[str, Any]:
    for choice in output["choices"]:
        choice["message"]["id"] = name
    return output
