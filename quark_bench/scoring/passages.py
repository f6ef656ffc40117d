"""Passages: what an agent found, matched with the passages that answer the prompt."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from quark_bench.dataset import Prompt
from quark_bench.scoring.score import Score
from quark_bench.scoring.words import words

MEMORIES = "memories"
"""Where a prompt's metadata names, by id or text, the memories that help with it."""
TEXTS = ("text", "prompt")
"""Keys of a found passage's text; of a memory the prompt that it remembers is its text."""
READABLE = "ids, texts, or dicts with id or text"


class NotUnderstoodError(ValueError):
    """An output is not what the measure can read; the message says what is."""


class Found(NamedTuple):
    """One of the things that an agent found; a bare text may be either."""

    id: str | None
    text: str | None


def found_in(output: Any) -> list[Found]:
    """What was found, best first: a list of ids, of texts, or of dicts with `id` or `text`.

    Raises NotUnderstoodError for anything else.
    """
    if not isinstance(output, list):
        raise NotUnderstoodError(f"{told(output)} is no list; return {READABLE}, best first")
    return [_found(number, item) for number, item in enumerate(output, 1)]


def told(output: Any) -> str:
    """What kind of output it is: `a dict with answer, tokens`."""
    kind = f"a {type(output).__name__}"
    return f"{kind} with {', '.join(map(str, list(output)[:5]))}" if isinstance(output, Mapping) and output else kind


def _found(number: int, item: Any) -> Found:
    if isinstance(item, str):
        return Found(item, item)
    if isinstance(item, int) and not isinstance(item, bool):
        return Found(str(item), None)
    if isinstance(item, Mapping):
        text = next((item[key] for key in TEXTS if isinstance(item.get(key), str)), None)
        named = item.get("id")
        if named is not None or text is not None:
            return Found(None if named is None else str(named), text)
    raise NotUnderstoodError(f"item {number} of the list is {told(item)}; return {READABLE}")


def relevant_places(found: Sequence[Found], gold: Collection[str]) -> list[int | None]:
    """For each thing found, which of the distinct gold passages it is, counted from 0; None for another one.

    By id, else by text: without case, punctuation and articles, however its words are spaced.
    """
    places: dict[str, int] = {}
    for passage in gold:
        places.setdefault(key_of(passage), len(places))
    named = {passage: places[key_of(passage)] for passage in gold}
    return [
        named[each.id] if each.id in named else None if each.text is None else places.get(key_of(each.text))
        for each in found
    ]


@functools.lru_cache(maxsize=4096)
def key_of(text: str) -> str:
    """Equal for equal texts. Remembered: a passage is found for many prompts."""
    return " ".join(words(text))


def judge_recall(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """The share of the gold passages among the first k; Manning, Raghavan & Schütze 2008, section 8.4."""
    if not prompt.contexts:
        return None
    places = relevant_places(found_in(output)[:k], prompt.contexts)
    hits, gold = len(set(places) - {None}), len(set(map(key_of, prompt.contexts)))
    return Score(hits / gold, f"{hits} of {gold} gold passages among {len(places)}")


def judge_precision(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """The share of gold passages among the first k, or among all where there are fewer, each counted once; 0 where
    nothing was found."""
    if not prompt.contexts:
        return None
    return _precision(relevant_places(found_in(output)[:k], prompt.contexts))


def _precision(places: Sequence[int | None]) -> Score:
    hits = len(set(places) - {None})
    return Score(hits / len(places) if places else 0.0, f"{hits} of {len(places)} found are gold")


def judge_mrr(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """1 over the rank of the first gold passage, 0 where none is among the first k; its mean is the mean reciprocal
    rank (Voorhees 1999, TREC-8)."""
    if not prompt.contexts:
        return None
    places = relevant_places(found_in(output)[:k], prompt.contexts)
    rank = next((rank for rank, place in enumerate(places, 1) if place is not None), None)
    if rank is None:
        return Score(0.0, f"no gold passage among {len(places)}")
    return Score(1 / rank, f"the first gold passage is number {rank}")


def judge_relevance(output: Any, prompt: Prompt, k: int | None) -> Score | None:
    """The share of what was recalled that the prompt's metadata names under `memories`; 1 where nothing helps and
    nothing was recalled.

    A share of what was recalled and not of what there is: memories take room in the context, and those that do not
    help are in the way. Without such gold it is not judged: how alike memory and prompt are is what memories are
    ranked by, and would only confirm it.
    """
    gold = prompt.metadata.get(MEMORIES)
    if not isinstance(gold, list | tuple):
        return None
    found = found_in(output)[:k]
    if not gold and not found:
        return Score(1.0, "rightly nothing")
    return _precision(relevant_places(found, [str(each) for each in gold]))
