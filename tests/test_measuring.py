"""Scoring a run: what is kept, told, and not paid for twice."""

import io

import pytest
from rich.console import Console

from quark_bench import Dataset, Pipeline, Run, agent, bench, resolve
from quark_bench.dataset import Prompt
from quark_bench.errors import PipelineError, RunInterrupted, UsageError
from quark_bench.measuring import Silent
from quark_bench.model import Reply
from quark_bench.report.tables import record_view, run_table
from quark_bench.score_run import KEPT_TOGETHER
from quark_bench.summary import summary

CHECKS = """
def even(answer, prompt):
    if prompt.id == "p3":
        raise ValueError("three")
    return int(answer) % 2 == 0
"""


@agent
def echo(prompt):
    return prompt.text


class Grader:
    """A judge who counts how often it is asked."""

    name = "grader"

    def __init__(self):
        self.calls = 0

    async def reply(self, messages, call):
        self.calls += 1
        return Reply("Grade: correct", 10, 5, cost_usd=0.01)


def run(tmp_path, scores, prompts=8, **options):
    data = Dataset(
        [Prompt(f"p{n}", f"{n}", f"{n % 3}", reference=(str(n % 2),), metadata={"doc": n // 2}) for n in range(prompts)]
    )
    options = {"arms": ["sync"], "on": "inline", "warmup": 0, "out": tmp_path} | options
    return bench(data, Pipeline("echo", [echo]), scores=scores, **options)


def told(run):
    return text_of(run_table(run.findings))


def text_of(shown):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


def test_what_a_function_could_not_judge_is_counted_and_told_by_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checks_of_measuring.py").write_text(CHECKS)
    made = run(tmp_path, ["exact:weight=1", "checks_of_measuring.py:even"])
    assert made.measures["sync"]["score_even"].value == pytest.approx(4 / 7)
    assert made.measures["sync"]["score_even_scored"].value == pytest.approx(7 / 8)
    assert made.records.set_index("prompt_id")["score_overall"].isna().sum() == 1
    text = told(made)
    assert "even, scored                           87.5 %" in text
    assert "Unscored by even: 1 of 8, as p3; the first: raised ValueError: three" in text
    assert max(map(len, text.splitlines())) <= 80
    assert summary(made)["scoring"]["even"]["unscored"] == 1
    one = text_of(record_view(made.findings, "p3"))
    assert "score      exact 0.000: differs from the reference" in one
    assert "score      even unscored: raised ValueError: three" in one
    assert set(made.manifest["score_versions"]) == {"exact", "even", "overall"}


def test_a_score_that_nobody_could_give_is_shown_all_the_same(tmp_path):
    made = run(tmp_path, ["regex"], prompts=3)
    assert list(made.trials.scorers) == ["regex"]
    none = bench(
        Dataset([Prompt("a", "b", reference=("(",))]),
        Pipeline("e", [echo]),
        scores=["regex"],
        on="inline",
        arms=["sync"],
        warmup=0,
        out=tmp_path,
    )
    assert none.measures["sync"]["score_regex"].value is None
    assert none.measures["sync"]["score_regex_scored"].value == 0


def test_a_function_that_is_nowhere_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checks_nowhere.py").write_text(CHECKS)
    with pytest.raises(PipelineError, match="has no 'odd'; functions in it: even"):
        run(tmp_path / "out", ["checks_nowhere.py:odd"])
    with pytest.raises(PipelineError, match=r"there is no file gone\.py"):
        run(tmp_path / "out", ["gone.py:odd"])
    assert not (tmp_path / "out").exists()


def test_scores_are_clustered_by_a_field_of_the_prompts_now_and_when_the_run_is_opened(tmp_path):
    made = run(tmp_path, ["exact"], clusters="doc", repeats=2)
    assert made.manifest["clusters"] == "doc"
    plain = run(tmp_path, ["exact"], repeats=2)
    assert made.measures["sync"]["score_exact"].high != plain.measures["sync"]["score_exact"].high
    assert "not at hand" in Run(made.path).measures["sync"]["score_exact"].note  # its data set was no file
    with pytest.raises(UsageError, match="--clusters page"):
        run(tmp_path, ["exact"], clusters="page")


def test_what_judges_cost_is_told_beside_the_run_and_is_no_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "make_model", lambda spec: Grader())
    made = run(tmp_path, ["judge:model=any,both_ways=yes"])
    assert made.measures["sync"]["score_judge"].value == 1
    assert made.measures["sync"]["cost_usd"].value == 0
    assert summary(made)["scoring"]["judge"]["cost_usd"] == pytest.approx(0.16)
    text = told(made)
    assert "Judging by judge: 8 records, " in text
    assert "$0.1600 in all, order bias +0.000" in text


def test_verdicts_that_were_paid_are_kept_when_judging_is_interrupted(tmp_path, monkeypatch):
    grader = Grader()
    monkeypatch.setattr(resolve, "make_model", lambda spec: grader)

    class Impatient(Silent):
        def scored(self, done, records):
            assert records == 250
            if done > KEPT_TOGETHER:
                raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="run --resume") as stop:
        run(tmp_path, ["judge:model=any"], prompts=250, watcher=Impatient())
    assert Run(stop.value.path).manifest["state"] == "interrupted"
    before = grader.calls
    made = run(tmp_path, ["judge:model=any"], prompts=250, resume=stop.value.path)
    assert grader.calls == before + 250 - KEPT_TOGETHER
    assert made.manifest["state"] == "complete"
    assert made.records["score_judge"].sum() == 250
    other = Grader()
    other.name = "another"
    monkeypatch.setattr(resolve, "make_model", lambda spec: other)
    with pytest.raises(RunInterrupted) as stop:
        run(tmp_path, ["judge:model=any"], prompts=250, watcher=Impatient())
    grader.name = "third"
    monkeypatch.setattr(resolve, "make_model", lambda spec: grader)
    with pytest.raises(UsageError, match="the scores changed since it began"):
        run(tmp_path, ["judge:model=any"], prompts=250, resume=stop.value.path)
