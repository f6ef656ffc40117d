"""Context: what the model is shown beside the question, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from quark_bench.language import TOKENS_PER_WORD, estimated_tokens
from quark_bench.model import Message

BUDGET = 700
"""Tokens of context: about seven passages of this knowledge, and short enough for any model."""

INSTRUCTION = (
    "You answer questions from the numbered passages alone, in one short sentence and in their words. "
    "Where the answer type is number, give the number only; where it is yesno, yes or no only. "
    "If the passages do not hold the answer, say: I do not know."
)


class Item(NamedTuple):
    """One entry of a context: a passage, or an earlier question (the title) with its answer (the text)."""

    id: str
    title: str
    text: str

    @property
    def tokens(self) -> int:
        return estimated_tokens(self.title) + estimated_tokens(self.text)


def build_context(
    passages: Sequence[Mapping[str, Any]], memories: Sequence[Mapping[str, Any]], budget: int = BUDGET
) -> tuple[Item, ...]:
    """Passages in their order, then memories, no id and no text twice, within `budget` estimated tokens.

    The first item that is too long is cut at the budget, and nothing follows it.
    """
    items: list[Item] = []
    room = budget
    for item in _without_repeats(passages, memories):
        if item.tokens > room:
            short = _cut(item, room)
            said = short.text in {"", *(shown.text for shown in items)}
            return tuple(items) if said else (*items, short)
        items.append(item)
        room -= item.tokens
    return tuple(items)


def _without_repeats(passages: Sequence[Mapping[str, Any]], memories: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    offered = [Item(str(p["id"]), _line(p["title"]), _line(p["text"])) for p in passages]
    offered += [Item(str(m["id"]), _line(m["prompt"]), _line(m["answer"])) for m in memories]
    ids: set[str] = set()
    texts: set[str] = set()
    for item in offered:
        if item.id not in ids and item.text not in texts:
            yield item
        ids.add(item.id)
        texts.add(item.text)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(item: Item, tokens: int) -> Item:
    room = int((tokens - estimated_tokens(item.title)) / TOKENS_PER_WORD)
    return item._replace(text=" ".join(item.text.split()[: max(0, room)]))


def messages(question: str, category: str, context: Sequence[Item], history: Sequence[Message] = ()) -> list[Message]:
    """A system message, what was said before, and a user message: passages numbered from 1, each under its title, then
    type and question."""
    numbered = [f"[{n}] {item.title}\n{item.text}" for n, item in enumerate(context, 1)]
    passages = "\n".join(numbered) or "(none)"
    user = f"Passages:\n{passages}\n\nAnswer type: {category}\nQuestion: {question}"
    return [{"role": "system", "content": INSTRUCTION}, *history, {"role": "user", "content": user}]
