"""`quark-bench whatif`: what it predicts from a run, how it says so, and what it refuses."""

import json
import os
from xml.etree import ElementTree

import pytest

from quark_bench import Dataset, Pipeline, Run, agent, bench
from quark_bench.cli.app import call
from quark_bench.errors import RunNotFoundError, UsageError


@agent
async def look_up(prompt):
    return prompt.text


@agent
async def self_check(look_up):
    return look_up


@agent
async def answer(look_up):
    return look_up


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pipeline = Pipeline("echo", [look_up, self_check, answer], answer="answer")
    prompts = Dataset.of([f"prompt {n}" for n in range(20)], "few")
    return bench(prompts, pipeline, on="inline", warmup=1, scores=(), out=tmp_path_factory.mktemp("made"))


@pytest.fixture
def told(made, capsys):
    def run(*arguments):
        assert call(["whatif", str(made.path), *arguments]) == 0
        return capsys.readouterr()

    return run


def test_without_a_change_it_tells_where_to_spend_effort(told):
    out = told().out
    assert out.startswith("What if, echo over few\n")
    assert "50 % faster" in out
    assert " faster first: 25 % faster, it would cut the latency of " in " ".join(out.split())
    assert "recorded" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_change_is_told_beside_what_was_recorded(told):
    out = told("--agent", "LookUp=0.5", "--drop", "SelfCheck", "--arm", "sync").out
    lines = out.splitlines()
    assert {"recorded", "predicted", "change"} <= set(lines[1].split())
    assert {"latency, mean", "latency, median", "latency, 95 %", "answer, mean", "throughput"} <= {
        line[:15].strip() for line in lines
    }
    assert "sync, look_up x 0.5, without self_check: latency -" in " ".join(out.split())
    assert max(map(len, lines)) <= 80


def test_json_is_one_object_on_stdout_and_the_table_goes_to_stderr(told):
    streams = told("--agent", "answer=0.5", "--json")
    data = json.loads(streams.out)
    assert data["factors"] == {"answer": 0.5}
    assert data["predicted"]["mean_latency_s"]["unit"] == "s"
    assert data["latency_ratio"]["value"] < 1
    assert {gain["agent"] for gain in data["gains"]} == {"look_up", "self_check", "answer"}
    assert list(data["gains"][0]["latency_ratio"]) == ["0.1", "0.25", "0.5"]
    assert "recorded" in streams.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--agent", "LookOp=0.5"], "no agent 'LookOp' here; did you mean 'look_up'"),
        (["--drop", "check"], "did you mean 'self_check'"),
        (["--agent", "look_up"], "--agent 'look_up' is not NAME=NUMBER; write --agent reasoning=0.5"),
        (["--agent", "look_up=fast"], "is not NAME=NUMBER"),
        (["--agent", "look_up=nan"], "is not NAME=NUMBER"),
        (["--agent", "look_up=0"], "above 0"),
        (["--agent", "look_up=-1"], "above 0"),
        (["--agent", "look_up=0.5", "--agent", "look_up=0.6"], "given twice"),
        (["--agent", "look_up=0.5", "--drop", "LookUp"], "changed twice"),
        (["--drop", "answer"], "cannot be dropped"),
        (["--arm", "asink"], "has no arm 'asink'; did you mean 'async'"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_write(made, arguments, says):
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        call(["whatif", str(made.path), *arguments])


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunNotFoundError):
        call(["whatif", "nowhere", "--out", str(tmp_path)])


def test_python_gives_the_same_frozen_and_readable(made, told):
    found = Run(made.path).what_if({"Answer": 0.5}, drop=["self_check"])
    data = json.loads(told("--agent", "answer=0.5", "--drop", "self_check", "--json").out)
    assert found["p50_latency_s"].then.value == data["predicted"]["p50_latency_s"]["then"]["value"]
    assert repr(found).startswith("async, answer x 0.5, without self_check: latency -")
    assert "<table" in found._repr_html_() or "<pre" in found._repr_html_()
    with pytest.raises(AttributeError):
        found.arm = "sync"


def test_a_simulation_has_a_line_for_every_number_of_workers_and_in_flight(told):
    out = told("--workers", "1,2", "--in-flight", "1,4").out
    lines = out.splitlines()
    assert lines[0] == "Capacity, simulated, echo over few"
    assert [line.split()[:2] for line in lines[3:8] if line.split()] == [["1", "1"], ["1", "2"], ["4", "1"], ["4", "2"]]
    assert "1 in flight: the wall is critical path." in out
    assert "Simulated with prompts drawn from sync" in out
    assert max(map(len, lines)) <= 80


def test_the_simulation_as_json_and_as_a_figure(told, tmp_path):
    streams = told("--workers", "1,2", "--granularity", "agent", "--rate", "look_up,answer=50", "--json",
                   "--plot", str(tmp_path / "capacity.svg"), "--agent", "answer=0.5")  # fmt: skip
    data = json.loads(streams.out)
    assert [(point["workers"], point["in_flight"]) for point in data["points"]] == [(1, 8), (2, 8)]
    assert data["points"][0]["throughput_per_s"] <= 25.0 * 1.1
    assert data["points"][0]["wall"] == "rate limit"
    assert data["walls"] == {"8": [{"wall": "rate limit", "from_workers": 1}]}
    assert data["overheads"]["measured"] is False
    assert "so assumed" in " ".join(streams.err.split())
    assert ElementTree.parse(tmp_path / "capacity.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "one"], "write --workers 1,10,100"),
        (["--workers", "0"], "give numbers from 1"),
        (["--workers", "1", "--plot", "capacity.pdf"], "ends in .svg or .png"),
        (["--workers", "1", "--rate", "look_up"], "is not NAME=NUMBER"),
        (["--workers", "1", "--granularity", "auto"], "did you mean"),
        (["--plot", "capacity.svg"], "--plot belongs to a simulation: say of what, as in --workers 1,10,100"),
        (["--cores", "2"], "--cores belongs to a simulation"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_what_to_write(made, arguments, says):
    with pytest.raises(UsageError, match=says):
        call(["whatif", str(made.path), *arguments])


def test_options_of_runs_in_a_pyproject_do_not_ask_for_a_simulation(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.quark-bench]\nworkers = 2\nin-flight = 4\ngranularity = 'chunk'\n")
    assert call(["whatif", str(made.path)]) == 0
    assert capsys.readouterr().out.startswith("What if, echo over few\n")


def test_python_simulates_the_same(made, told):
    found = Run(made.path).capacity([1, 2], [4])
    data = json.loads(told("--workers", "1,2", "--in-flight", "4", "--json").out)
    assert [point.throughput_per_s for point in found.points] == [each["throughput_per_s"] for each in data["points"]]
    assert repr(found).startswith("4 in flight: the wall is ")


def test_it_measures_nothing_and_writes_nothing(made, told):
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(made.path)}
    told("--agent", "answer=0.5")
    assert before == {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(made.path)}
