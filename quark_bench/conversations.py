"""Conversations: what was asked and answered, and what the answers taught, kept in one file between sessions.

A turn is found again in its own conversation alone. Lessons are about the knowledge, and belong to all.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

from quark_bench.errors import DataError, UsageError
from quark_bench.language import FUNCTION_WORDS, words
from quark_bench.sqlite_file import Kind, SqliteFile

HALF_LIFE_S = 86_400.0
"""A day: what was said in this sitting counts almost whole, and what was said a week ago hardly at all."""

LATEST = 3
"""Turns of a conversation that are looked at whatever was asked: `and what about that?` shares no word with them."""

LONGEST_TEXT = 20_000
"""Characters kept of a prompt or an answer: no model is shown as many."""

MOST_WORDS = 64
"""Words that are looked for; FTS5 refuses expressions that nest deeper than 256."""

MOST_LESSONS = 10_000
MOST_VERDICTS = 50
"""Passages that a lesson speaks of: what ten quite different retrievals find."""

NEAREST_LESSONS = 32

_STATEMENTS = (
    "CREATE TABLE versions (what TEXT PRIMARY KEY, number INTEGER NOT NULL)",
    # Two files that count from the same number would be taken for one another by who kept a number of either.
    "INSERT INTO versions VALUES ('turns', abs(random() >> 2)), ('lessons', abs(random() >> 2))",
    """CREATE TABLE turns (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, conversation TEXT NOT NULL,
        prompt TEXT NOT NULL, answer TEXT NOT NULL, at_s REAL NOT NULL, UNIQUE (conversation, id))""",
    "CREATE INDEX turns_by_time ON turns (conversation, at_s)",
    """CREATE VIRTUAL TABLE turn_words USING fts5(
        prompt, answer, content = 'turns', content_rowid = 'number', tokenize = 'porter')""",
    """CREATE TRIGGER turn_added AFTER INSERT ON turns BEGIN
        INSERT INTO turn_words (rowid, prompt, answer) VALUES (new.number, new.prompt, new.answer);
        UPDATE versions SET number = number + 1 WHERE what = 'turns'; END""",
    """CREATE TRIGGER turn_dropped AFTER DELETE ON turns BEGIN
        INSERT INTO turn_words (turn_words, rowid, prompt, answer)
        VALUES ('delete', old.number, old.prompt, old.answer); END""",
    "CREATE TABLE lessons (number INTEGER PRIMARY KEY, stems TEXT UNIQUE NOT NULL, verdicts TEXT NOT NULL)",
    "CREATE VIRTUAL TABLE lesson_words USING fts5(stems, content = 'lessons', content_rowid = 'number')",
    """CREATE TRIGGER lesson_added AFTER INSERT ON lessons BEGIN
        INSERT INTO lesson_words (rowid, stems) VALUES (new.number, new.stems);
        UPDATE versions SET number = number + 1 WHERE what = 'lessons'; END""",
    """CREATE TRIGGER lesson_changed AFTER UPDATE ON lessons BEGIN
        UPDATE versions SET number = number + 1 WHERE what = 'lessons'; END""",
    """CREATE TRIGGER lesson_dropped AFTER DELETE ON lessons BEGIN
        INSERT INTO lesson_words (lesson_words, rowid, stems) VALUES ('delete', old.number, old.stems); END""",
)
STORE = Kind("store of conversations", int.from_bytes(b"qbcv", "big"), 1, _STATEMENTS)
"""Formats of the file:
    1   first one
"""

_ADD = """INSERT INTO turns (id, conversation, prompt, answer, at_s) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (conversation, id) DO NOTHING"""
# CROSS fixes the order: the other way round, the text is searched for again for every turn of the conversation.
_MATCHING = """SELECT number, at_s, -bm25(turn_words) FROM turn_words CROSS JOIN turns ON number = turn_words.rowid
    WHERE turn_words MATCH ? AND conversation = ?"""
_LATEST = "SELECT number, at_s, 0.0 FROM turns WHERE conversation = ? ORDER BY at_s DESC, number DESC LIMIT ?"
_TURN = "SELECT id, conversation, prompt, answer, at_s FROM turns WHERE number = ?"
_HISTORY = f"{_TURN.partition(' WHERE')[0]} WHERE conversation = ? ORDER BY at_s DESC, number DESC LIMIT ?"
_LEARN = """INSERT INTO lessons (stems, verdicts) VALUES (?, ?)
    ON CONFLICT (stems) DO UPDATE SET verdicts = excluded.verdicts"""
_NEAREST = """SELECT lessons.stems, verdicts FROM lesson_words CROSS JOIN lessons ON number = lesson_words.rowid
    WHERE lesson_words MATCH ? ORDER BY bm25(lesson_words), number DESC LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt of a conversation and its answer, at `at_s` seconds since the epoch."""

    id: str
    conversation: str
    prompt: str
    answer: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the answer to a prompt taught of the passages that were retrieved for it, by their ids.

    `stems` are the prompt's, words without a space; `bore` are the passages that bore the answer out, `idle` those that
    held nothing of it.
    """

    stems: frozenset[str]
    bore: frozenset[str]
    idle: frozenset[str]


class Candidate(NamedTuple):
    """A turn that may be worth recalling. `relevance` is 0 where it shares no word with what was asked."""

    number: int
    at_s: float
    relevance: float


class Conversations:
    """The turns and lessons in the file at `path`, which is made where there is none.

    Any number of threads, and of processes of one machine, may read and write at once. Of more than `most_turns` turns,
    and of more than MOST_LESSONS lessons, the first to come are dropped. Raises as SqliteFile does: DataError for a
    foreign or a damaged file.
    """

    def __init__(self, path: str | Path, most_turns: int = 10_000) -> None:
        self.most_turns = most_turns
        self._file = SqliteFile(path, STORE)

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def turns_version(self) -> int:
        """Another number once any process has written what changes a search."""
        return self._version("turns")

    @property
    def lessons_version(self) -> int:
        """Another number once any process has written what changes a lesson."""
        return self._version("lessons")

    @property
    def version(self) -> int:
        """Another number once either has changed."""
        return self.turns_version + self.lessons_version

    def add(self, conversation: str, prompt: str, answer: str, at_s: float, turn_id: str | None = None) -> str:
        """Keep a turn; its id, made here where none is given. A conversation keeps the first turn of an id alone."""
        id_ = turn_id or f"turn-{secrets.token_hex(8)}"
        turn = (_name(id_), _name(conversation), _text(prompt), _text(answer), at_s)
        with self._file.writing() as connection:
            connection.execute(_ADD, turn)
            _drop_first(connection, "turns", self.most_turns)
        return id_

    def search(self, conversation: str, text: str, limit: int, now_s: float) -> list[Turn]:
        """The turns of a conversation most worth recalling for a text, see `ranked`, best first."""
        query = match_expression(text)
        named = _name(conversation)
        with self._file.reading() as connection:
            found = connection.execute(_LATEST, (named, LATEST)).fetchall()
            found += connection.execute(_MATCHING, (query, named)).fetchall() if query else []
            best = ranked((Candidate(*row) for row in found), now_s)[: max(0, limit)]
            return [Turn(*connection.execute(_TURN, (number,)).fetchone()) for number in best]

    def history(self, conversation: str, limit: int) -> list[Turn]:
        """The last turns of a conversation, the newest last."""
        with self._file.reading() as connection:
            rows = connection.execute(_HISTORY, (_name(conversation), max(0, limit))).fetchall()
        return [Turn(*row) for row in reversed(rows)]

    def learn(self, lesson: Lesson) -> None:
        """Keep a lesson. Beside an earlier one of the same stems, its verdicts count and the other's are kept; the
        same lesson again changes nothing: it is no new evidence."""
        said = dict.fromkeys(sorted(lesson.idle), False) | dict.fromkeys(sorted(lesson.bore), True)
        if not said or not lesson.stems:
            return
        stems = _text(" ".join(sorted(lesson.stems)))
        with self._file.writing() as connection:
            row = connection.execute("SELECT verdicts FROM lessons WHERE stems = ?", (stems,)).fetchone()
            known = json.loads(row[0]) if row else {}
            older = [(passage, bore) for passage, bore in known.items() if passage not in said]
            verdicts = dict([*older, *said.items()][-MOST_VERDICTS:])
            if verdicts != known:
                connection.execute(_LEARN, (stems, json.dumps(verdicts)))
                _drop_first(connection, "lessons", MOST_LESSONS)

    def lessons(self, stems: Collection[str]) -> list[Lesson]:
        """The lessons of prompts that share stems with these, the nearest first, at most NEAREST_LESSONS."""
        if not stems:
            return []
        with self._file.reading() as connection:
            rows = connection.execute(_NEAREST, (any_of(sorted(stems)), NEAREST_LESSONS)).fetchall()
        return [_lesson(*row) for row in rows]

    def close(self) -> None:
        """Close the file; again does nothing."""
        self._file.close()

    def _version(self, what: str) -> int:
        with self._file.reading() as connection:
            return int(connection.execute("SELECT number FROM versions WHERE what = ?", (what,)).fetchone()[0])


def ranked(candidates: Iterable[Candidate], now_s: float) -> list[int]:
    """Numbers of the candidates, the most worth recalling first; of equals the more relevant, then the newer.

    Worth is relevance over that of the most relevant, plus recency, which halves every HALF_LIFE_S: so the best match
    is first however old it is, and the last thing said is not far behind it. Relevance is BM25's. After Park et al.
    2023, "Generative Agents", section 4.1, without importance, which takes a model to judge.
    """
    known = {each.number: each for each in candidates}
    most = max((each.relevance for each in known.values()), default=0.0) or 1.0

    def worth(each: Candidate) -> tuple[float, float, float, int]:
        recency = 2.0 ** -(max(0.0, now_s - each.at_s) / HALF_LIFE_S)
        return each.relevance / most + recency, each.relevance, each.at_s, each.number

    return [each.number for each in sorted(known.values(), key=worth, reverse=True)]


def match_expression(text: str) -> str:
    """An FTS5 expression for any of a text's words that carry meaning; empty where it has none."""
    return any_of(word for word in words(text) if word not in FUNCTION_WORDS)


def any_of(wanted: Iterable[str]) -> str:
    """An FTS5 expression for any of some words. Each is quoted, so that nothing a prompt holds is an operator."""
    distinct = list(dict.fromkeys(word.replace('"', '""') for word in wanted))
    return " OR ".join(f'"{word}"' for word in distinct[:MOST_WORDS])


_opened: WeakValueDictionary[tuple[int, Path], Conversations] = WeakValueDictionary()
_opening = threading.Lock()


def open_conversations(path: str | Path) -> Conversations:
    """The store at `path`, one for all agents of this process that use it: closed once none does, and by nobody else.

    Raises DataError where no such file is on this machine: agents elsewhere would each remember something else.
    """
    place = Path(path).absolute()
    with _opening:
        store = _opened.get((os.getpid(), place))  # a forked child may not use its parent's connection
        if store is None:
            if not place.exists():
                raise DataError(f"{place}: not on this machine; run the agents where the store of conversations is")
            store = _opened[os.getpid(), place] = Conversations(place)
        return store


def _drop_first(connection: sqlite3.Connection, table: str, most: int) -> None:
    """Numbers go up one by one, and only the lowest are ever dropped: `most` stay."""
    connection.execute(f"DELETE FROM {table} WHERE number <= (SELECT max(number) FROM {table}) - ?", (most,))  # noqa: S608


def _lesson(stems: str, verdicts: str) -> Lesson:
    said = json.loads(verdicts)
    bore = frozenset(passage for passage, bears in said.items() if bears)
    return Lesson(frozenset(stems.split()), bore, frozenset(said) - bore)


def _text(text: str) -> str:
    """As much as is kept; half a surrogate pair, which a model's broken JSON may hold, cannot be."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def _name(name: str) -> str:
    """Names must stay apart, so none is mended. Raises UsageError for one that cannot be kept."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name!r} holds half a character; give a conversation and a turn a whole name") from None
    return name
