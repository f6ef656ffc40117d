"""What a request asks for, and the bytes that answer it, pure: bodies, server-sent events, errors in OpenAI's shapes.

A token is a word with the space before it. Equal requests are answered with equal bytes, also in `id` and `created`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quark_bench.testing.parsing import BadRequestError

ECHO = "echo"
"""The answer that repeats the last message of the user."""
Say = Callable[[Sequence[Mapping[str, Any]]], str]
"""Answers a request's messages."""
Answering = str | Mapping[str, str] | Say | None
"""`echo`; a text; texts by regular expressions, the first that is found in the prompt; a callable; None: filler."""

CREATED = 1_767_225_600
"""Seconds since the epoch of every answer: 1 January 2026."""
DONE = b"data: [DONE]\n\n"

_FILLER = """
a good answer names what it knows and what it does not know then gives the facts in an order that helps those who read
it with one example for each claim and a plain last line that says what to do next and who can help if this was not
enough or came too late to be of any use at all
"""
_WORDS = _FILLER.split()
_TOKEN = re.compile(r"\s*\S+(?:\s+\Z)?")


@dataclass(frozen=True, slots=True)
class Ask:
    """What the body of a request asks for."""

    chat: bool
    model: str
    messages: tuple[Mapping[str, Any], ...]
    streams: bool
    wants_usage: bool
    most_tokens: int | None

    @property
    def prompt(self) -> str:
        """All messages' texts, a line each."""
        return "\n".join(map(_text_of, self.messages))

    @property
    def question(self) -> str:
        """The user's last message."""
        said = [message for message in self.messages if message.get("role", "user") == "user"]
        return _text_of(said[-1]) if said else ""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer in tokens, and what is told about it."""

    chat: bool
    model: str
    tokens: tuple[str, ...]
    prompt_tokens: int
    finish: str = "stop"

    @property
    def id(self) -> str:
        digest = zlib.crc32("".join(self.tokens).encode("utf-8", "replace"), self.prompt_tokens)
        return f"{'chatcmpl' if self.chat else 'cmpl'}-{digest:08x}"

    @property
    def usage(self) -> dict[str, int]:
        """Exactly the tokens that are streamed."""
        into, out = self.prompt_tokens, len(self.tokens)
        return {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}


def asked(body: bytes, chat: bool) -> Ask:
    """Read a request's body. Raises BadRequestError naming what is missing."""
    try:
        wanted = json.loads(body)
    except ValueError as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadRequestError("the body is no JSON object")
    if chat:
        messages = wanted.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
            raise BadRequestError("messages: give a list of objects with role and content")
    else:
        prompt = wanted.get("prompt")
        if not isinstance(prompt, str):
            raise BadRequestError("prompt: give a text")
        messages = [{"role": "user", "content": prompt}]
    options = wanted.get("stream_options") or {}
    most = wanted.get("max_completion_tokens") or wanted.get("max_tokens")
    if not (most is None or (isinstance(most, int) and most > 0)) or not isinstance(options, dict):
        raise BadRequestError("max_tokens is a whole number above 0, stream_options an object")
    streams = bool(wanted.get("stream"))
    model = str(wanted.get("model", ""))
    return Ask(chat, model, tuple(messages), streams, streams and bool(options.get("include_usage")), most)


def completed(ask: Ask, answering: Answering, tokens: int) -> Completion:
    """Answer a request; filler has `tokens` words. More than the request allows is cut, finish reason `length`."""
    prompt = ask.prompt
    text = _said(ask, prompt, answering)
    words = filler(prompt, tokens) if text is None else tuple(_TOKEN.findall(text) or ([text] if text else []))
    finish = "stop"
    if ask.most_tokens is not None and len(words) > ask.most_tokens:
        words, finish = words[: ask.most_tokens], "length"
    return Completion(ask.chat, ask.model, words, len(prompt.split()), finish)


def _said(ask: Ask, prompt: str, answering: Answering) -> str | None:
    if answering is None:
        return None
    if isinstance(answering, str):
        return ask.question if answering == ECHO else answering
    if isinstance(answering, Mapping):
        return next((text for pattern, text in answering.items() if re.search(pattern, prompt)), None)
    return answering(ask.messages)


def filler(prompt: str, tokens: int) -> tuple[str, ...]:
    """So many words that say nothing; where in the circle of words they begin is drawn from the prompt."""
    return _circle(zlib.crc32(prompt.encode("utf-8", "replace")) % len(_WORDS), tokens)


@lru_cache(maxsize=1_024)
def _circle(start: int, tokens: int) -> tuple[str, ...]:
    words = [_WORDS[(start + number) % len(_WORDS)] for number in range(tokens)]
    return tuple(word if number == 0 else f" {word}" for number, word in enumerate(words))


def body(completion: Completion, with_usage: bool) -> bytes:
    """The whole answer as one JSON object."""
    text = "".join(completion.tokens)
    said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if completion.chat else {"text": text}
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": completion.finish}
    page = _page(completion, "chat.completion", [choice])
    if with_usage:
        page["usage"] = completion.usage
    return encoded(page)


def events(completion: Completion, with_usage: bool) -> list[bytes]:
    """Server-sent events, those that come with each token together; the last has the end and `[DONE]` too."""
    groups = [b"".join(group) for group in _groups(completion)]
    end = _chunk(completion, {} if completion.chat else "", completion.finish)
    if with_usage:
        end += event(_page(completion, "chat.completion.chunk", []) | {"usage": completion.usage})
    groups[-1] += end + DONE
    return groups


def _groups(completion: Completion) -> Iterator[list[bytes]]:
    opening = [_chunk(completion, {"role": "assistant", "content": ""})] if completion.chat else []
    if not completion.tokens:
        yield opening
    for token in completion.tokens:
        yield [*opening, _chunk(completion, {"content": token} if completion.chat else token)]
        opening = []


def _chunk(completion: Completion, said: Any, finish: str | None = None) -> bytes:
    choice = {"index": 0, ("delta" if completion.chat else "text"): said, "logprobs": None, "finish_reason": finish}
    return event(_page(completion, "chat.completion.chunk", [choice]))


def _page(completion: Completion, kind: str, choices: list[Any]) -> dict[str, Any]:
    """What every page has; the older endpoint has one name for pages and parts of them."""
    name = kind if completion.chat else "text_completion"
    return {
        "id": completion.id,
        "object": name,
        "created": CREATED,
        "model": completion.model,
        "choices": choices,
    }


def event(page: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + encoded(page) + b"\n\n"


def encoded(page: Any) -> bytes:
    """JSON as text in UTF-8, without spaces; a lone surrogate, which UTF-8 has not, as a question mark."""
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def error_body(message: str, kind: str, code: str | None = None) -> bytes:
    """An error in OpenAI's shape."""
    return encoded({"error": {"message": message, "type": kind, "param": None, "code": code}})


def models_body(model: str) -> bytes:
    """What `GET /v1/models` answers."""
    listed = {"id": model, "object": "model", "created": CREATED, "owned_by": "quark-bench"}
    return encoded({"object": "list", "data": [listed]})


def _text_of(message: Mapping[str, Any]) -> str:
    """A message's text; of a list of parts, those that are text."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
