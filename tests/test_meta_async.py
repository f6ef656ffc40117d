"""The live orchestrator's command: at a pseudo-terminal as a person uses it, and as a process."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from quark_bench.cli.json_page import as_page, rounded
from quark_bench.sessions import read_sessions

from .forked import run
from .terminals import AGAIN_S, CTRL_C, CTRL_D, Terminal

COMMAND = [sys.executable, "-m", "quark_bench.cli.meta_async"]
ROOT = Path(__file__).parents[1]
ECHO = ["--pipeline", str(Path(__file__).parent / "pipelines" / "told.py") + ":echo"]
PACED = ["--pipeline", str(Path(__file__).parent / "pipelines" / "live.py") + ":pipeline"]
ENVIRONMENT = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
HEAVY = {"dask", "distributed", "pandas", "numpy", "scipy", "pyarrow", "matplotlib", "sklearn", "jinja2"}
DESIGN = ROOT.parent / "shared" / "quark-design.md"
LINES = [
    "meta-async start --max-workers 4",
    'meta-async test --prompt "Explain machine learning" --max-workers 4',
    'meta-async benchmark --prompts "What is AI?,How does ML work?,Explain neural networks" --max-workers 4',
    "meta-async performance --max-workers 4",
    "meta-async start --max-workers 2",
    "meta-async performance",
    "meta-async start --max-workers 8",
]
"""All that the design document tells to type."""


def meta_async(folder, *arguments, said="", timeout_s=60):
    """Run the command in a folder with so much on its standard input."""
    return run("meta-async", *arguments, folder=folder, environment=ENVIRONMENT, said=said, timeout_s=timeout_s)


def sessions_in(folder):
    return read_sessions(folder / ".meta-async" / "sessions.jsonl").read


def strict_json(text):
    """Exactly one JSON value and nothing beside it; NaN is none."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture
def terminal(tmp_path):
    """Starts the command at a terminal, in a folder of its own; at the end it has shown no traceback."""
    opened = []

    def at(*arguments):
        opened.append(Terminal("meta-async", arguments, tmp_path, ENVIRONMENT))
        return opened[-1]

    yield at
    for each in opened:
        each.close()
        assert "Traceback" not in each.shown
        assert "never awaited" not in each.shown
        assert "destroyed" not in each.shown


# -- start, at a terminal


def test_a_prompt_is_answered_and_its_agents_are_seen_while_they_run(terminal):
    at = terminal("start", *PACED)
    at.expect("paced: 4 agents, 4 workers. Type a prompt, or help.")
    at.expect("You: ")
    at.type("hello\n")
    at.expect(r"early …  beside …")
    at.expect(r"early …  beside ✓ \d+ ms")
    at.expect(r"early ✓ \d+ ms  beside ✓ \d+ ms  reply …")
    at.expect("You said: hello\r\n")
    at.expect(r"\d+ ms · parallel")
    at.expect("You: ")
    at.type("quit\n")
    assert at.wait() == 0
    assert at.widest <= 80


def test_agents_go_on_while_the_person_types_and_are_waited_for_at_the_end(terminal, tmp_path):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("hello\n")
    at.expect("still running: after")
    at.expect("You: ")
    at.type("stats\n")
    at.expect('"total_tasks": 1, "completed_tasks": 0')
    at.expect('"in_flight": 1')
    at.type("quit\n")
    assert at.wait() == 0
    (session,) = sessions_in(tmp_path)
    assert (session.command, session.prompts, session.completed, session.failed) == ("start", 1, 1, 0)


def test_the_words_tell_of_the_session(terminal):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("history\n")
    at.expect("Nothing has been said in this conversation yet.")
    at.type("Help\n")
    at.expect("Ctrl-C cancels the prompt that is being answered.")
    at.expect("You: ")
    at.type("short one\n")
    at.expect("You said: short one")
    at.expect("You: ")
    at.type("history\n")
    at.expect("You: short one\r\nYou said: short one")
    at.type("stats\n")
    at.expect(r'Performance Stats: \{\s+"execution_stats": \{')
    at.expect(r'"performance_metrics": \{\s+"parallel_execution_count"')
    at.expect(r"\r\n\}\r\n")
    at.expect("You: ")
    at.type("exit\n")
    assert at.wait() == 0


def test_ctrl_c_cancels_a_long_prompt_and_the_next_one_is_answered(terminal, tmp_path):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("wait 600\n")
    at.expect("reply …")
    at.press(CTRL_C, "Cancelled.")
    at.expect("You: ")
    at.type("hello again\n")
    at.expect("You said: hello again")
    at.expect("You: ")
    at.type(CTRL_D)
    assert at.wait() == 0
    assert [each.prompts for each in sessions_in(tmp_path)] == [1], "a cancelled prompt is none that ended"


def test_ctrl_c_at_the_prompt_says_how_to_leave_and_drops_what_was_typed(terminal):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.press(CTRL_C, "Ctrl-D or quit leaves.")
    at.expect("You: ")
    at.type("nobody asks this")
    at.expect("nobody asks this")
    at.press(CTRL_C, "Ctrl-D or quit leaves.")
    at.expect("You: ")
    at.type("but this\n")
    at.expect("You said: but this\r\n")
    at.expect("You: ")
    at.type("quit\n")
    assert at.wait() == 0


def test_ctrl_c_again_and_again_leaves_no_trace(terminal):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("wait 600\n")
    at.expect("reply …")
    at.type(CTRL_C * 20)  # each of which makes the terminal forget what it has not shown yet
    at.press("\n", "You: ")
    at.type("hello\n")
    at.expect("You said: hello")
    at.expect("You: ")
    at.type("quit\n")
    assert at.wait() == 0


@pytest.mark.parametrize("sort", ["async def", "def", "cpu"])
def test_ctrl_c_does_not_wait_for_the_last_agents(terminal, tmp_path, sort):
    (tmp_path / "own.py").write_text(
        "import asyncio, time\n"
        "from quark_bench import Pipeline, agent\n"
        "def quick(prompt): return 'quick'\n"
        + {
            "async def": "@agent(timeout_s=900)\nasync def endless(quick): await asyncio.sleep(600)\n",
            "def": "@agent(timeout_s=900)\ndef endless(quick): time.sleep(600)\n",
            "cpu": "@agent(timeout_s=900, cpu=True)\ndef endless(quick): time.sleep(600)\n",
        }[sort]
        + "pipeline = Pipeline('endless', [quick, endless], answer='quick')\n"
    )
    at = terminal("start", "--pipeline", "own.py:pipeline")
    at.expect("You: ")
    at.type("hello\n")
    at.expect("quick\r\n")
    at.expect("You: ")
    at.type(CTRL_D)
    at.expect("Ctrl-C leaves at once")
    at.type(CTRL_C)
    assert at.wait() == 0
    assert len(sessions_in(tmp_path)) == 1


def test_ctrl_d_leaves_at_once(terminal, tmp_path):
    at = terminal("start", *PACED, "--max-workers", 2)
    at.expect("You: ")
    at.type(CTRL_D)
    assert at.wait() == 0
    assert [(each.prompts, each.max_workers) for each in sessions_in(tmp_path)] == [(0, 2)]


def test_a_line_can_be_edited_and_brought_back(terminal):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("helo\x1b[Dl\n")
    at.expect("You said: hello\r\n")
    at.expect("You: ")
    at.type("\x1b[A\n")
    at.expect("You said: hello\r\n")
    at.expect("You: ")
    at.type("quit\n")
    assert at.wait() == 0


def test_a_failed_prompt_is_told_of_and_a_warning_comes_once(terminal):
    at = terminal("start", *PACED)
    at.expect("You: ")
    at.type("fail please\n")
    at.expect("No answer: reply: ValueError: no such order")
    at.expect(r"Warning: failures: 100 % of the prompts failed")
    at.expect("You: ")
    at.type("fail again\n")
    at.expect("No answer: reply")
    at.expect("You: ")
    at.type("quit\n")
    assert at.wait() == 0
    assert at.shown.count("Warning: ") == 1
    assert "reply failed: " not in at.shown
    assert at.widest <= 80


def test_what_users_wrote_steers_no_terminal(terminal, tmp_path):
    (tmp_path / "own.py").write_text(
        "from quark_bench import Pipeline, agent\n"
        "def reply(prompt): return '\\x1b[31mred\\x1b]0;title\\x07 [bold]markup[/bold]'\n"
        "pipeline = Pipeline('own', [reply], answer='reply')\n"
    )
    at = terminal("start", "--pipeline", "own.py:pipeline")
    at.expect("You: ")
    at.type("hello\n")
    at.expect(re.escape(r"\x1b[31mred\x1b]0;title\x07 [bold]markup[/bold]"))
    at.expect("You: ")
    at.type(CTRL_D)
    assert at.wait() == 0


# -- start, in a pipe


def test_a_pipe_gets_a_transcript_in_plain_lines(tmp_path):
    told = meta_async(tmp_path, "start", *PACED, said="hello\n\nstats\nquit\n")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[1:4] == ["You: hello", "  early …", "  beside …"]
    assert "You said: hello" in lines
    stats = told.stdout.partition("Performance Stats: ")[2].partition("\n}\n")[0] + "\n}"
    found = strict_json(stats)
    assert list(found)[:2] == ["execution_stats", "performance_metrics"]
    assert found["execution_stats"]["completed_tasks"] == 1
    assert lines[-1] == "You: quit"
    assert "\x1b" not in told.stdout


def test_the_end_of_a_pipe_is_the_end_of_the_session(tmp_path):
    told = meta_async(tmp_path, "start", *PACED, said="hello")
    assert told.returncode == 0, told.stderr
    assert "You said: hello" in told.stdout
    assert [each.completed for each in sessions_in(tmp_path)] == [1]


def test_a_conversation_goes_on_in_the_next_session(tmp_path):
    meta_async(tmp_path, "start", *PACED, "--conversation", "mine", said="my name is Ada\n")
    again = meta_async(tmp_path, "start", *PACED, "--conversation", "mine", said="history\n")
    assert "You: my name is Ada\nYou said: my name is Ada\n" in again.stdout
    other = meta_async(tmp_path, "start", *PACED, said="history\n")
    assert "Ada" not in other.stdout


def test_bytes_that_are_no_text_are_a_prompt_like_any_other(tmp_path):
    done = subprocess.run(
        [*COMMAND, "start", *PACED],
        cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "utf-8:strict"},
        input=b"caf\xe9\nquit\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "You said: caf\ufffd" in done.stdout.decode()


def test_a_route_leaves_agents_out_and_says_so(tmp_path):
    (tmp_path / "routes.toml").write_text('by = "early"\n[routes]\nshort = ["reply"]\n')
    told = meta_async(tmp_path, "start", *PACED, "--routes", "routes.toml", said="short one\nlong one\n")
    assert told.returncode == 0, told.stderr
    short, long = (line for line in told.stdout.splitlines() if " · " in line)
    assert short.startswith("short · ")
    assert "left out: after" in short
    assert long.startswith("long · ")
    assert "left out" not in long


# -- test


def test_one_prompt_is_answered_on_stdout_and_its_agents_are_on_stderr(tmp_path):
    told = meta_async(tmp_path, "test", "--prompt", "hello", *PACED)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "You said: hello\n"
    assert "  early …\n" in told.stderr
    assert re.search(r"^  early ✓ \d+ ms$", told.stderr, re.MULTILINE)
    assert "parallel · still running: after\n" in told.stderr
    assert [each.command for each in sessions_in(tmp_path)] == ["test"]


def test_one_prompt_as_json_is_one_object(tmp_path):
    told = meta_async(tmp_path, "test", "--prompt", "hello", "--json", *PACED)
    found = strict_json(told.stdout)
    assert (found["prompt"], found["answer"], found["status"]) == ("hello", "You said: hello", "ok")
    assert {name: agent["status"] for name, agent in found["agents"].items()} == dict.fromkeys(
        ("early", "beside", "reply", "after"), "ok"
    )
    assert found["stats"]["execution_stats"]["completed_tasks"] == 1


def test_a_prompt_that_fails_is_exit_4(tmp_path):
    told = meta_async(tmp_path, "test", "--prompt", "fail", *PACED)
    assert (told.returncode, told.stdout) == (4, "")
    assert told.stderr.splitlines()[-1] == "meta-async: no answer: reply: ValueError: no such order"
    assert strict_json(meta_async(tmp_path, "test", "--prompt", "fail", "--json", *PACED).stdout)["status"] == "failed"


def test_ctrl_c_ends_a_test_and_its_session_is_kept(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "test", "--prompt", "wait 600", *PACED],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "reply …" in line:
            break
    out, err = interrupted(process)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert [each.prompts for each in sessions_in(tmp_path)] == [0]


def interrupted(process, times=10):
    """What it still says after Ctrl-C, pressed again where nothing comes of it: see `Terminal.press`."""
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=AGAIN_S)
    raise AssertionError("it goes on after Ctrl-C")


# -- the log


def test_the_log_tells_prompt_trial_and_agent_a_line(tmp_path):
    told = meta_async(tmp_path, "test", "--prompt", "fail", "--log", "live.jsonl", *PACED)
    assert told.returncode == 4
    lines = [strict_json(line) for line in (tmp_path / "live.jsonl").read_text().splitlines()]
    began = next(line for line in lines if line["text"] == "agent early began")
    assert set(began) == {"time", "level", "text", "prompt_id", "trial_id", "agent", "took_s"}
    failed = next(line for line in lines if line["text"] == "agent reply failed")
    assert (failed["level"], failed["agent"], failed["status"]) == ("warning", "reply", "failed")
    assert failed["error"] == "ValueError: no such order"
    ended = next(line for line in lines if line["text"] == "prompt failed")
    assert ended["took_s"] > 0
    assert len({(line["prompt_id"], line["trial_id"]) for line in lines if "prompt_id" in line}) == 1


def test_without_a_log_nothing_is_logged(tmp_path):
    told = meta_async(tmp_path, "test", "--prompt", "fail", *PACED)
    assert "agent reply" not in told.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".meta-async"]


# -- benchmark


def test_a_benchmark_is_a_run_with_its_table_and_its_report(tmp_path):
    told = meta_async(tmp_path, "benchmark", "--prompts", "one, two,three,", *ECHO, "--max-workers", 3)
    assert told.returncode == 0, told.stderr
    assert re.match(r"echo over prompts-\w+\.jsonl, 3 prompts\n", told.stdout)
    for part in ("sync", "parallel", "async", "throughput", "latency, mean"):
        assert part in told.stdout
    report = next(line for line in told.stdout.splitlines() if line.startswith("Report"))
    assert (tmp_path / report.removeprefix("Report").strip()).is_file()
    command = told.stderr.splitlines()[0]
    assert shlex.split(command)[-6:] == [*ECHO, "--on", "inline", "--in-flight", "3"]


def test_a_benchmark_reads_the_files_that_run_reads(tmp_path):
    (tmp_path / "prompts.csv").write_text("text,reference\none,one\ntwo,two\n")
    told = meta_async(tmp_path, "benchmark", "--file", "prompts.csv", "--json", *ECHO)
    assert told.returncode == 0, told.stderr
    assert strict_json(told.stdout)["conservation"]["ok"] == 6
    assert not (tmp_path / ".meta-async").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["--prompts", "a", "--file", "b.csv"], ["--prompts", " , "], ["--file", "nowhere.jsonl"]], ids=str
)
def test_a_benchmark_without_prompts_is_wrong_usage(tmp_path, arguments):
    told = meta_async(tmp_path, "benchmark", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.splitlines()[-1].startswith("meta-async: ")


# -- performance


def test_without_a_session_performance_says_how_to_make_one(tmp_path):
    told = meta_async(tmp_path, "performance")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "There is no session in .meta-async/sessions.jsonl; make one with: meta-async start\n"
    assert not list(tmp_path.iterdir())


def test_performance_shows_sessions_targets_and_advice(tmp_path):
    meta_async(tmp_path, "start", *PACED, said="one\ntwo\nfail\n")
    meta_async(tmp_path, "test", "--prompt", "hello", *PACED, "--max-workers", 2)
    told = meta_async(tmp_path, "performance")
    assert (told.returncode, told.stderr) == (0, "")
    assert max(map(len, told.stdout.splitlines())) <= 80
    text = " ".join(told.stdout.split())
    assert "2 sessions, " in text
    assert "4 prompts, 3 answered, 1 failed" in text
    for part in ("throughput > 10 req/s", "parallel rate > 60 %", "out of reach", "held back by critical path"):
        assert part in text
    assert "…" not in told.stdout, "no cell is cut"


def test_performance_can_be_of_sessions_with_so_many_workers(tmp_path):
    for workers in (2, 4):
        meta_async(tmp_path, "test", "--prompt", "hello", *PACED, "--max-workers", workers)
    found = strict_json(meta_async(tmp_path, "performance", "--max-workers", 2, "--json").stdout)
    assert [each["max_workers"] for each in found["sessions"]] == [2]
    assert (found["totals"]["prompts"], found["latest"]["pipeline"]) == (1, "paced")
    none = meta_async(tmp_path, "performance", "--max-workers", 3)
    assert none.stdout.startswith("There is no session with 3 workers in ")


def test_performance_leaves_a_damaged_line_out_and_says_so(tmp_path):
    meta_async(tmp_path, "test", "--prompt", "hello", *PACED)
    with (tmp_path / ".meta-async" / "sessions.jsonl").open("a") as file:
        file.write('{"format": 1, "began": "\x1b[31m')
    told = meta_async(tmp_path, "performance")
    assert told.returncode == 0
    assert "1 line left out that cannot be read: 2" in told.stderr
    assert "1 session, " in told.stdout


# -- all of them


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "--pipeline", "nowhere.py:it"], "nowhere.py"),
        (["start", *PACED, "--latency", "demo"], "--latency is for the built-in pipeline"),
        (["start", "--latency", "slow"], "unknown latency profile 'slow'"),
        (["start", *PACED, "--routes", "nowhere.toml"], "nowhere.toml"),
        (["start", *PACED, "--log", "nowhere/live.jsonl"], "--log nowhere/live.jsonl: cannot be written"),
        (["start", *PACED, "--state", "/dev/null/state"], "--state /dev/null/state"),
        (["test", "--prompt", "a", "--max-workers", "0"], "greater than or equal to 1"),
        (["test"], "Missing option '--prompt'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_line_and_is_exit_2(tmp_path, arguments, message):
    told = meta_async(tmp_path, *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert message in told.stderr
    assert "Traceback" not in told.stderr
    assert not sessions_in(tmp_path)


def test_an_agent_whose_set_up_fails_is_exit_4(tmp_path):
    told = meta_async(tmp_path, "start", "--pipeline", f"{ROOT}/tests/pipelines/told.py:never_ready")
    assert told.returncode == 4
    assert "no index here" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("command", ["", "start", "test", "benchmark", "performance"])
def test_help_fits_80_columns_and_has_an_example(tmp_path, command):
    told = meta_async(tmp_path, *command.split(), "--help")
    assert told.returncode == 0
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert f"  meta-async {command}" in told.stdout


def test_help_loads_no_heavy_library(tmp_path):
    code = "import sys; from quark_bench.cli import main_live\n"
    code += "try: main_live()\nfinally: print(*sys.modules, file=sys.stderr)"
    told = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "quark_bench.cli.meta_async" in told.stderr.split()
    assert not HEAVY & set(told.stderr.split())


def test_the_script_is_declared():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["meta-async"].partition(":")
    assert callable(getattr(import_module(module), name))


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs lines in a shell that finds `meta-async`, one after another in one folder."""
    folder = tmp_path_factory.mktemp("shell")
    script = folder / "bin" / "meta-async"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    script.chmod(0o755)
    environment = ENVIRONMENT | {"PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}

    def run(line):
        return subprocess.run(
            line, shell=True, cwd=folder, env=environment, input="", capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_design_document_runs_as_it_is_written(shell, line):
    told = shell(line)
    assert told.returncode == 0, told.stderr
    assert told.stdout


@pytest.mark.skipif(not DESIGN.is_file(), reason="the design document is not beside this checkout")
def test_these_are_all_lines_of_the_design_document():
    written = re.findall(r"^\s*(meta-async .*?)\s*$", DESIGN.read_text(), re.MULTILINE)
    assert set(written) == set(LINES)


# -- the page of statistics


def test_a_page_is_the_same_json_in_lines_of_80_columns():
    data = {
        "counts": {f"a count of things {n}": n for n in range(9)},
        "nested": {"empty": {}, "none": [], "mean": {"value": 0.5, "low": None}},
        "list": [1, 2, 3],
        "plain": True,
    }
    page = as_page(data)
    assert json.loads(page) == data
    assert max(map(len, page.splitlines())) <= 80
    assert '    "mean": {"value": 0.5, "low": null}' in page


def test_numbers_for_people_have_four_digits():
    assert rounded({"a": [0.123456, 123456.7, 3], "b": None}) == {"a": [0.1235, 123500.0, 3], "b": None}
