import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from quark_bench.errors import DataError, ExecutionError
from quark_bench.sqlite_file import Kind, SqliteFile

NOTES = Kind("book of notes", 7_654_321, 1, ("CREATE TABLE notes (text TEXT)",))
ADD = "INSERT INTO notes VALUES (?)"


def notes(file):
    with file.reading() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]


@pytest.fixture
def file(tmp_path):
    with closing(SqliteFile(tmp_path / "notes.db", NOTES)) as made:
        yield made


def test_what_was_written_is_there_when_the_file_is_opened_again(file):
    with file.writing() as connection:
        connection.execute(ADD, ("one",))
    file.close()
    with closing(SqliteFile(file.path, NOTES)) as again:
        assert notes(again) == ["one"]


def test_a_new_file_and_its_new_folder_are_their_owner_s_alone(tmp_path):
    with closing(SqliteFile(tmp_path / "new" / "notes.db", NOTES)) as file, file.writing() as connection:
        connection.execute(ADD, ("one",))
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (file.path.parent, *file.path.parent.iterdir())}
    assert modes.pop(file.path.parent) == 0o700
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    SqliteFile(tmp_path / "notes.db", NOTES).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["notes.db"]


def test_a_transaction_that_raises_leaves_nothing_and_the_next_one_works(file):
    with suppress(KeyError), file.writing() as connection:
        connection.execute(ADD, ("half",))
        raise KeyError
    with file.writing() as connection:
        connection.execute(ADD, ("whole",))
    assert notes(file) == ["whole"]


def test_what_is_read_within_is_of_one_moment_though_another_writes(file):
    with closing(SqliteFile(file.path, NOTES)) as other, file.reading() as connection:
        before = connection.execute("SELECT count(*) FROM notes").fetchone()
        with other.writing() as writer:
            writer.execute(ADD, ("late",))
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == before
    assert notes(file) == ["late"]


def test_many_that_begin_one_file_at_once_all_have_the_same(tmp_path):
    start = threading.Barrier(8)

    def begin(number):
        start.wait()
        file = SqliteFile(tmp_path / "notes.db", NOTES)
        with file.writing() as connection:
            connection.execute(ADD, (str(number),))
        return file

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(begin, range(8)))
    assert {tuple(notes(file)) for file in files} == {tuple(notes(files[0]))}
    assert sorted(notes(files[0])) == [str(number) for number in range(8)]
    for file in files:
        file.close()


def text_file(path):
    path.write_text("some notes\n" * 100)


def empty_file(path):
    path.touch()


def other_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE passwords (text TEXT)")


def newer_format(path):
    SqliteFile(path, Kind(NOTES.name, NOTES.application_id, 2, NOTES.statements)).close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, "no book of notes, or a damaged one"),
        (empty_file, "something else than a book of notes; give another path, or move it away"),
        (other_database, "something else than a book of notes"),
        (newer_format, "a book of notes of format 2, this quark-bench reads format 1"),
        (os.mkdir, "cannot be opened; give the path of a file you may write to"),
    ],
)
def test_something_else_at_that_place_is_named_and_left_as_it_is(tmp_path, make, message):
    path = tmp_path / "notes.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DataError, match=f"{path}: {message}"):
        SqliteFile(path, NOTES)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_place_where_no_file_can_be_is_an_error_of_data(tmp_path):
    text_file(tmp_path / "taken")
    with pytest.raises(DataError, match="cannot be made: File exists; choose another place"):
        SqliteFile(tmp_path / "taken" / "notes.db", NOTES)


def test_a_damaged_file_is_told_when_the_damage_is_met(file):
    with file.writing() as connection:
        connection.executemany(ADD, [("x" * 3_000,)] * 50)
    file.close()
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(DataError, match=r"a damaged one .*; move it away to begin a new one"):
        notes(SqliteFile(file.path, NOTES))


def test_a_file_that_was_closed_says_so(file):
    file.close()
    file.close()
    with pytest.raises(ExecutionError, match="this book of notes was closed; open it again"):
        notes(file)


def test_a_file_that_another_holds_for_too_long_is_an_error_of_execution(file):
    impatient = SqliteFile(file.path, NOTES, patience_s=0.05)
    with (
        closing(impatient),
        file.writing(),
        pytest.raises(ExecutionError, match="database is locked"),
        impatient.writing(),
    ):
        pass


def test_who_reads_waits_for_no_writer(file):
    with closing(SqliteFile(file.path, NOTES)) as other, file.writing() as connection:
        connection.execute(ADD, ("not yet",))
        assert notes(file) == notes(other) == []
    assert notes(file) == ["not yet"]
