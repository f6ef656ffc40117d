"""Memory: what was asked and answered earlier, searched by words in SQLite's full-text index.

Two kinds: the memories that come with quark-bench, which nothing changes, and the turns of the prompt's conversation.
"""

from __future__ import annotations

import sqlite3
import time
from asyncio import to_thread
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.agents.rows import text_rows
from quark_bench.conversations import Conversations, match_expression, open_conversations
from quark_bench.dataset import Prompt
from quark_bench.sources.packed import packed_file

RECALLED = 3
"""Memories handed on at most: they support the passages and do not replace them."""

_SEARCH = "SELECT id, prompt, answer FROM memories WHERE memories MATCH ? ORDER BY bm25(memories), rowid LIMIT ?"


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """Earlier prompts and their answers, in this process's memory and read-only."""

    connection: sqlite3.Connection

    def search(self, text: str, limit: int = RECALLED) -> list[dict[str, str]]:
        """`{"id", "prompt", "answer"}` of the memories nearest to a text, best first."""
        query = match_expression(text)
        if not query:
            return []
        found = self.connection.execute(_SEARCH, (query, limit)).fetchall()
        return [{"id": id_, "prompt": prompt, "answer": answer} for id_, prompt, answer in found]


def open_memory(path: Path | None = None) -> MemoryStore:
    """Load rows of `id, prompt, answer`; None reads the memories that come with quark-bench.

    Raises DataError for a row that is wrong.
    """
    rows = text_rows(path or packed_file("memories.jsonl"), ("id", "prompt", "answer"))
    # Set up in one thread and asked in another; nothing writes, so they cannot meet.
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE VIRTUAL TABLE memories USING fts5(id UNINDEXED, prompt, answer, tokenize='porter')")
    connection.executemany("INSERT INTO memories VALUES (:id, :prompt, :answer)", rows)
    connection.commit()
    connection.execute("PRAGMA query_only = ON")
    return MemoryStore(connection)


@dataclass(frozen=True, slots=True)
class Recollection:
    """The memories, and the turns of conversations beside them."""

    memories: MemoryStore
    store: Conversations

    @property
    def version(self) -> int:
        """Another number once a search may find something else."""
        return self.store.turns_version

    async def search(self, text: str, conversation: object, now_s: float) -> list[dict[str, str]]:
        """As `MemoryStore.search`, among a conversation's turns too where it is named by a text."""
        memories = self.memories.search(text)
        if not isinstance(conversation, str):
            return memories
        turns = await to_thread(self.store.search, conversation, text, RECALLED, now_s)
        # No passage and no memory has an id like it.
        told = [{"id": f"turn:{turn.id}", "prompt": turn.prompt, "answer": turn.answer} for turn in turns]
        return merged(told, memories)


def merged(
    turns: Iterable[dict[str, str]], memories: Iterable[dict[str, str]], limit: int = RECALLED
) -> list[dict[str, str]]:
    """The best of two rankings, each best first: by rank, turns first, no exchange twice.

    Scores of two indexes do not compare, ranks do (Cormack, Clarke & Büttcher 2009, "Reciprocal Rank Fusion"). So a
    conversation's best turn is always recalled, and so is the best memory.
    """
    by_rank = (each for each in chain.from_iterable(zip_longest(turns, memories)) if each is not None)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for each in by_rank:
        found.setdefault((each["prompt"], each["answer"]), each)
    return list(found.values())[:limit]


def open_recollection(path: Path) -> Recollection:
    """`open_memory`, and the store of conversations at `path`. Raises DataError without one."""
    return Recollection(open_memory(), open_conversations(path))


@dataclass(frozen=True, slots=True)
class Memory:
    """Up to three `{"id", "prompt", "answer"}`, best first."""

    median_s: float = 0.0

    async def __call__(self, prompt: Prompt, call: Call) -> list[dict[str, str]]:
        await simulate(self.median_s, call)
        ready: MemoryStore | Recollection = call.ready
        if isinstance(ready, Recollection):
            return await ready.search(prompt.text, prompt.metadata.get("conversation"), time.time())
        return ready.search(prompt.text)
