"""The cache's file: values kept and given, bounded in size and age, shared; its faults, and files that are no cache."""

import os
import pickle
import resource
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.cache import LEAST_BYTES, SqliteCache
from quark_bench.errors import DataError, ExecutionError, UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cache(tmp_path):
    opened = SqliteCache(tmp_path / "cache.sqlite")
    yield opened
    opened.close()


def in_another_process(text, *arguments):
    """What a script prints that is run with this project's code."""
    command = [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment).stdout


def test_a_value_is_given_as_it_was_put_also_by_the_next_process(cache):
    assert cache.get("k") is None
    cache.put("k", b"first")
    cache.put("k", b"last")
    assert cache.get("k") == b"last"
    asked = "import sys; from quark_bench.cache import SqliteCache; print(SqliteCache(sys.argv[1]).get('k'))"
    assert in_another_process(asked, cache.path).strip() == "b'last'"


def test_it_travels_as_its_path(cache):
    cache.put("k", b"value")
    arrived = pickle.loads(pickle.dumps(cache))
    assert arrived.get("k") == b"value"
    arrived.close()


def test_nobody_else_may_read_the_file_or_the_folder_that_was_made_for_it(tmp_path):
    opened = SqliteCache(tmp_path / "of its own" / "cache.sqlite")
    opened.put("k", b"value")
    assert stat.S_IMODE(opened.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in opened.path.parent.iterdir()} == {0o600}
    opened.close()


@settings(max_examples=30)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 30), st.integers(0, LEAST_BYTES // 4)), max_size=60
    )
)
def test_the_file_keeps_within_its_size_and_the_least_recently_used_go_first(tmp_path_factory, steps):
    time = count()
    opened = SqliteCache(tmp_path_factory.mktemp("law") / "cache.sqlite", LEAST_BYTES, clock=lambda: float(next(time)))
    used: dict[str, None] = {}
    for step, name, size in steps:
        key = f"{name:064}"
        if step == "put":
            opened.put(key, bytes(size))
        elif opened.get(key) is None:
            continue
        used.pop(key, None)
        used[key] = None
    there = [opened.get(key) is not None for key in used]
    assert there == sorted(there), "what is left is what was used last"
    assert not used or there[-1], "the last one put is there"
    opened.close()
    assert opened.path.stat().st_size <= LEAST_BYTES + LEAST_BYTES // 2


def test_reads_that_no_write_followed_count_after_a_restart_too(tmp_path):
    time = count()
    path, clock = tmp_path / "cache.sqlite", lambda: float(next(time))
    first = SqliteCache(path, LEAST_BYTES, clock=clock)
    for key in "abc":
        first.put(key, bytes(LEAST_BYTES // 8))
    assert first.get("a")
    first.close()
    second = SqliteCache(path, LEAST_BYTES, clock=clock)
    for key in "def":
        second.put(key, bytes(LEAST_BYTES // 8))
    assert (second.get("a") is not None, second.get("b")) == (True, None)
    second.close()


def test_a_read_writes_nothing(cache):
    cache.put("k", b"value")
    before = cache._file._writer.total_changes
    for _ in range(100):
        assert cache.get("k") == b"value"
    assert cache._file._writer.total_changes == before


def test_a_value_that_is_too_old_is_not_given_and_goes_with_the_next_write(tmp_path):
    now = [1000.0]
    opened = SqliteCache(tmp_path / "cache.sqlite", most_age_s=60.0, clock=lambda: now[0])
    opened.put("old", b"value")
    now[0] += 60.0
    assert opened.get("old") == b"value"
    now[0] += 0.5
    assert opened.get("old") is None
    opened.put("new", b"value")
    with sqlite3.connect(opened.path) as looking:
        assert looking.execute("SELECT key FROM kept").fetchall() == [("new",)]
    opened.close()


def test_a_value_that_would_drive_out_all_others_is_refused(tmp_path):
    opened = SqliteCache(tmp_path / "cache.sqlite", LEAST_BYTES)
    opened.put("small", b"value")
    with pytest.raises(DataError, match="too large"):
        opened.put("large", bytes(LEAST_BYTES))
    assert opened.get("small") == b"value"
    opened.close()


def test_processes_and_threads_write_at_once_and_nothing_is_lost(cache):
    script = """
        import sys, threading
        from quark_bench.cache import SqliteCache
        cache = SqliteCache(sys.argv[1])
        def write(who):
            for n in range(50):
                cache.put(f"{sys.argv[2]}-{who}-{n}", f"{who} {n}".encode())
        threads = [threading.Thread(target=write, args=(who,)) for who in range(2)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
    """
    writers = [threading.Thread(target=in_another_process, args=(script, cache.path, name)) for name in "ab"]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    for name in "ab":
        for who in range(2):
            assert all(cache.get(f"{name}-{who}-{n}") == f"{who} {n}".encode() for n in range(50))


def test_many_processes_may_open_a_new_file_at_once(tmp_path):
    script = (
        "import sys; from quark_bench.cache import SqliteCache; SqliteCache(sys.argv[1]).put(sys.argv[2], b'value')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache.sqlite")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen([*command, str(n)], env=environment) for n in range(4)]
    assert [each.wait(timeout=60) for each in started] == [0] * 4
    opened = SqliteCache(tmp_path / "cache.sqlite")
    assert [opened.get(str(n)) for n in range(4)] == [b"value"] * 4
    opened.close()


def test_a_write_under_somebody_elses_lock_fails_soon_and_reads_go_on(cache):
    cache.put("k", b"value")
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ExecutionError, match="locked"):
        cache.put("l", b"value")
    assert cache.get("k") == b"value"
    other.execute("ROLLBACK")
    other.close()
    cache.put("l", b"value")
    assert cache.get("l") == b"value"


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_write_that_the_disk_has_no_room_for_fails_and_the_rest_stays(cache):
    cache.put("k", b"value")
    script = """
        import resource, sys
        from quark_bench.cache import SqliteCache
        from quark_bench.errors import QuarkBenchError
        cache = SqliteCache(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            cache.put("l", bytes(1_000_000))
        except QuarkBenchError as error:
            print(error)
        print(cache.get("k"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        cache.put("m", b"later")
    """
    told, there, *_ = in_another_process(script, cache.path).splitlines()
    assert told.startswith(str(cache.path))
    assert there == "b'value'"
    assert (cache.get("k"), cache.get("l"), cache.get("m")) == (b"value", None, b"later")


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")


def newer(path):
    SqliteCache(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


def damaged(path):
    opened = SqliteCache(path)
    opened.put("k", bytes(100_000))
    opened.close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 8_000 + content[8_100:])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (foreign, "something else than a cache of outputs; give another path"),
        (newer, "of format 99, this quark-bench reads format 1"),
        (lambda path: path.write_text("my notes\n" * 200), "no cache of outputs, or a damaged one"),
        (damaged, "no cache of outputs, or a damaged one"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_a_file_that_is_no_cache_is_refused_and_left_as_it_is(tmp_path, make, told):
    path = tmp_path / "cache.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DataError, match=told) as raised:
        SqliteCache(path)
    assert str(raised.value).startswith(str(path))
    assert before is None or path.read_bytes() == before


def test_a_file_that_is_damaged_while_it_is_open_fails_its_reads_as_a_cache(cache):
    for n in range(200):
        cache.put(str(n), os.urandom(1000))
    cache._file._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = cache.path.stat().st_size
    with cache.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(DataError):
        _ = [cache.get(str(n)) for n in range(200)]


def test_a_cache_without_room_is_refused(tmp_path):
    with pytest.raises(UsageError, match="too small"):
        SqliteCache(tmp_path / "cache.sqlite", most_bytes=1000)
