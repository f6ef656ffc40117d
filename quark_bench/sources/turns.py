"""Turns: a prompt of several messages, taken apart into the last one and what was said before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quark_bench.sources.cells import RowError, entries

Message = dict[str, str]
"""`{"role": "user", "content": "..."}`; other texts of a message, such as its `name`, stay beside them."""

ANSWERING = ("assistant", "tool")
"""Roles whose messages ask nothing."""


def parted(column: str, value: Any) -> tuple[list[Message], str]:
    """The earlier messages and the text of the last: of chat messages, or of texts, which are turns of the user.

    Raises RowError for a message that has no role or no text, and where nobody asks last.
    """
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        messages = [_message(column, number, each) for number, each in enumerate(value, 1)]
        if messages[-1]["role"] in ANSWERING:
            raise RowError(
                f", field {column!r}: the last message is of role {messages[-1]['role']!r}; a prompt ends with what "
                "is asked: leave that message out, and give it as the reference"
            )
    else:
        messages = [{"role": "user", "content": text} for text in entries(column, value)]
    return messages[:-1], messages[-1]["content"] if messages else ""


def _message(column: str, number: int, message: Mapping[str, Any]) -> Message:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        content = _joined(content)
    if not isinstance(role, str) or not isinstance(content, str):
        raise RowError(
            f", field {column!r}: message {number} lacks a role or a text as its content; "
            'write {"role": "user", "content": "..."}'
        )
    others = {key: text for key, text in message.items() if isinstance(key, str) and isinstance(text, str)}
    return {**others, "role": role, "content": content}


def _joined(parts: list[Any]) -> str | None:
    """The text of a content in parts; None where a part is an image or anything else but text."""
    told = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    texts = [text for text in told if isinstance(text, str)]
    return "\n\n".join(texts) if len(texts) == len(parts) else None
