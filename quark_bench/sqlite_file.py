"""SQLite file: what many threads and processes write at once, and a process that is killed leaves whole.

Write-ahead log: who reads never waits for who writes, and writers wait for each other. The log needs memory that is
shared, so all processes must run on one machine.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from quark_bench.errors import DataError, ExecutionError

PATIENCE_S = 10.0
"""How long a writer waits for the others; a transaction takes well under a millisecond."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file holds. `application_id` (31 bits) and `version` stand in its header, and tell it from the files of
    other programs and of other versions; `statements` make its tables."""

    name: str
    application_id: int
    version: int
    statements: tuple[str, ...]


class SqliteFile:
    """A file of one kind, made where there is none: one connection to read and one to write, each used by one thread at
    a time, so that who reads waits for no writer of this process either.

    A new file is readable by its owner alone, as is the last folder on the way to it where that is new too. Raises
    DataError, beginning with the path, where something else is at that place, and for a damaged file, which may show
    later; ExecutionError for a disk that is full, or a file that others hold for longer than `patience_s`.
    """

    def __init__(self, path: str | Path, kind: Kind, patience_s: float = PATIENCE_S) -> None:
        self.path = Path(path).absolute()
        self._kind = kind
        self._reading, self._writing = threading.Lock(), threading.Lock()
        with self._telling():
            if not self.path.exists():
                _make(self.path, kind)
            self._reader, self._writer = (_connect(self.path, patience_s) for _ in range(2))
            self._closing = weakref.finalize(self, _close, self._reader, self._writer)
            _check(self.path, self._reader, kind)
            # Nothing but the newest transactions is lost when the power fails, and no writer waits for the disk.
            self._writer.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read within is of one moment."""
        with self._reading, self._using(self._reader, "DEFERRED") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written within is kept or, after an exception, nothing of it."""
        with self._writing, self._using(self._writer, "IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file; again does nothing."""
        with self._reading, self._writing:
            self._closing()

    @contextmanager
    def _using(self, connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
        if not self._closing.alive:
            raise ExecutionError(f"{self.path}: this {self._kind.name} was closed; open it again")
        with self._telling(), _transaction(connection, begin):
            yield connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Errors of SQLite and of the file system, told to a person."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path}: cannot be made: {error.strerror}; choose another place") from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bits say more of the same
            if code in _DAMAGED:
                raise DataError(
                    f"{self.path}: no {self._kind.name}, or a damaged one ({error}); move it away to begin a new one"
                ) from error
            if code == sqlite3.SQLITE_CANTOPEN:
                raise DataError(f"{self.path}: cannot be opened; give the path of a file you may write to") from error
            raise ExecutionError(
                f"{self.path}: SQLite says: {error}; look at the disk's room and at who else uses the file"
            ) from error


def _make(path: Path, kind: Kind) -> None:
    """Make the file under another name first: it appears whole, even where two begin it at once, or it does not."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, begun = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # readable by its owner alone
    os.close(descriptor)
    try:
        with closing(_connect(Path(begun), PATIENCE_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            with _transaction(connection, "IMMEDIATE"):
                connection.execute(f"PRAGMA application_id = {kind.application_id}")
                connection.execute(f"PRAGMA user_version = {kind.version}")
                for statement in kind.statements:
                    connection.execute(statement)
        with suppress(FileExistsError):
            os.link(begun, path)
    finally:
        os.unlink(begun)


def _connect(path: Path, patience_s: float) -> sqlite3.Connection:
    """A connection whose transactions are begun and ended by hand; to a file that is there."""
    # The lock of its owner keeps threads apart, so SQLite's own check is not needed.
    where = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(where, patience_s, isolation_level=None, check_same_thread=False, uri=True)


def _close(*connections: sqlite3.Connection) -> None:
    for connection in connections:
        connection.close()


def _check(path: Path, connection: sqlite3.Connection, kind: Kind) -> None:
    """Raise DataError for a database that is of another kind or version."""
    connection.execute("SELECT count(*) FROM sqlite_master")  # damage of its first page shows now
    found, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if found != kind.application_id:
        raise DataError(f"{path}: something else than a {kind.name}; give another path, or move it away")
    if version != kind.version:
        raise DataError(
            f"{path}: a {kind.name} of format {version}, this quark-bench reads format {kind.version}; "
            "use the version that wrote it"
        )


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    try:
        connection.execute(f"BEGIN {begin}")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
