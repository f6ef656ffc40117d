"""`quark-bench sweep` as people type it."""

import json

import pytest

from quark_bench.cli.app import call
from quark_bench.errors import UsageError

PIPELINES = """
from quark_bench import Pipeline, agent

@agent
async def reply(prompt):
    return prompt.text

@agent
async def broken(prompt):
    raise ValueError("no idea")

fine, failing = Pipeline("fine", [reply]), Pipeline("failing", [broken])
"""
FAST = ["--on", "inline", "--warmup", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "two.py").write_text(PIPELINES)
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"text": f"text {n}"}) for n in range(9)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swept(pipeline, *arguments):
    return call(["sweep", "prompts.jsonl", "--pipeline", f"two.py:{pipeline}", *FAST, *arguments])


def test_where_every_trial_fails_the_exit_code_is_4_and_json_is_one_object(folder, capsys):
    assert swept("failing", "--in-flight", "1..64", "--slo", "latency_s<9@50%", "--json") == 4
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [(each["level"], each["met"], each["failed"]) for each in found["levels"]] == [(1, False, 9)]
    assert found["highest_met"] is None
    assert "Every trial failed at every level" in told.err


def test_a_sweep_is_continued_by_its_own_command(folder, capsys):
    assert swept("fine", "--in-flight", "1,2", "--slo", "latency_s<60@99%") == 3  # nine prompts cannot show it
    told = capsys.readouterr().out
    assert "What would decide the levels that are undecided" in told
    assert all(len(line) <= 80 for line in told.splitlines() if not line.startswith(("Curves", "Look")))
    with pytest.raises(UsageError, match="--seed beside --resume"):
        call(["sweep", "--resume", "last", "--seed", "1"])
    assert call(["sweep", "--resume", "last"]) == 3
    assert "--in-flight 1,2 --slo" in capsys.readouterr().err
