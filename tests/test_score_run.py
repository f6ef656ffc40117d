"""Scoring again: stored answers, new scores; nothing is run, nothing is judged twice, nothing is mixed."""

import json
import os

import pandas as pd
import pytest

from quark_bench import Dataset, Pipeline, Run, agent, bench, resolve
from quark_bench.cli.app import call
from quark_bench.errors import DataError, UsageError
from quark_bench.model import Reply
from quark_bench.score_run import UNDER_WAY

CALLS = []


@agent
def echo(prompt):
    CALLS.append(prompt.id)
    return prompt.text


class Grader:
    """A judge who counts how often it is asked."""

    name = "grader"

    def __init__(self):
        self.calls = 0

    async def reply(self, messages, call):
        self.calls += 1
        return Reply("Grade: correct", 10, 5, cost_usd=0.01)


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(f'{{"id": "p{n}", "text": "{n % 6} or {n}.04", "reference": "{n % 6}"}}\n' for n in range(12))
    )
    return file


@pytest.fixture
def run(prompts, tmp_path):
    options = {"arms": ["sync", "async"], "on": "inline", "warmup": 0, "out": tmp_path / "reports"}
    return bench(Dataset.read(prompts), Pipeline("echo", [echo]), scores=["exact", "number"], **options)


def rows_by_scorer(run):
    return pd.read_parquet(run.path / "scores")["scorer"].value_counts().to_dict()


def test_more_scores_come_beside_those_that_are_there_and_no_agent_is_called(run):
    before = len(CALLS)
    again = Run(run.path).score(["contains"])
    assert len(CALLS) == before
    assert rows_by_scorer(again) == {"exact": 24, "number": 24, "contains": 24}
    assert again.records["score_contains"].sum() == 24
    assert again.records["score_exact"].tolist() == run.records["score_exact"].tolist()
    assert again.manifest["scorers"] == ["exact", "number", "contains"]
    assert again.manifest["measures"]["sync"]["score_contains"]["value"] == 1
    assert "contains" in (run.path / "report.html").read_text()
    assert not again.manifest[UNDER_WAY]


def test_scores_of_another_version_replace_the_earlier_ones_of_that_name_only(run):
    again = run.score(["number:tolerance=0.05"])
    assert rows_by_scorer(again) == {"exact": 24, "number": 24}
    assert (run.records["score_number"].sum(), again.records["score_number"].sum()) == (0, 10), "5 % of 0 is nothing"
    versions = again.manifest["score_versions"]
    assert versions["number"] != run.manifest["score_versions"]["number"]
    assert versions["exact"] == run.manifest["score_versions"]["exact"]


def test_what_is_there_in_this_version_is_not_judged_again(run, monkeypatch):
    grader = Grader()
    monkeypatch.setattr(resolve, "make_model", lambda name: grader)
    run.score(["judge:model=grader"])
    assert grader.calls == 24
    again = Run(run.path).score(["judge:model=grader", "exact"])
    assert grader.calls == 24
    assert again.measures["sync"]["score_judge"].value == 1


def test_an_interrupted_judge_goes_on_where_it_stopped_and_keeps_what_was_paid(run, monkeypatch):
    monkeypatch.setattr("quark_bench.score_run.KEPT_TOGETHER", 4)
    grader = Grader()
    monkeypatch.setattr(resolve, "make_model", lambda name: grader)

    def stop(done, records):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.score(["judge:model=grader"], told=stop)
    partial = Run(run.path)
    kept = rows_by_scorer(partial)["judge"]
    assert 0 < kept < 24
    assert partial.manifest[UNDER_WAY] == ["judge"]
    before, seen = grader.calls, []
    whole = partial.score(["judge:model=grader"], told=lambda done, records: seen.append((done, records)))
    assert grader.calls - before == 24 - kept
    assert rows_by_scorer(whole)["judge"] == 24
    assert seen[-1] == (24, 24)
    assert seen == sorted(seen)


def test_a_changed_prompt_file_is_refused_and_a_copy_of_what_it_was_is_taken(run, prompts, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_text(prompts.read_text())
    prompts.write_text(prompts.read_text().replace('"reference": "1"', '"reference": "one"'))
    with pytest.raises(DataError, match=r"prompts\.jsonl: not the prompts .* name a copy of it with --prompts"):
        Run(run.path).score(["f1"])
    assert rows_by_scorer(run) == {"exact": 24, "number": 24}
    assert rows_by_scorer(Run(run.path).score(["f1"], prompts=copy))["f1"] == 24


def test_an_agent_is_scored_by_what_was_kept_of_it_and_otherwise_it_is_said_what_to_do(run, prompts):
    with pytest.raises(UsageError, match=r"no output of echo was kept .* run it again with --score echo\.MEASURE"):
        run.score(["echo.accuracy"])
    with pytest.raises(UsageError, match="'ecko'"):
        run.score(["ecko.accuracy"])
    assert Run(run.path).manifest["scorers"] == ["exact", "number"]
    more = {"arms": ["sync"], "on": "inline", "warmup": 0, "out": run.path.parent}
    data = Dataset.read(prompts, fields={"category": "reference"})
    kept = bench(data, Pipeline("echo", [echo]), scores=["echo.accuracy"], **more)
    again = kept.score(["echo.accuracy:name=right", "exact"])
    assert again.records["score_echo.right"].tolist() == kept.records["score_echo.accuracy"].tolist()


def test_a_run_that_is_not_complete_is_refused(run):
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"state": "interrupted"}))
    with pytest.raises(UsageError, match="interrupted"):
        Run(run.path).score(["f1"])


def test_the_command_prints_the_run_as_it_stands_then(run, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call(["score", "last", "--score", "regex:pattern=^[12] or", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measures"]["async"]["score_regex"]["value"] == pytest.approx(4 / 12)
    assert os.path.samefile(told["path"], run.path)
    with pytest.raises(UsageError, match="no such scorer"):
        call(["score", "last", "--score", "exakt"])
