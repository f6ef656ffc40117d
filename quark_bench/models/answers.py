"""Answers as OpenAI's protocol tells them, pure: pieces of a stream, or one page, into a text and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from quark_bench.errors import MalformedReplyError, ModelServerError
from quark_bench.models.events import Event, EventReader

DONE = "[DONE]"
SHOWN = 200
"""Characters of what is no answer that an error shows."""


class Tokens(NamedTuple):
    """What the server counted."""

    into: int
    out: int


class Answer:
    """What a server has answered so far. Times are as they were given with the pieces, those of the first and the last
    that held any text; None where the answer came as one page."""

    __slots__ = ("_chosen", "_done", "_reader", "_texts", "finish", "first_s", "last_s", "tokens")

    def __init__(self) -> None:
        self._reader = EventReader()
        self._texts: list[str] = []
        self._chosen = False
        self._done = False
        self.finish: str | None = None
        self.tokens: Tokens | None = None
        self.first_s: float | None = None
        self.last_s: float | None = None

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def take(self, piece: bytes, now_s: float) -> None:
        """A piece of the stream. Raises MalformedReplyError, and ModelServerError for an error that it tells."""
        before = len(self._texts)
        for event in self._reader.feed(piece):
            self._read(event)
        if len(self._texts) > before:
            if self.first_s is None:
                self.first_s = now_s
            self.last_s = now_s

    def _read(self, event: Event) -> None:
        if event.data == DONE:
            self._done = True
            return
        page = parsed(event.data)
        if event.name == "error" or page.get("error"):
            raise ModelServerError(f"the server broke its answer off: {told_error(page, event.data)}; try again later")
        self._take_page(page, "delta")

    def take_whole(self, body: bytes) -> None:
        """The page that is the whole answer. Raises as `take` does, and MalformedReplyError where it has no choice."""
        page = parsed(body.decode("utf-8", "replace"))
        if page.get("error"):
            raise ModelServerError(f"the server answers with an error: {told_error(page, '')}; try again later")
        self._take_page(page, "message")
        self._done = True
        self.check()

    def _take_page(self, page: Mapping[str, Any], part: str) -> None:
        choices = page.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            choice = choices[0]
            said = choice.get(part)
            text = said.get("content") if isinstance(said, dict) else choice.get("text")
            if isinstance(text, str) and text:
                self._texts.append(text)
            finish = choice.get("finish_reason")
            if isinstance(finish, str):
                self.finish = finish
            self._chosen = True
        self.tokens = _tokens(page.get("usage")) or self.tokens

    def check(self) -> None:
        """At the end of what was sent. Raises MalformedReplyError where that is no whole answer."""
        if not (self._done or self.finish):
            raise MalformedReplyError(
                f"the stream ended after {len(self.text):,} characters without a finish reason or {DONE}; the server, "
                "or what stands before it, cuts answers off"
            )
        if not self._chosen:
            raise MalformedReplyError("the answer holds no choice; see whether --base-url is a server of chat models")


def parsed(text: str) -> dict[str, Any]:
    """The JSON object that a server sent. Raises MalformedReplyError, showing its start, for anything else."""
    try:
        page = json.loads(text)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict):
        raise MalformedReplyError(f"the server sent what is no JSON object: {text[:SHOWN]!r}; see what --base-url is")
    return page


def told_error(page: Mapping[str, Any], otherwise: str) -> str:
    """The message of an error in any of the forms that servers have for it."""
    error = page.get("error", page)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("type")
    return str(error or otherwise or "it gives no reason")


def _tokens(usage: Any) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens", 0)]
    if not all(type(count) is int and count >= 0 for count in counts):
        return None
    return Tokens(*counts)
