"""What a fault makes of an answer, pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate

from quark_bench.testing import answers
from quark_bench.testing.faults import Fault
from quark_bench.testing.scripts import STREAM, End, Order, Script, framed, head, phrase, plain, refused, told

SPLIT_S = 0.002
"""Between the two halves of a character, so that they arrive apart."""
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to go on</h1></body></html>\n"

Events = list[bytes]
Change = Callable[[Events, Fault], Events]


def damaged(fault: Fault, order: Order, wall_s: float) -> Script:
    """The script of an answer that the fault has met; `wall_s` is the time of day, in seconds since the epoch."""
    if fault.status is not None:
        return _status(fault.status, fault, order, wall_s)
    if fault.kind in _OF_EVENTS:
        return _streamed(fault, order, _OF_EVENTS[fault.kind]) if order.ask.streams else told(order)
    return _OTHERS[fault.kind](fault, order)


def _status(status: int, fault: Fault, order: Order, wall_s: float) -> Script:
    headers = {**order.headers, **retry_after(fault, wall_s)}
    if not fault.body:
        return plain(status, b"", headers)
    kind, code = ("requests", "rate_limit_exceeded") if status == 429 else ("server_error", None)
    if status < 500 and status != 429:
        kind = "invalid_request_error"
    return refused(status, f"{phrase(status)} (a fault that was asked for)", kind, code, headers)


def retry_after(fault: Fault, wall_s: float) -> Mapping[str, str]:
    """Headers that say when to try again, in the fault's form."""
    seconds = fault.retry_after_s
    if seconds is None:
        return {}
    if fault.retry_after_form == "date":
        return {"retry-after": formatdate(math.ceil(wall_s + seconds), usegmt=True)}
    if fault.retry_after_form == "ms":
        return {"retry-after-ms": f"{seconds * 1000:g}", "retry-after": str(math.ceil(seconds))}
    return {"retry-after": f"{seconds:g}"}


def _drop(_: Fault, __: Order) -> Script:
    return Script(0, (), (), End.DROP)


def _drop_in_headers(_: Fault, order: Order) -> Script:
    opening = _head(told(order).parts[0])
    return Script(200, (opening[: len(opening) // 2],), (order.pace.first_s,), End.DROP)


def _cut(end: End) -> Callable[[Fault, Order], Script]:
    def cut(fault: Fault, order: Order) -> Script:
        script = told(order)
        if not order.ask.streams:
            whole = script.parts[0]
            opening = len(_head(whole))
            return replace(script, parts=(whole[: (opening + len(whole)) // 2],), end=end)
        kept = min(fault.after_tokens, len(script.parts) - 1)
        if kept:
            return replace(script, parts=script.parts[:kept], due_s=script.due_s[:kept], end=end)
        return replace(script, parts=(_head(script.parts[0]),), due_s=script.due_s[:1], end=end)

    return cut


def _slow_headers(fault: Fault, order: Order) -> Script:
    script = told(order)
    opening = _head(script.parts[0])
    slow = [opening[place : place + 1] for place in range(len(opening))]
    due_s = [fault.lasts_s * place / len(opening) for place in range(len(opening))]
    parts = [*slow, script.parts[0][len(opening) :], *script.parts[1:]]
    return replace(script, parts=parts, due_s=[*due_s, *(max(fault.lasts_s, each) for each in script.due_s)])


def _html(_: Fault, order: Order) -> Script:
    return plain(200, HTML, order.headers, "text/html; charset=utf-8")


def _huge(fault: Fault, order: Order) -> Script:
    text = "word " * math.ceil(fault.megabytes * 1e6 / len("word "))
    return told(replace(order, completion=replace(order.completion, tokens=(text,))))


def _empty_choices(_: Fault, order: Order) -> Script:
    page = json.loads(answers.body(order.completion, order.wants_usage)) | {"choices": []}
    due_s = order.pace.due_s(len(order.completion.tokens))[-1]
    if not order.ask.streams:
        return plain(200, answers.encoded(page), order.headers, due_s=due_s)
    (frame,) = framed([answers.event(page) + answers.DONE])
    return Script(200, (head(200, STREAM, order.headers) + frame,), (due_s,))


def _length(fault: Fault, order: Order) -> Script:
    tokens = order.completion.tokens[: fault.after_tokens]
    return told(replace(order, completion=replace(order.completion, tokens=tokens, finish="length")))


def _no_usage(_: Fault, order: Order) -> Script:
    return told(replace(order, usage=False))


def _bad_json(fault: Fault, order: Order) -> Script:
    if order.ask.streams:
        return _streamed(fault, order, _halved)
    body = answers.body(order.completion, order.wants_usage)
    return plain(200, body[: len(body) // 2], order.headers, due_s=told(order).due_s[-1])


def _streamed(fault: Fault, order: Order, change: Change) -> Script:
    """The stream with its events changed; each is due when the token of its place is."""
    return _stream(order, change(answers.events(order.completion, order.wants_usage), fault))


def _stream(order: Order, events: Events, due_s: Sequence[float] = ()) -> Script:
    first, *others = framed(events)
    opening = head(200, STREAM, order.headers)
    return Script(200, (opening + first, *others), due_s or order.pace.due_s(len(events)))


def _place(events: Events, fault: Fault) -> int:
    return min(fault.after_tokens, len(events) - 1)


def _halved(events: Events, fault: Fault) -> Events:
    place = _place(events, fault)
    event, end, others = events[place].partition(b"\n\n")
    events[place] = event[: len(event) // 2] + end + others
    return events


def _unnamed(events: Events, fault: Fault) -> Events:
    place = _place(events, fault)
    events[place] = events[place].removeprefix(b"data: ")
    return events


def _error_event(events: Events, fault: Fault) -> Events:
    error = answers.error_body("the model failed (a fault that was asked for)", "server_error")
    return [*events[: fault.after_tokens], b"data: " + error + b"\n\n"]


def _no_done(events: Events, _: Fault) -> Events:
    events[-1] = events[-1].removesuffix(answers.DONE)
    return events


def _crlf(events: Events, _: Fault) -> Events:
    return [each.replace(b"\n", b"\r\n") for each in events]


def _comments(events: Events, _: Fault) -> Events:
    return [b": keep-alive\n\n" + each for each in events]


def _split_character(fault: Fault, order: Order) -> Script:
    if not order.ask.streams:
        return told(order)
    tokens = list(order.completion.tokens) or [""]
    place = min(fault.after_tokens, len(tokens) - 1)
    tokens[place] += "é"
    order = replace(order, completion=replace(order.completion, tokens=tuple(tokens)))
    events = answers.events(order.completion, order.wants_usage)
    due_s = list(order.pace.due_s(len(events)))
    within = events[place].rindex("é".encode()) + 1
    events[place : place + 1] = [events[place][:within], events[place][within:]]
    due_s[place + 1 :] = [due_s[place] + SPLIT_S, *(each + SPLIT_S for each in due_s[place + 1 :])]
    return _stream(order, events, due_s)


def _head(part: bytes) -> bytes:
    return part[: part.index(b"\r\n\r\n") + 4]


_OF_EVENTS: dict[str, Change] = {
    "no-data": _unnamed,
    "error-event": _error_event,
    "no-done": _no_done,
    "crlf": _crlf,
    "comments": _comments,
}
_OTHERS: dict[str, Callable[[Fault, Order], Script]] = {
    "drop": _drop,
    "drop-in-headers": _drop_in_headers,
    "drop-in-stream": _cut(End.DROP),
    "stall": _cut(End.HOLD),
    "slow-headers": _slow_headers,
    "bad-json": _bad_json,
    "split-character": _split_character,
    "html": _html,
    "huge": _huge,
    "empty-choices": _empty_choices,
    "length": _length,
    "no-usage": _no_usage,
}
