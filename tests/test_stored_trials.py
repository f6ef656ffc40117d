"""A run's directory, read as far as is asked for, says the same as its whole tables."""

import json

import pandas as pd
import pytest

from quark_bench import Dataset, Pipeline, Run, agent, bench, sources
from quark_bench.compare import PAIRED
from quark_bench.dataset import Prompt
from quark_bench.measures import agent_table, measure_arm
from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials


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
    records, spans = run.trials.of_prompt("p-5")
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
    rows = [{"id": f"p-{n}", "text": f"prompt {n}", "reference": [f"PROMPT {n % 20}"]} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = bench(Dataset.read(file), Pipeline("shouts", [shout]), on="inline", arms=["sync", "async"], out=tmp_path)
    assert run.records.groupby("arm")["score_exact"].mean().to_dict() == {"sync": 0.5, "async": 0.5}
    assert Run(run.path).prompts["p-7"].text == "prompt 7"
    assert "prompt 1" in run.report().read_text()
