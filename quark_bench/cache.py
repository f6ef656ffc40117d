"""Cache: outputs of agents kept between runs, in one SQLite file that processes and threads share.

Readers of a write-ahead log wait for no writer, so that an event loop may read; to write, somebody may have to wait,
for no longer than BUSY_S. A read is noted in memory, and what was noted is written together.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quark_bench.errors import CacheError, describe

MOST_BYTES = 1_000_000_000
"""A million answers of a kilobyte; on a laptop's disk nobody misses it."""
MOST_AGE_S = 30 * 86_400.0
"""Models change behind their names, and what agents look up goes out of date."""
LEAST_BYTES = 65_536
"""Below this, empty tables and indices would be most of the file."""
LARGEST_PART = 4
"""A value that takes more than one part in so many of the room would drive out all others: it is not kept."""
BUSY_S = 0.5
"""Longest wait for another writer. An agent's result waits for it, so it is short."""
OPENING_S = 10.0
"""Longest wait for others that open the file at the same moment."""
NOTED_TOGETHER = 256
"""So many reads are noted in one transaction."""

APPLICATION = 0x71756172
"""`quar`, in the file's header: tells our files from other people's."""
FORMAT = 1
"""1: table `kept`."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, made_s REAL NOT NULL, used_s REAL NOT NULL, value BLOB)",
    "CREATE INDEX IF NOT EXISTS kept_used ON kept (used_s)",
    "CREATE INDEX IF NOT EXISTS kept_made ON kept (made_s)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


class SqliteCache:
    """The values least recently used go first when the file would take more than `most_bytes`; none is given that is
    older than `most_age_s`.

    It travels to another process as its path and limits, and opens the file there. Raises CacheError for a file that
    cannot be opened, is damaged or is not ours; from `get` and `put`, where the file fails them. `clock` is the time
    that all processes share.
    """

    def __init__(
        self,
        path: str | Path,
        most_bytes: int = MOST_BYTES,
        most_age_s: float = MOST_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if most_bytes < LEAST_BYTES:
            raise CacheError(f"a cache of {most_bytes:,} bytes is too small; give {LEAST_BYTES:,} or more")
        self.path = Path(path).resolve()
        self._most_bytes = most_bytes
        self._most_age_s = most_age_s
        self._clock = clock
        self._reads: dict[str, float] = {}
        self._reading, self._writing = threading.Lock(), threading.Lock()
        with self._told():
            self._reader, self._writer = _open(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return SqliteCache, (str(self.path), self._most_bytes, self._most_age_s)

    def get(self, key: str) -> bytes | None:
        """The value, unless it is too old or gone."""
        now_s = self._clock()
        asked = "SELECT value FROM kept WHERE key = ? AND made_s >= ?"
        with self._told(), self._reading:
            found = self._reader.execute(asked, (key, now_s - self._most_age_s)).fetchone()
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
            raise CacheError(f"{self.path}: a value of {len(value):,} bytes is too large for its {self._most_bytes:,}")
        noted, self._reads = self._reads, {}
        now_s = self._clock()
        with self._transaction() as connection:
            _write_reads(connection, noted)
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (key, now_s, now_s, value))
            connection.execute("DELETE FROM kept WHERE made_s < ?", (now_s - self._most_age_s,))
            while _bytes_used(connection) > self._most_bytes:
                connection.execute(
                    "DELETE FROM kept WHERE rowid = (SELECT rowid FROM kept ORDER BY used_s, rowid LIMIT 1)"
                )

    def close(self) -> None:
        """Note what was read, and let go of the file."""
        self._note(self._reads)
        for connection in (self._reader, self._writer):
            connection.close()

    def _note(self, reads: Mapping[str, float]) -> None:
        """Where the file is busy or full, values are taken for older than they are: no harm."""
        with contextlib.suppress(CacheError), self._transaction() as connection:
            _write_reads(connection, reads)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is written, or nothing."""
        if not self._writing.acquire(timeout=BUSY_S):
            raise CacheError(f"{self.path} is busy with other values")
        try:
            with self._told():
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:  # SQLite may have rolled back by itself
                        self._writer.execute("ROLLBACK")
                    raise
        finally:
            self._writing.release()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError) as error:
            raise CacheError(f"{self.path}: {describe(error)}") from error
        except sqlite3.DatabaseError as error:
            raise CacheError(
                f"{self.path} is no cache of quark-bench, or a damaged one ({error}); give another path, or delete a "
                "damaged cache with its -wal and -shm: what it held will be made again"
            ) from error


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """One connection to read and one to write. Who may not read the prompts may not read these outputs either."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    writer = sqlite3.connect(path, timeout=OPENING_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(writer, path)
        reader = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file. Raises CacheError for a file of another kind, which is left as it is."""
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        if application != APPLICATION:
            raise CacheError(f"{path} is a database of another program; give a path of its own to the cache")
        if version != FORMAT:
            raise CacheError(f"{path} was made by another version of quark-bench; delete it, or give another path")
    _write_ahead(connection)
    # Nothing is lost but the newest values when the power fails, and no write waits for the disk.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Two processes that change a new file's journal at once: SQLite refuses one at once, whatever its timeout."""
    until_s = time.monotonic() + OPENING_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.01)


def _write_reads(connection: sqlite3.Connection, reads: Mapping[str, float]) -> None:
    rows = [(used_s, key) for key, used_s in reads.items()]
    connection.executemany("UPDATE kept SET used_s = MAX(used_s, ?) WHERE key = ?", rows)


def _bytes_used(connection: sqlite3.Connection) -> int:
    """Of the file, pages that were freed left out: those are used again."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
