"""Scripts, pure: which bytes are due when after a request was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType

from quark_bench.testing import answers
from quark_bench.testing.answers import Ask, Completion

STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
LAST_CHUNK = b"0\r\n\r\n"
FEW = 256
"""Tokens of an answer that is short enough to be kept made."""
NONE: Mapping[str, str] = MappingProxyType({})
_STATUSES = {status.value for status in HTTPStatus}


class End(Enum):
    """What becomes of the connection after the last part."""

    KEEP = "keep"
    CLOSE = "close"
    DROP = "drop"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Script:
    """Parts of an answer; part k is due `due_s[k]` seconds after the request was read."""

    status: int
    parts: Sequence[bytes]
    due_s: Sequence[float]
    end: End = End.KEEP


@dataclass(frozen=True, slots=True)
class Pace:
    """When an answer's tokens are due: the first after `first_s`, each other `between_s` after the one before."""

    first_s: float
    between_s: float

    def due_s(self, tokens: int) -> Sequence[float]:
        """Of so many tokens, one at least."""
        first, between = self.first_s, self.between_s
        return [first + between * number for number in range(tokens)] or [first]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be told to whom, and how fast."""

    ask: Ask
    completion: Completion
    pace: Pace
    usage: bool
    headers: Mapping[str, str]

    @property
    def wants_usage(self) -> bool:
        """Whether the answer tells the tokens it took; a stream does where it was asked to."""
        return self.usage and (self.ask.wants_usage or not self.ask.streams)


def told(order: Order) -> Script:
    """A healthy answer, streamed or plain; a plain one comes when the last token would have."""
    completion = order.completion
    due_s = order.pace.due_s(len(completion.tokens))
    if not order.ask.streams:
        return plain(200, answers.body(completion, order.wants_usage), order.headers, due_s=due_s[-1])
    make = _kept_frames if len(completion.tokens) <= FEW else _frames
    frames = make(completion, order.wants_usage)
    return Script(200, (head(200, STREAM, order.headers) + frames[0], *frames[1:]), due_s)


def plain(status: int, body: bytes, headers: Mapping[str, str] = NONE, kind: str = JSON, due_s: float = 0.0) -> Script:
    """An answer in one part."""
    return Script(status, (head(status, kind, headers, len(body)) + body,), (due_s,))


def refused(status: int, message: str, kind: str, code: str | None, headers: Mapping[str, str] = NONE) -> Script:
    """An error in OpenAI's shape that comes at once."""
    return plain(status, answers.error_body(message, kind, code), headers)


def head(status: int, kind: str, headers: Mapping[str, str] = NONE, length: int | None = None) -> bytes:
    """A status line and headers; without a length the body comes in chunks."""
    return _kept_head(status, kind, length) + _lines(headers) + b"\r\n"


def framed(events: Sequence[bytes]) -> tuple[bytes, ...]:
    """Each as an HTTP chunk, the last with the chunk that ends the body."""
    chunks = [b"%x\r\n%b\r\n" % (len(each), each) for each in events]
    chunks[-1] += LAST_CHUNK
    return tuple(chunks)


def phrase(status: int) -> str:
    """`Too Many Requests`; nothing for a status without a name."""
    return HTTPStatus(status).phrase if status in _STATUSES else ""


def _frames(completion: Completion, with_usage: bool) -> tuple[bytes, ...]:
    return framed(answers.events(completion, with_usage))


_kept_frames = lru_cache(maxsize=1_024)(_frames)


@lru_cache(maxsize=1_024)
def _kept_head(status: int, kind: str, length: int | None) -> bytes:
    sized = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 {status} {phrase(status)}\r\ncontent-type: {kind}\r\n{sized}\r\n".encode()


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
