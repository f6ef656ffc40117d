"""A sweep: one load after another, each a run of its own."""

import importlib
import json
from dataclasses import replace

import pytest

from quark_bench import Pipeline, agent, sweep
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import ExecutionError, RunInterrupted, RunNotFoundError, UsageError
from quark_bench.measuring import Silent
from quark_bench.run import Run
from quark_bench.store import list_runs
from quark_bench.sweep_result import SweepResult
from quark_bench.sweep_store import find_sweep, read_sweep


@agent
async def reply(prompt):
    return prompt.text


HOME = importlib.import_module("quark_bench.sweep")
PROMPTS = Dataset([Prompt(f"p-{number}", f"text {number}") for number in range(12)], "few.jsonl")
QUICK = {"on": "inline", "warmup": 1, "scores": []}


def echo():
    return Pipeline("echo", [reply])


class Stages(Silent):
    """Remembers the stages, and is interrupted at one of them."""

    def __init__(self, interrupted_at=""):
        self.names = []
        self._interrupted_at = interrupted_at

    def stage(self, name):
        self.names.append(name)
        if name == self._interrupted_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    return sweep(PROMPTS, echo(), in_flight="1..4", slos=["latency_s<60@50%"], out=out, **QUICK)


def test_each_level_is_a_run_of_its_own_below_the_sweep(made):
    assert [each.level for each in made.result.levels] == [1, 2, 4]
    assert [Run(made.path / each.run).manifest["arms"][0]["in_flight"] for each in made.result.levels] == [1, 2, 4]
    assert made.run(2).slos[0].met is True
    assert list_runs(made.path.parent) == []  # a sweep is no run of its folder
    with pytest.raises(UsageError, match="the levels are 1, 2, 4"):
        made.run(3)


def test_the_highest_level_that_meets_the_objectives_is_told(made):
    assert [each.met for each in made.result.levels] == [True, True, True]
    assert (made.result.bracket.met, made.result.bracket.above) == (4, None)
    assert made.result.exit_code == 0
    assert "Highest load that meets the objectives: 4 in flight" in repr(made)
    assert made._repr_html_().startswith("<svg")


def test_what_was_found_is_read_back_as_it_was(made):
    assert find_sweep("last", made.path.parent) == find_sweep(made.path.name, made.path.parent) == made.path
    told = read_sweep(made.path)
    assert told["state"] == "complete"
    assert SweepResult.of_data(told) == made.result
    assert SweepResult.of_data(json.loads(json.dumps(made.result.as_data()))) == made.result


def test_the_page_links_to_the_report_of_every_level(made):
    written = made.report().read_text()
    for each in made.result.levels:
        assert f'href="./{each.run}/report.html"' in written
        assert (made.path / each.run / "report.html").is_file()
    assert "<svg" in written


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path):
    asked = {"in_flight": [1, 2], "out": tmp_path, **QUICK}
    with pytest.raises(RunInterrupted, match="quark-bench sweep --resume") as stop:
        sweep(PROMPTS, echo(), watcher=Stages("2 in flight: scoring and weighing"), **asked)
    path = stop.value.path
    assert read_sweep(path)["state"] == "interrupted"
    with pytest.raises(UsageError, match="cannot be continued: repeats, seed changed"):
        sweep(PROMPTS, echo(), resume=path, repeats=2, seed=1, **asked)
    shown = Stages()
    again = sweep(PROMPTS, echo(), resume="last", watcher=shown, **asked)
    assert [each.level for each in again.result.levels] == [1, 2]
    assert not any(name.startswith("1 in flight") for name in shown.names)
    assert [len(list_runs(path / f"{level}-in-flight")) for level in (1, 2)] == [1, 1]
    assert again.run(2).manifest["session"] == 1


def test_a_level_that_had_ended_when_the_sweep_was_killed_is_not_measured_again(made, tmp_path, monkeypatch):
    monkeypatch.setattr(HOME, "level_result", _killed)
    asked = {"in_flight": [3], "out": tmp_path, **QUICK}
    with pytest.raises(MemoryError):
        sweep(PROMPTS, echo(), **asked)
    monkeypatch.undo()
    assert len(sweep(PROMPTS, echo(), resume="last", **asked).result.levels) == 1
    assert len(list_runs(find_sweep("last", tmp_path) / "3-in-flight")) == 1


def _killed(*_):
    raise MemoryError


def test_where_a_level_cannot_be_finished_the_level_and_the_command_are_told(tmp_path, monkeypatch):
    def lost(*_, **__):
        raise ExecutionError("all workers are gone")

    monkeypatch.setattr(HOME, "bench", lost)
    with pytest.raises(ExecutionError, match=r"at 1 in flight: all workers are gone; .* sweep --resume"):
        sweep(PROMPTS, echo(), in_flight="1..2", out=tmp_path, **QUICK)


def test_a_rate_is_that_of_the_arrivals_of_its_level(tmp_path):
    found = sweep(PROMPTS, echo(), rate="50,100.5", out=tmp_path, **QUICK)
    assert [each.level for each in found.result.levels] == [50, 100.5]
    assert found.result.levels[1].run.startswith("100.5-per-second/")
    assert found.run(100.5).arrivals[0].asked.rate_per_s == 100.5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"in_flight": "1,2", "rate": "1..2"}, "two sweeps"),
        ({"arm": "sync"}, "sweep arm async"),
        ({"in_flight": "0"}, "--in-flight '0'"),
        ({"slos": ["latencys<1@95%"]}, "did you mean 'latency_s'"),
        ({"resume": "last"}, "no sweep 'last'"),
        ({"slos": ["latency_s<1@95%"]}, "a search takes 73 prompts"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(tmp_path, options, told):
    with pytest.raises(UsageError, match=told):
        sweep(PROMPTS, echo(), out=tmp_path, **{**QUICK, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "identity": []}', '{"format": 1}'])
def test_a_damaged_sweep_is_refused(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(RunNotFoundError, match=str(tmp_path)):
        sweep(PROMPTS, echo(), resume=tmp_path, out=tmp_path, **QUICK)


def test_the_exit_code_tells_missed_from_undecided_and_from_all_failed(made):
    def code(met, failed=0):
        lowest = replace(made.result.levels[0], failed=failed)
        kept = {True: (0.9, 1.0), False: (0.1, 0.2), None: (0.4, 0.6)}[met]
        judged = replace(lowest.objectives[0], low=kept[0], high=kept[1])
        return replace(made.result, levels=(replace(lowest, objectives=(judged,)),)).exit_code

    assert [code(True), code(False), code(None), code(False, failed=12)] == [0, 1, 3, 4]
    assert replace(made.result, slos=()).exit_code == 0
