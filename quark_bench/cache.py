"""Cache: outputs of agents kept between runs, in one SQLite file that processes and threads share.

Readers of a write-ahead log wait for no writer, so that an event loop may read; to write, somebody may have to wait.
A read is noted in memory, and what was noted is written together.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError, QuarkBenchError, UsageError
from quark_bench.sqlite_file import Kind, SqliteFile

MOST_BYTES = 1_000_000_000
"""A million answers of a kilobyte; on a laptop's disk nobody misses it."""
MOST_AGE_S = 30 * 86_400.0
"""Models change behind their names, and what agents look up goes out of date."""
LEAST_BYTES = 65_536
"""Below this, empty tables and indices would be most of the file."""
LARGEST_PART = 4
"""A value that takes more than one part in so many of the room would drive out all others: it is not kept."""
BUSY_S = 0.5
"""Longest wait for another process that writes. An agent's result waits for it, so it is short."""
NOTED_TOGETHER = 256
"""So many reads are noted in one transaction."""

_STATEMENTS = (
    "CREATE TABLE kept (key TEXT PRIMARY KEY, made_s REAL NOT NULL, used_s REAL NOT NULL, value BLOB)",
    "CREATE INDEX kept_used ON kept (used_s)",
    "CREATE INDEX kept_made ON kept (made_s)",
)
KEPT = Kind("cache of outputs", int.from_bytes(b"quar", "big"), 1, _STATEMENTS)
"""Formats of the file:
    1   first one
"""


class SqliteCache:
    """The values least recently used go first when the file would take more than `most_bytes`; none is given that is
    older than `most_age_s`.

    It travels to another process as its path and limits, and opens the file there. Raises as SqliteFile does: DataError
    for a foreign or a damaged file, ExecutionError for one that cannot be written. `clock` is the time that all
    processes share.
    """

    def __init__(
        self,
        path: str | Path,
        most_bytes: int = MOST_BYTES,
        most_age_s: float = MOST_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if most_bytes < LEAST_BYTES:
            raise UsageError(f"a cache of {most_bytes:,} bytes is too small; give {LEAST_BYTES:,} or more")
        self._most_bytes = most_bytes
        self._most_age_s = most_age_s
        self._clock = clock
        self._reads: dict[str, float] = {}
        self._file = SqliteFile(path, KEPT, BUSY_S)

    def __reduce__(self) -> tuple[Any, ...]:
        return SqliteCache, (str(self.path), self._most_bytes, self._most_age_s)

    @property
    def path(self) -> Path:
        return self._file.path

    def get(self, key: str) -> bytes | None:
        """The value, unless it is too old or gone."""
        now_s = self._clock()
        asked = "SELECT value FROM kept WHERE key = ? AND made_s >= ?"
        with self._file.reading() as connection:
            found = connection.execute(asked, (key, now_s - self._most_age_s)).fetchone()
        if found is None:
            return None
        self._reads[key] = now_s
        if len(self._reads) >= NOTED_TOGETHER:
            noted, self._reads = self._reads, {}
            threading.Thread(target=self._note, args=(noted,), name="quark-bench-cache", daemon=True).start()
        return bytes(found[0])

    def put(self, key: str, value: bytes) -> None:
        """Keep the value in place of an older one; what is too old, or too much, goes."""
        if len(value) > self._most_bytes // LARGEST_PART:
            raise DataError(f"{self.path}: a value of {len(value):,} bytes is too large for its {self._most_bytes:,}")
        noted, self._reads = self._reads, {}
        now_s = self._clock()
        with self._file.writing() as connection:
            _write_reads(connection, noted)
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (key, now_s, now_s, value))
            connection.execute("DELETE FROM kept WHERE made_s < ?", (now_s - self._most_age_s,))
            while _bytes_used(connection) > self._most_bytes:
                connection.execute(
                    "DELETE FROM kept WHERE rowid = (SELECT rowid FROM kept ORDER BY used_s, rowid LIMIT 1)"
                )

    def close(self) -> None:
        """Note what was read, and let go of the file; again does nothing."""
        self._note(self._reads)
        self._reads = {}
        self._file.close()

    def _note(self, reads: Mapping[str, float]) -> None:
        """Where the file is busy, full or closed, values are taken for older than they are: no harm."""
        if reads:
            with contextlib.suppress(QuarkBenchError), self._file.writing() as connection:
                _write_reads(connection, reads)


def _write_reads(connection: sqlite3.Connection, reads: Mapping[str, float]) -> None:
    rows = [(used_s, key) for key, used_s in reads.items()]
    connection.executemany("UPDATE kept SET used_s = MAX(used_s, ?) WHERE key = ?", rows)


def _bytes_used(connection: sqlite3.Connection) -> int:
    """Of the file, pages that were freed left out: those are used again."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
