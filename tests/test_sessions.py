"""What is kept of live sessions: whole lines from several processes at once, damaged ones left out."""

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.sessions import LATENCIES, Estimate, Session, append_session, check_state, read_sessions
from quark_bench.walls import Target, Wall

SESSION = Session(
    began="2026-03-01T12:00:00+00:00",
    lasted_s=12.5,
    command="start",
    pipeline="quark",
    max_workers=4,
    prompts=3,
    completed=2,
    degraded=0,
    failed=1,
    shared=0,
    busy_s=1.5,
    throughput_per_s=2.0,
    latency_s=dict.fromkeys(LATENCIES, Estimate(0.5, None, None)),
    parallel_rate=0.4,
    concurrent_agents=3,
    wall=Wall("critical path", 2.0, "ask more at once"),
    targets=(Target("throughput > 10 req/s", 2.0, False, 4.0, False, "out of reach"),),
    warnings=("slow: a prompt takes 4 s",),
)
ADDING = """
import sys
from pathlib import Path
from quark_bench.sessions import append_session, read_sessions
(session,) = read_sessions(Path(sys.argv[1])).read
for _ in range(50):
    append_session(Path(sys.argv[2]), session)
"""


def test_a_session_is_read_as_it_was_kept(tmp_path):
    append_session(tmp_path / "kept", SESSION)
    assert read_sessions(tmp_path / "kept") == ((SESSION,), ())


def test_sessions_without_a_prompt_or_a_wall_are_kept_too(tmp_path):
    idle = dataclasses.replace(
        SESSION,
        latency_s=dict.fromkeys(LATENCIES, Estimate(None, None, None)),
        parallel_rate=None,
        wall=None,
        targets=(),
        warnings=(),
    )
    append_session(tmp_path / "kept", idle)
    assert read_sessions(tmp_path / "kept").read == (idle,)


def test_a_folder_without_sessions_has_none(tmp_path):
    assert read_sessions(tmp_path / "nothing") == ((), ())


def test_the_oldest_comes_first_whoever_ended_first(tmp_path):
    later = dataclasses.replace(SESSION, began="2026-03-01T13:00:00+00:00")
    append_session(tmp_path / "kept", later)
    append_session(tmp_path / "kept", SESSION)
    assert read_sessions(tmp_path / "kept").read == (SESSION, later)


def test_several_processes_add_lines_at_once_and_none_is_damaged(tmp_path):
    append_session(tmp_path / "one", SESSION)
    arguments = [sys.executable, "-c", ADDING, str(tmp_path / "one"), str(tmp_path / "all")]
    adding = [subprocess.Popen(arguments) for _ in range(3)]
    assert [each.wait(timeout=60) for each in adding] == [0, 0, 0]
    found = read_sessions(tmp_path / "all")
    assert len(found.read) == 150
    assert found.damaged == ()


def test_a_line_that_was_cut_off_damages_no_other(tmp_path):
    path = tmp_path / "kept"
    append_session(path, SESSION)
    path.write_bytes(path.read_bytes()[:-20])
    append_session(path, SESSION)
    assert read_sessions(path) == ((SESSION,), (1,))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"prompts": None},
        {"prompts": "many"},
        {"lasted_s": float("nan")},
        {"busy_s": float("inf")},
        {"latency_s": {}},
        {"latency_s": []},
        {"wall": "high"},
        {"targets": [1]},
        {"warnings": None},
    ],
    ids=str,
)
def test_a_line_that_says_something_else_is_left_out(tmp_path, change):
    (tmp_path / "kept").write_text(json.dumps(SESSION.as_data() | change) + "\n")
    assert read_sessions(tmp_path / "kept") == ((), (1,))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_no_session(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(data)
    assert read_sessions(path).read == ()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--state .*file.*name another folder"):
        check_state(tmp_path / "file")
