"""Memory: what was asked and answered earlier, searched by words in SQLite's full-text index."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.agents.rows import text_rows
from quark_bench.dataset import Prompt
from quark_bench.models.language import FUNCTION_WORDS, words
from quark_bench.sources.packed import packed_file

RECALLED = 3
"""Memories handed on at most: they support the passages and do not replace them."""

MOST_WORDS = 64
"""Words of a prompt that are looked for; FTS5 refuses expressions that nest deeper than 256."""

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


def match_expression(text: str) -> str:
    """An FTS5 expression for any of the text's words.

    Every word is quoted and made of letters and digits only, so that nothing a prompt holds is an operator.
    """
    asked = list(dict.fromkeys(word for word in words(text) if word not in FUNCTION_WORDS))
    return " OR ".join(f'"{word}"' for word in asked[:MOST_WORDS])


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
class Memory:
    """Up to three `{"id", "prompt", "answer"}`, best first."""

    median_s: float = 0.0

    async def __call__(self, prompt: Prompt, call: Call) -> list[dict[str, str]]:
        await simulate(self.median_s, call)
        store: MemoryStore = call.ready
        return store.search(prompt.text)
