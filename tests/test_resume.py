import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from quark_bench import Arm, Arrivals, Breaker, Dataset, Pipeline, Run, agent, bench
from quark_bench.errors import RunInterrupted, UsageError
from quark_bench.store import RunWriter, read_manifest

from .forked import run as command

COUNTED = Path(__file__).parent / "pipelines" / "counted.py"


@agent
def shout(prompt):
    return prompt.text.upper()


@agent
def keyed(prompt, call):
    return call.idempotency_key


@agent
def whisper(prompt):
    return prompt.text.lower()


@agent(breaker=Breaker(failures=2, reset_s=600))
async def fragile(prompt):
    raise ConnectionError("down")


class Impatient:
    """A person who presses Ctrl-C after some chunks."""

    def __init__(self, chunks):
        self.left, self.before = chunks, {}

    def stage(self, name): ...
    def began(self, plan, dashboard): ...
    def finished_before(self, arm, trials):
        self.before[arm] = trials

    def advanced(self, batch):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(way, tmp_path, texts=40, chunks=2, **options):
    """An interrupted run's folder, and the options to go on with."""
    options = {
        "dataset": Dataset.of([f"prompt {n}" for n in range(texts)]),
        "pipeline": Pipeline("one", [shout]),
        "arms": [Arm("async", in_flight=2)],
        "on": way.on,
        "granularity": way.granularity,
        "repeats": 3,
        "warmup": 1,
        "out": tmp_path / "reports",
    } | options
    with pytest.raises(RunInterrupted, match="--resume") as stopped:
        bench(**options, watcher=Impatient(chunks))
    return stopped.value.path, options


def test_a_continued_run_has_every_record_once_and_the_answers_of_one_that_was_never_interrupted(way, tmp_path):
    path, options = interrupted(way, tmp_path)
    assert read_manifest(path)["state"] == "interrupted"
    begun = len(pd.read_parquet(path / "records"))
    assert 0 < begun < 120
    listener = Impatient(chunks=-1)
    run = bench(**options, resume=path, watcher=listener)
    assert listener.before == {"async": begun}
    assert run.path == path
    assert run.manifest["state"] == "complete"
    assert run.manifest["conservation"] == {"planned": 120, "ok": 120, "degraded": 0, "failed": 0, "not_run": 0}
    assert not run.records.duplicated(["arm", "repeat", "prompt_id"]).any()
    assert not run.spans.duplicated(["arm", "repeat", "prompt_id", "agent", "attempt"]).any()
    assert dict(Counter(run.records["session"])) == {0: begun, 1: 120 - begun}
    whole = bench(**options)
    key = ["repeat", "prompt_id"]
    answers = [each.records.sort_values(key)[[*key, "answer"]].reset_index(drop=True) for each in (run, whole)]
    pd.testing.assert_frame_equal(*answers)


def test_idempotency_keys_are_those_of_the_run_in_every_session(inline, tmp_path):
    path, options = interrupted(inline, tmp_path, pipeline=Pipeline("keyed", [keyed]))
    before = read_manifest(path)["run_key"]
    run = bench(**options, resume=path)
    assert run.manifest["run_key"] == before
    assert run.records["answer"].nunique() == 120
    assert bench(**options).manifest["run_key"] != before


def test_each_session_begins_with_closed_breakers_and_tells_its_own(way, tmp_path):
    path, options = interrupted(way, tmp_path, pipeline=Pipeline("fragile", [fragile]), chunks=2)
    time.sleep(1)  # calls that were under way end first: what they report would count in the next session
    begun = read_manifest(path)
    del begun["breakers"]  # as an older version would have left it
    (path / "manifest.json").write_text(json.dumps(begun))
    run = bench(**options, resume=path)
    (told,) = run.manifest["breakers"]
    assert (told["session"], told["opened"], told["state"]) == (1, 1, "open")
    called = run.spans[run.spans["error"] == "ConnectionError: down"]
    assert set(called["session"]) == {0, 1}
    assert (called["session"] == 0).sum() >= 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset": Dataset.of(["other"] * 1)}, "the data set"),
        ({"pipeline": Pipeline("one", [whisper])}, "the pipeline's code"),
        ({"arms": [Arm("async", in_flight=3)]}, "the arms"),
        ({"arms": [Arm("async", in_flight=2, arrivals=Arrivals(9.0))]}, "the arms"),
        ({"repeats": 4}, "the repeats"),
        ({"seed": 1}, "the seed"),
        ({"pipeline": Pipeline("one", [shout], learns_in="memory.db")}, "what it learns in"),
    ],
)
def test_a_run_is_not_continued_with_anything_changed(inline, tmp_path, change, named):
    path, options = interrupted(inline, tmp_path)
    with pytest.raises(UsageError, match=f"{named} changed"):
        bench(**(options | change), resume=path)
    assert read_manifest(path)["state"] == "interrupted"


def test_a_run_goes_on_with_its_cache_and_not_without(way, tmp_path):
    cached = {"pipeline": Pipeline("one", [agent(name="shout", cache=True)(shout.function)]), "cache": tmp_path / "c"}
    path, options = interrupted(way, tmp_path, **cached)
    with pytest.raises(UsageError, match="the cache changed"):
        bench(**(options | {"cache": None}), resume=path)
    run = bench(**options, resume=path)
    assert run.manifest["cache"]["file"] == str(tmp_path / "c")
    assert (run.spans["status"] == "cached").sum() >= 40


def test_a_complete_run_is_not_continued(inline, tmp_path):
    path, options = interrupted(inline, tmp_path)
    bench(**options, resume=path)
    with pytest.raises(UsageError, match="is complete"):
        bench(**options, resume=path)


def test_spans_that_a_killed_writer_left_without_records_are_dropped(inline, tmp_path):
    path, options = interrupted(inline, tmp_path)
    part = sorted((path / "spans").glob("part-*"))[-1]
    (path / "spans" / "part-000099.parquet").write_bytes(part.read_bytes())
    (path / "records" / ".part-000099.parquet.123").write_bytes(b"half a part")
    run = bench(**options, resume=path)
    assert len(run.spans) == len(run.records) == 120
    assert not list((path / "records").glob(".*"))


def test_a_chunk_that_comes_twice_is_taken_in_once(inline, tmp_path):
    path, options = interrupted(inline, tmp_path)
    with RunWriter(path, 1, 0.0) as writer:
        assert writer.finished_trials == {"async": len(Run(path).records)}
        (block, chunk), *_ = writer._finished
        assert chunk in writer.finished_chunks(block)
    seen = []

    class Repeating(Impatient):
        def advanced(self, batch):
            seen.append((batch.block, batch.chunk))

    run = bench(**options, resume=path, watcher=Repeating(chunks=-1))
    assert len(seen) == len(set(seen))
    assert len(run.records) == 120


def test_a_client_killed_at_any_moment_loses_no_written_chunk_and_repeats_no_finished_call(tmp_path):
    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "calls.log"
    prompts.write_text("".join(json.dumps({"id": f"p-{n}", "text": f"prompt {n}"}) + "\n" for n in range(200)))
    environment = os.environ | {"QUARK_BENCH_TEST_LOG": str(log)}
    begin = [
        sys.executable,
        "-m",
        "quark_bench",
        "run",
        prompts,
        "--pipeline",
        f"{COUNTED}:pipeline",
        "--arm",
        "async",
        "--in-flight",
        "2",
    ]
    going = subprocess.Popen(
        [*map(str, begin), "--workers", "2", "--warmup", "2"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    records = wait_for_records(tmp_path)
    time.sleep(random.random())
    going.send_signal(signal.SIGKILL)
    going.communicate(timeout=30)
    path = records.parent
    written = set(pd.read_parquet(records)["prompt_id"])
    calls_before = Counter(log.read_text().split())
    assert 0 < len(written) < 200
    ended = command("quark-bench", "run", "--resume", "last", folder=tmp_path, environment=environment)
    assert ended.returncode == 0, ended.stderr
    run = Run(path)
    assert sorted(run.records["prompt_id"]) == sorted(f"p-{n}" for n in range(200))
    assert set(run.records["status"]) == {"ok"}
    calls = Counter(log.read_text().split()) - calls_before
    assert not written & calls.keys(), "a finished chunk's agents were called again"


def wait_for_records(folder, timeout_s=60):
    """The folder of records of the run in `folder`, once a part is written."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        for part in folder.glob("reports/*/records/part-*.parquet"):
            return part.parent
        time.sleep(0.02)
    raise AssertionError("no part was written")


def test_an_open_load_goes_on_with_the_gaps_that_are_left(inline, tmp_path):
    arms = [Arm("async", arrivals=Arrivals(60.0))]
    path, options = interrupted(inline, tmp_path, arms=arms, texts=60, repeats=1, chunks=1)
    run, whole = bench(**options, resume=path), bench(**options)
    order = {prompt.id: n for n, prompt in enumerate(options["dataset"])}
    first, second = (each.records.sort_values("prompt_id", key=lambda ids: ids.map(order)) for each in (run, whole))
    same = (first["session"].diff() == 0).to_numpy()
    assert {0, 1} == set(first["session"])
    assert first["due_s"].diff()[same].to_numpy() == pytest.approx(second["due_s"].diff()[same].to_numpy(), abs=1e-6)
    (check,) = run.arrivals
    assert (check.borders, check.continued) == (1, 1)
