"""OfflineReader: a model without a network, which answers by quoting what it was shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quark_bench.agent import Call
from quark_bench.language import estimated_tokens
from quark_bench.model import Message, Reply
from quark_bench.models.answering import answer
from quark_bench.models.reading import Question, Source, ask, rank

_TYPED = re.compile(r"^Answer type: *(?P<kind>\w+) *\nQuestion: *(?P<text>.*)", re.MULTILINE | re.DOTALL)
_UNTYPED = re.compile(r"^Question: *(?P<text>.*)", re.MULTILINE | re.DOTALL)
_PASSAGE = re.compile(r"^\[\d+\] *", re.MULTILINE)


class OfflineReader:
    """Picks the sentence of the numbered passages that fits the question best, and cuts it to the answer type.

    It reads the last user message: passages that begin with `[1]`, a title on a line of its own where there
    are two lines, then `Answer type:` and `Question:`. Without passages it does not know. Tokens are
    estimates by words, not a tokeniser's counts; it costs nothing and never draws, so the call changes nothing.
    """

    name = "offline"

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        return self.reply_blocking(messages, call)

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        question, sources = read(messages)
        text = answer(question, rank(question, sources))
        tokens_in = sum(estimated_tokens(message["content"]) for message in messages)
        return Reply(text, tokens_in, estimated_tokens(text), estimated=True)


def read(messages: Sequence[Message]) -> tuple[Question, list[Source]]:
    """The question and the passages of the last user message; a message of another form is all question."""
    content = next((m["content"] for m in reversed(messages) if m.get("role") == "user"), "")
    asked = _TYPED.search(content) or _UNTYPED.search(content)
    shown = content[: asked.start()] if asked else ""
    sources = [_source(part) for part in _PASSAGE.split(shown)[1:]]
    found = asked.groupdict() if asked else {"text": content}
    return ask(found["text"], found.get("kind", ""), sources), sources


def _source(passage: str) -> Source:
    title, _, text = passage.strip().partition("\n")
    return Source(title, text) if text.strip() else Source("", title)
