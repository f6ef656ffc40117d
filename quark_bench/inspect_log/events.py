"""Events of a trial as spans and questions to models: its agents are the log's outermost agents, else its solvers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from quark_bench.record import ModelCall, Span, SpanStatus

Event = Mapping[str, Any]
KINDS = ("agent", "solver")
"""Types of Inspect's spans that stand for agents; the second where a trial has none of the first."""
WHOLE = "solver"
"""The agent of a trial without either."""
SCORING = frozenset({"scorers", "scorer"})
"""What models are asked there is no part of the pipeline."""


class Tokens(NamedTuple):
    """Tokens and dollars of a model's answers."""

    tokens_in: int
    tokens_out: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Whole:
    """A trial as a whole: its prompt, the start of its session, and its own, in seconds since 1970 and after that."""

    prompt_id: str
    session_s: float
    start_s: float
    end_s: float


def offset(moment: str | None, session_s: float) -> float | None:
    """Seconds after the session's start."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp() - session_s


def tokens_of(usages: Iterable[Mapping[str, Any] | None]) -> Tokens:
    """Tokens that were read from a model's own cache count too."""
    found = [each or {} for each in usages]
    read = ("input_tokens", "input_tokens_cache_write", "input_tokens_cache_read")
    return Tokens(
        sum(int(each.get(name) or 0) for each in found for name in read),
        sum(int(each.get("output_tokens") or 0) for each in found),
        sum(float(each.get("total_cost") or 0.0) for each in found),
    )


def text_of(content: Any, attachments: Mapping[str, str]) -> str:
    """A message's content, which is a text or a list of parts; long texts stand among the attachments."""
    if isinstance(content, list):
        parts = (text_of(each.get("text"), attachments) for each in content if isinstance(each, Mapping))
        return "\n".join(filter(None, parts))
    if not isinstance(content, str):
        return ""
    return attachments.get(content.removeprefix("attachment://"), content)


def spans_of(
    events: Sequence[Event], whole: Whole, attachments: Mapping[str, str]
) -> tuple[list[Span], list[ModelCall]]:
    """The agents' calls in the order in which they began, and what they asked."""
    begun = {event["id"]: event for event in events if event.get("event") == "span_begin"}
    ended = {event["id"]: offset(event.get("timestamp"), whole.session_s) for event in events if _ends(event)}
    chosen = next((found for kind in KINDS if (found := _outermost(begun, kind))), {})
    names = _named(chosen, begun)
    asked: defaultdict[str, list[ModelCall]] = defaultdict(list)
    for event in events:
        if event.get("event") == "model" and not event.get("pending"):
            place = _within(event.get("span_id"), begun, chosen)
            if place is not None:
                name = names.get(place, WHOLE)
                asked[place].append(_call(event, whole, name, len(asked[place]) + 1, attachments))
    if not chosen:
        return [_span(WHOLE, whole, (whole.start_s, whole.end_s), asked[WHOLE])], asked[WHOLE]
    spans = []
    for identity, name in names.items():
        start_s = offset(begun[identity].get("timestamp"), whole.session_s) or whole.start_s
        end_s = ended.get(identity)
        spans.append(_span(name, whole, (start_s, whole.end_s if end_s is None else end_s), asked[identity]))
    return sorted(spans, key=lambda span: span.start_s), [call for calls in asked.values() for call in calls]


def _ends(event: Event) -> bool:
    return event.get("event") == "span_end"


def _outermost(begun: Mapping[str, Event], kind: str) -> dict[str, Event]:
    """The spans of that type that are in no other of it."""

    def is_inside(event: Event) -> bool:
        return any(begun[each].get("type") == kind for each in _around(event.get("parent_id"), begun))

    return {name: event for name, event in begun.items() if event.get("type") == kind and not is_inside(event)}


def _around(identity: str | None, begun: Mapping[str, Event]) -> Iterator[str]:
    """A span and those that it is in, innermost first."""
    seen = set()
    while identity in begun and identity not in seen:
        assert identity is not None, "it names a span"
        seen.add(identity)
        yield identity
        identity = begun[identity].get("parent_id")


def _within(identity: str | None, begun: Mapping[str, Event], chosen: Mapping[str, Event]) -> str | None:
    """Which agent's call an event is part of; None for one that is outside the pipeline."""
    around = list(_around(identity, begun))
    if any(begun[each].get("type") in SCORING for each in around):
        return None
    return next((each for each in around if each in chosen), None) if chosen else WHOLE


def _named(chosen: Mapping[str, Event], begun: Mapping[str, Event]) -> dict[str, str]:
    """A name for each call: an agent that is called again in the same trial is told as `name 2`."""
    times: Counter[str] = Counter()
    names = {}
    for identity in chosen:
        name = str(begun[identity].get("name") or "agent")
        times[name] += 1
        names[identity] = name if times[name] == 1 else f"{name} {times[name]}"
    return names


def _span(name: str, whole: Whole, times_s: tuple[float, float], calls: Sequence[ModelCall]) -> Span:
    failed = bool(calls) and calls[-1].status == "failed"
    return Span(
        prompt_id=whole.prompt_id,
        agent=name,
        attempt=1,
        status=SpanStatus.FAILED.value if failed else SpanStatus.OK.value,
        start_s=times_s[0],
        end_s=max(times_s),
        queue_s=None,  # type: ignore[arg-type] # no log tells it
        error=calls[-1].error if failed else None,
        tokens_in=sum(call.tokens_in for call in calls),
        tokens_out=sum(call.tokens_out for call in calls),
        first_token_s=None,
        simulated_s=0.0,
        waited_s=sum(call.waited_s for call in calls),
        worker="",
    )


def _call(event: Event, whole: Whole, agent: str, number: int, attachments: Mapping[str, str]) -> ModelCall:
    output = event.get("output") or {}
    start_s = offset(event.get("timestamp"), whole.session_s) or whole.start_s
    worked_s = float(event.get("working_time") or 0.0)
    end_s = offset(event.get("completed"), whole.session_s)
    end_s = start_s + worked_s if end_s is None else max(start_s, end_s)
    choice: Mapping[str, Any] = next(iter(output.get("choices") or ()), {})
    tokens = tokens_of([output.get("usage")])
    error = event.get("error")
    return ModelCall(
        prompt_id=whole.prompt_id,
        agent=agent,
        attempt=1,
        number=number,
        model=str(event.get("model") or output.get("model") or "unknown"),
        status="failed" if error else "ok",
        start_s=start_s,
        sent_s=start_s,
        end_s=end_s,
        waited_s=max(0.0, end_s - start_s - worked_s) if worked_s else 0.0,
        first_token_s=None,
        inter_token_s=None,
        tokens_in=tokens.tokens_in,
        tokens_out=tokens.tokens_out,
        estimated=False,
        cost_usd=tokens.cost_usd,
        finish_reason=choice.get("stop_reason"),
        retries=int(event.get("retries") or 0),
        error=str(error) if error else None,
        requests_left=None,
        tokens_left=None,
        asked="",
        reply=text_of((choice.get("message") or {}).get("content"), attachments) if choice else None,
        worker="",
    )
