"""A run's directory, read as far as is asked for, says the same as its whole tables, and of one moment."""

import json
import pickle
import subprocess
import sys

import pandas as pd
import pytest

from quark_bench import Dataset, Pipeline, Run, agent, bench, sources, store
from quark_bench.bench import Silent
from quark_bench.dataset import Prompt
from quark_bench.measures import agent_table, measure_arm
from quark_bench.pairing import PAIRED
from quark_bench.parts import StoredTable
from quark_bench.span_sums import sum_spans
from quark_bench.store import RunWriter
from quark_bench.trials import FrameTrials

from .clusters import until


@agent
def shout(prompt):
    if prompt.text == "bad":
        raise ValueError(prompt.text)
    return prompt.text.upper()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    texts = ["bad" if n == 5 else f"prompt {n}" for n in range(40)]
    dataset = Dataset(Prompt(f"p-{n}", text, reference=(text.upper(),)) for n, text in enumerate(texts))
    out = tmp_path_factory.mktemp("runs")
    return bench(dataset, Pipeline("shouts", [shout]), on="inline", arms=["sync", "async"], repeats=2, out=out)


def test_measures_from_the_directory_are_those_of_the_whole_tables(run):
    frames = FrameTrials(run.records, run.spans)
    for arm, in_flight in (("sync", 1), ("async", 8)):
        sums = sum_spans(frames, arm, run.layout)
        measured = measure_arm(frames, arm, sums, in_flight, run.manifest["usage"])
        assert {name: (m.value, m.low, m.high, m.note) for name, m in run.measures[arm].items()} == {
            name: (m.value, m.low, m.high, m.note) for name, m in measured.items()
        }
        pd.testing.assert_frame_equal(run.findings.agents[arm], agent_table(sums, run.layout))


def test_rows_come_in_one_order_whatever_the_columns(run):
    whole = run.trials.records([*PAIRED, "score_exact"], "async")
    for name in whole:
        assert run.trials.records([name], "async")[name].tolist() == pytest.approx(whole[name].tolist(), nan_ok=True)


def test_the_records_of_one_prompt_are_found(run):
    records, spans = run.trials.of_prompts(["p-5"])
    assert set(records["prompt_id"]) == set(spans["prompt_id"]) == {"p-5"}
    assert len(records) == len(spans) == 4


def test_what_failed_is_found(run):
    assert run.trials.struck(["prompt_id", "status"]).drop_duplicates().values.tolist() == [["p-5", "failed"]]


def test_scores_stand_beside_the_records_they_judge(run):
    scored = run.trials.records(["prompt_id", "score_exact"], "async").groupby("prompt_id")["score_exact"].mean()
    assert scored.drop("p-5").eq(1.0).all()
    assert run.trials.scorers[0] == "exact"


def test_a_run_over_a_file_larger_than_memory_is_scored_and_shows_its_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    file = tmp_path / "prompts.jsonl"
    rows = [{"id": f"p-{n}", "text": f"riddle {n}", "reference": [f"RIDDLE {n % 20}"]} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = bench(Dataset.read(file), Pipeline("shouts", [shout]), on="inline", arms=["sync", "async"], out=tmp_path)
    assert run.records.groupby("arm")["score_exact"].mean().to_dict() == {"sync": 0.5, "async": 0.5}
    assert Run(run.path).prompts["p-7"].text == "riddle 7"
    assert "riddle " in run.report().read_text()


class Keeping(Silent):
    """Keeps the batches of a run."""

    def __init__(self):
        self.batches = []

    def advanced(self, batch):
        self.batches.append(batch)


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Of a run in two arms, a batch a prompt, and its manifest while it goes on."""
    kept, out = Keeping(), tmp_path_factory.mktemp("kept")
    dataset = Dataset.of(["bad" if n == 5 else f"prompt {n}" for n in range(40)])
    options = {"arms": ["sync", "async"], "warmup": 0, "repeats": 2, "watcher": kept, "out": out}
    made = bench(dataset, Pipeline("shouts", [shout]), on="inline", **options)
    return kept.batches, made.manifest | {"state": "running"}


def begun(folder, manifest):
    """The directory of a run that has just begun."""
    path = store.new_run(folder, "prompts")
    store.write_manifest(path, manifest)
    return path


def told(run):
    """Whatever is read of a run's directory, one after another."""
    return [
        run.manifest["conservation"],
        {name: (m.value, m.low, m.high) for arm in run.arms for name, m in run.measures[arm].items()},
        [run.findings.agents[arm].to_csv() for arm in run.arms],
        run.compare("sync", "async"),
        [frame.to_csv() for frame in (run.records, run.spans, run.trials.struck(["error"]))],
        [frame.to_csv() for frame in run.trials.of_prompts(["p-1"])],
    ]


def test_a_run_that_is_written_to_while_it_is_read_is_told_as_it_stood_when_it_was_opened(
    batches, tmp_path, monkeypatch
):
    given, manifest = batches
    path, read = begun(tmp_path, manifest), StoredTable.read
    with RunWriter(path, 0, 0.0) as writer:
        for batch in given[: len(given) // 2]:
            writer.append(batch)
            writer.write()
        expected, coming = told(Run(path)), iter(given[len(given) // 2 :])

        def and_a_part_more(*options, **more):
            if (batch := next(coming, None)) is not None:
                writer.append(batch)
                writer.write()
            return read(*options, **more)

        run = Run(path)
        monkeypatch.setattr(StoredTable, "read", and_a_part_more)
        assert told(run) == expected
    assert next(coming, None) is None, "all parts came while it was read"
    assert len(Run(path).records) == manifest["conservation"]["planned"]


WRITING = """
import pickle, sys, time
from pathlib import Path
from dataclasses import replace
from quark_bench.store import RunWriter
path, batches = pickle.loads(Path(sys.argv[1]).read_bytes())
with RunWriter(path, 0, 0.0) as writer:
    for turn in range(1_000_000):
        for batch in batches:
            writer.append(replace(batch, repeat=2 * turn + batch.repeat, chunk=1_000 * turn + batch.chunk))
            writer.write()
            time.sleep(0.02)
"""


def test_a_run_is_read_whole_at_every_moment_while_another_process_writes_it(batches, tmp_path):
    path, given = begun(tmp_path, batches[1]), tmp_path / "batches"
    given.write_bytes(pickle.dumps((path, batches[0])))
    writer = subprocess.Popen([sys.executable, "-c", WRITING, str(given)])
    seen = []
    try:
        until(lambda: len(Run(path).records))
        while len(set(seen)) < 8:
            assert writer.poll() is None
            run = Run(path)
            counted = run.manifest["conservation"]
            seen.append(counted["ok"] + counted["failed"])
            one, other = (run.trials.records([name])[name] for name in ("start_s", "latency_s"))
            spans = sum(map(len, run.trials.spans(["agent"])))
            assert len(one) == len(other) == len(run.records) == len(run.spans) == spans == seen[-1]
    finally:
        writer.kill()
        writer.wait()
    assert seen == sorted(seen)
