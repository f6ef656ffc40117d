"""What agents know of keys and tokens stands in nothing that a run leaves behind or tells."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client

from quark_bench import Run
from quark_bench import redact as redacting
from quark_bench.cli.app import call
from quark_bench.errors import ExecutionError, UsageError
from quark_bench.redact import MARK

from .conftest import PIPELINES
from .forked import run
from .pipelines import leaky

KEY = "Zq8-unlikely-Value-77"
SECRETS = [KEY, "pa55word", "t0k3n-of-mine"]
TEXTS = ["error", "lookup", "unstorable", "exit", "data", "answer"]


def know(key):
    """Let this process's environment hold the key, or nothing for None."""
    os.environ.pop("SUPPORT_API_KEY", None)
    if key is not None:
        os.environ["SUPPORT_API_KEY"] = key
    redacting.refresh()


def forget():
    know(None)


def know_it():
    know(KEY)


@pytest.fixture
def knowing_way(way):
    """Every way to execute, with the key in the environment of the client and of all workers."""
    with contextlib.ExitStack() as stack:
        know(KEY)
        stack.callback(know, None)
        if way.on != "inline":
            client = stack.enter_context(Client(way.on, set_as_default=False))
            client.run(know_it)
            stack.callback(client.run, forget)
        yield way


def left_by(path):
    """Every text in a run's directory, also what its compressed tables hold."""
    for file in path.rglob("*"):
        if file.suffix == ".parquet":
            yield pd.read_parquet(file).to_csv()
        if file.is_file():
            yield file.read_bytes().decode("latin-1")


def held(dask_scheduler):
    """Whatever the scheduler remembers of its tasks: keys, transitions, events, logs."""
    events = [list(each) for each in dask_scheduler.get_events().values()]
    return str([list(dask_scheduler.transition_log), list(dask_scheduler.tasks), events, dask_scheduler.get_logs()])


def assert_silent(*texts):
    for text in texts:
        for secret in SECRETS:
            assert secret not in text, text[max(0, text.index(secret) - 200) : text.index(secret) + 60]


def test_no_secret_is_left_behind_in_any_way(knowing_way, run_with, capfd):
    run = run_with(knowing_way, TEXTS, leaky.pipeline, arms=["sync", "async"], slos=["failed_share<1"])
    run.report()
    call(["show", str(run.path)])
    call(["show", str(run.path), "p-1"])
    call(["show", str(run.path), "p-6", "--json"])
    assert_silent(*left_by(run.path), *capfd.readouterr(), str(run.manifest), run._repr_html_())
    assert sum(MARK in text for text in left_by(run.path)) >= 3
    records = run.records[run.records["arm"] == "async"].set_index("prompt_id").sort_index()
    assert records["answer"]["p-6"] == f"the key is {MARK}, {len(KEY)} long", "agents themselves get what they need"
    assert json.loads(records["answer"]["p-5"]) == [{"key": MARK}]
    assert list(records["status"]) == ["failed"] * 4 + ["ok"] * 2
    if knowing_way.on != "inline":
        with Client(knowing_way.on, set_as_default=False) as client:
            assert_silent(client.run_on_scheduler(held), str(client.get_worker_logs(n=10_000)))


def test_a_set_up_that_fails_tells_no_secret(knowing_way, run_with):
    with pytest.raises(ExecutionError) as caught:
        run_with(knowing_way, 1, leaky.never_ready)
    assert_silent(str(caught.value))
    assert MARK in str(caught.value)


def test_what_only_the_client_knows_is_taken_out_of_what_workers_return(cluster, run_with, way_named):
    """A key that travelled in the pipeline, to workers whose environment does not hold it."""
    know(KEY)
    try:
        run = run_with(way_named("dask-chunk"), [KEY, "fine"], "told.py:echo", arms=["async"])
        assert list(run.records.sort_values("prompt_id")["answer"]) == [MARK, "fine"]
        assert_silent(*left_by(run.path))
    finally:
        know(None)


def test_a_command_with_a_secret_is_kept_without_it_and_asks_for_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    know(KEY)
    try:
        Path("prompts.jsonl").write_text(json.dumps({KEY: "a question"}) + "\n", "utf-8")
        line = ["run", "prompts.jsonl", "--field", f"text={KEY}", "--pipeline", f"{PIPELINES / 'told.py'}:echo"]
        assert call([*line, "--arm", "sync", "--on", "inline", "--warmup", "0"]) == 0
        path = Run.open("last").path
        assert_silent(*left_by(path))
        manifest = json.loads((path / "manifest.json").read_text("utf-8"))
        assert f"text={MARK}" in shlex.split(manifest["command"])
        (path / "manifest.json").write_text(json.dumps(manifest | {"state": "interrupted"}), "utf-8")
        with pytest.raises(UsageError, match="--field held a secret"):
            call(["run", "--resume", "last"])
        assert call([*line, "--arm", "sync", "--on", "inline", "--warmup", "0", "--resume", str(path)]) == 0
        assert json.loads((path / "manifest.json").read_text("utf-8"))["state"] == "complete"
    finally:
        know(None)


def test_no_secret_reaches_the_terminal_or_the_log_of_a_real_scheduler_and_worker(tmp_path):
    environment = os.environ | {"SUPPORT_API_KEY": KEY}
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context((tmp_path / f"{name}.log").open("w+")) for name in ("scheduler", "worker")]
        at_home = ["--host", "127.0.0.1", "--scheduler-file", "scheduler.json"]
        begun = {"cwd": tmp_path, "env": environment}
        scheduler = [
            sys.executable,
            "-m",
            "dask",
            "scheduler",
            *at_home,
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
        ]
        stack.callback(stop, subprocess.Popen(scheduler, stdout=logs[0], stderr=logs[0], **begun))
        address = scheduler_in(tmp_path / "scheduler.json")
        worker = [
            sys.executable,
            "-m",
            "dask",
            "worker",
            *at_home,
            "--nthreads",
            "2",
            "--dashboard-address",
            "127.0.0.1:0",
        ]
        stack.callback(stop, subprocess.Popen(worker, stdout=logs[1], stderr=logs[1], **begun))
        for granularity in ("chunk", "agent"):
            line = ["run", "prompts.jsonl", "--on", address, "--arm", "async"]
            line += ["--pipeline", f"{PIPELINES / 'leaky.py'}:pipeline", "--granularity", granularity]
            told = run("quark-bench", *line, folder=tmp_path, environment=environment, timeout_s=100)
            assert told.returncode == 0, told.stderr
            assert MARK in told.stdout
            assert_silent(told.stdout, told.stderr)
    for log in ("scheduler.log", "worker.log"):
        text = (tmp_path / log).read_text()
        assert "Starting" in text or "Scheduler" in text
        assert_silent(text)
    runs = list((tmp_path / "reports").iterdir())
    assert len(runs) == 2
    assert_silent(*(text for run in runs for text in left_by(run)))


def scheduler_in(file, timeout_s=60):
    """The address in a scheduler file, once it is there."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(file.read_text("utf-8"))["address"]
        time.sleep(0.05)
    raise AssertionError("no scheduler came up")


def stop(process):
    process.terminate()
    process.wait(timeout=30)
