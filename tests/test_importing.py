"""A log of Inspect as a run: compared, reported, scored and shown as one of our own."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from quark_bench import Dataset, Pipeline, Prompt, Run, agent, bench
from quark_bench.cli.app import call
from quark_bench.errors import DataError
from quark_bench.importing import import_inspect

LOG = Path(__file__).parent / "logs" / "inspect.eval"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("imported") / "reports"


@pytest.fixture(scope="module")
def run(out):
    return import_inspect(LOG, out)


def test_all_trials_are_there_with_their_measures(run):
    assert run.manifest["conservation"] == {"planned": 8, "ok": 6, "degraded": 0, "failed": 2, "not_run": 0}
    assert (run.arms, run.manifest["repeats"], len(run.spans), len(run.calls)) == (("inspect",), 2, 24, 24)
    assert run.measures["inspect"]["score_match"].value == pytest.approx(4 / 6)
    assert run.measures["inspect"]["tokens_in"].value == run.records["tokens_in"].sum()
    assert dict(run.layout)["reasoning"] == ("nlu", "retrieval")
    assert run.manifest["pipeline"]["answer"] == "reasoning"
    assert run.prompts["q-1"].reference == ("42",)


def test_what_the_log_does_not_tell_is_left_empty_and_told(run):
    assert set(run.spans["worker"]) == {""}
    assert run.spans["queue_s"].isna().all()
    assert "does not tell how its prompts were spread over workers" in run.manifest["granularity"]["reason"]
    assert "imported from" in run.manifest["provenance"]
    assert "inspect" in (run.path / "report.html").read_text()


def test_it_is_listed_shown_compared_and_has_a_history(run, out, capsys):
    shutil.copytree(run.path, out / "another")
    assert call(["compare", str(run.path), str(out / "another"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["a"]["arm"], told["b"]["arm"], told["answers_differ"]) == ("inspect", "inspect", [])
    assert next(each for each in told["changes"] if each["measure"] == "match")["worse"] == 0
    assert call(["show", str(run.path), "q-9"]) == 0
    assert "no such order" in capsys.readouterr().out
    assert call(["history", "--measure", "score_match", "--out", str(out)]) == 0
    shutil.rmtree(out / "another")


def test_it_can_be_scored(run, out):
    scored = run.score(["exact"])
    assert scored.measures["inspect"]["score_exact"].value == pytest.approx(4 / 8), "a failed trial has no answer"
    assert scored.measures["inspect"]["score_match"].value == pytest.approx(4 / 6)


def test_the_command_tells_what_it_made(tmp_path, capsys):
    assert call(["import", str(LOG), "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["conservation"]["ok"] == 6
    assert Run(told["path"]).manifest["state"] == "complete"


def test_our_own_export_comes_back_as_it_was(tmp_path):
    @agent
    async def look(prompt):
        if prompt.id == "p3":
            raise ValueError("no such order")
        return prompt.text

    @agent
    async def answer(look):
        return look

    prompts = [Prompt(f"p{n}", f"prompt {n}", reference=(f"prompt {n % 3}",), metadata={"page": n}) for n in range(8)]
    pipeline = Pipeline("support", [look, answer], answer="answer")
    made = bench(Dataset(prompts, "few"), pipeline, arms=["async"], on="inline", warmup=1, out=tmp_path)
    (log,) = made.export("inspect", tmp_path / "logs")
    back = import_inspect(log, tmp_path)
    before, after = (each.records.set_index("prompt_id").sort_index() for each in (made, back))
    for name in ("status", "answer", "error", "attempts", "tokens_in", "score_exact", "score_f1"):
        same = before[name].fillna("none").tolist() == after[name].fillna("none").tolist()
        assert same or name == "attempts", name
    for name in ("latency_s", "work_s"):
        assert after[name].tolist() == pytest.approx(before[name].tolist(), abs=1e-5), name
    assert dict(back.prompts) == dict(made.prompts)


@pytest.mark.parametrize("lacking", ["samples/", "header.json"])
def test_a_log_without_trials_is_refused_and_an_unfinished_one_is_taken_as_far_as_it_goes(lacking, run, tmp_path):
    (log,) = run.export("inspect", tmp_path / "logs")
    with zipfile.ZipFile(log) as whole, zipfile.ZipFile(tmp_path / "part.eval", "w") as part:
        for name in whole.namelist():
            if not name.startswith(lacking):
                part.writestr(name, whole.read(name))
    if lacking == "header.json":
        taken = import_inspect(tmp_path / "part.eval", tmp_path / "reports")
        assert (taken.manifest["state"], len(taken.records)) == ("interrupted", 8)
        return
    with pytest.raises(DataError, match="holds no trials"):
        import_inspect(tmp_path / "part.eval", tmp_path / "reports")
    assert not list((tmp_path / "reports").glob("*"))
