"""Retrieval: the passages of the knowledge that are nearest to a prompt, by BM25."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.agents.lessons import factors, subject
from quark_bench.agents.rows import text_rows
from quark_bench.conversations import Conversations, open_conversations
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError
from quark_bench.language import content_stems
from quark_bench.sources.packed import packed_file

RETRIEVED = 5
"""Passages handed on at most."""


class Passage(NamedTuple):
    """A piece of the knowledge. The title may be empty."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class PassageIndex:
    """The passages and their BM25 weights, in the same order; `places` are positions in it by id."""

    passages: tuple[Passage, ...]
    weights: Any
    places: Mapping[str, int]

    def search(
        self, text: str, limit: int = RETRIEVED, factors: Mapping[str, float] = MappingProxyType({})
    ) -> list[dict[str, Any]]:
        """`{"id", "title", "text", "score"}` of the passages nearest to a text, best first; none that shares no word.

        The score is BM25's times the passage's factor, if it has one: it orders the passages of one prompt and has no
        unit.
        """
        stems = [stem for stem in content_stems(text) if stem in self.weights.vocab_dict]
        if not stems:
            return []
        scores = self.weights.get_scores(stems)
        for passage, factor in factors.items():
            if passage in self.places:  # the knowledge may have changed since the lesson
                scores[self.places[passage]] *= factor
        best = (-scores).argsort(kind="stable")[:limit].tolist()
        return [{**self.passages[n]._asdict(), "score": float(scores[n])} for n in best if scores[n] > 0]


def read_knowledge(path: str | Path) -> tuple[Passage, ...]:
    """The passages of a JSONL file with `id`, `text` and, if it likes, `title`.

    Raises DataError, beginning with the file and the row, for a row that is wrong or an id that occurs twice.
    """
    return tuple(Passage(row["id"], row["title"], row["text"]) for row in text_rows(path, ("id", "text"), ("title",)))


def passages_of(dataset: Dataset) -> tuple[Passage, ...]:
    """The contexts of all prompts as passages, each text once, under ids as `PROMPT_ID/1`.

    Raises DataError where no prompt has any.
    """
    found: dict[str, Passage] = {}
    for prompt in dataset:
        for number, text in enumerate(prompt.contexts, 1):
            found.setdefault(text, Passage(f"{prompt.id}/{number}", "", text))
    if not found:
        raise DataError(
            f"{dataset.name}: no prompt has contexts to take as knowledge; say where they are with "
            "--field contexts=COLUMN, or give a JSONL file of id, text"
        )
    return tuple(found.values())


def index_passages(passages: Sequence[Passage] | None = None) -> PassageIndex:
    """Weigh the words of the passages; None reads the knowledge that comes with quark-bench."""
    import bm25s

    chosen = tuple(read_knowledge(packed_file("knowledge.jsonl")) if passages is None else passages)
    weights = bm25s.BM25()
    # A title says what its passage is about: its words count twice.
    weights.index([content_stems(f"{p.title} {p.title} {p.text}") for p in chosen], show_progress=False)
    return PassageIndex(chosen, weights, {passage.id: place for place, passage in enumerate(chosen)})


@dataclass(frozen=True, slots=True)
class TaughtIndex:
    """An index, and the lessons of earlier answers that raise and lower its scores."""

    index: PassageIndex
    store: Conversations

    @property
    def version(self) -> int:
        """Another number once a search may find something else."""
        return self.store.lessons_version

    def search(self, text: str) -> list[dict[str, Any]]:
        """As `PassageIndex.search`; reads a file."""
        asked = subject(text)
        return self.index.search(text, factors=factors(asked, self.store.lessons(asked)))


def open_taught_index(passages: Sequence[Passage] | None, path: Path) -> TaughtIndex:
    """`index_passages`, with the lessons in the store of conversations at `path`. Raises DataError without one."""
    return TaughtIndex(index_passages(passages), open_conversations(path))


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Up to five `{"id", "title", "text", "score"}`, best first."""

    median_s: float = 0.0

    async def __call__(self, prompt: Prompt, call: Call) -> list[dict[str, Any]]:
        await simulate(self.median_s, call)
        index: PassageIndex | TaughtIndex = call.ready
        if isinstance(index, TaughtIndex):
            return await to_thread(index.search, prompt.text)
        return index.search(prompt.text)
