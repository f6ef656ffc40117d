"""`quark-bench gate` as people and CI jobs type it."""

import json

import pytest

from quark_bench.cli.app import call
from quark_bench.errors import UsageError

PIPELINES = """
import asyncio
from quark_bench import Pipeline, agent

def echo(seconds, fails=False):
    @agent
    async def reply(prompt):
        await asyncio.sleep(seconds)
        if fails:
            raise ValueError("no idea")
        return prompt.text
    return Pipeline("echo", [reply])

steady, slow, broken = echo(0.004), echo(0.012), echo(0.004, fails=True)
"""
FAST = ["--on", "inline", "--in-flight", "1", "--repeats", "1", "--warmup", "2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "voices.py").write_text(PIPELINES)
    rows = ({"id": f"p-{n}", "text": f"text {n}", "reference": f"text {n}"} for n in range(8))
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def gated(candidate, against, *arguments):
    names = ["--pipeline", f"voices.py:{candidate}", "--against", f"voices.py:{against}"]
    return call(["gate", "prompts.jsonl", *names, *FAST, *arguments])


def test_a_regression_is_exit_1_and_is_told_on_the_terminal_in_files_and_to_github(folder, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    assert gated("slow", "steady", "--junit", "gate.xml", "--markdown", "gate.md") == 1
    told = capsys.readouterr().out
    assert told.startswith("regressed against pipeline voices.py:steady: ")
    assert all(len(line) <= 80 for line in told.splitlines() if not line.startswith(("::", "Report", "Look")))
    assert "::error title=quark-bench gate%3A latency regressed::" in told
    assert 'type="regressed"' in (folder / "gate.xml").read_text()
    assert (folder / "gate.md").read_text() == (folder / "summary.md").read_text()
    assert call(["show", "last"]) == 0
    assert "regressed against pipeline voices.py:steady: " in capsys.readouterr().out


def test_json_is_one_object_and_people_are_told_on_stderr(folder, capsys):
    assert gated("steady", "slow", "--json") in (0, 3)
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["kind"], found["against"]) == ("pipeline", "voices.py:slow")
    assert [each["change"]["measure"] for each in found["judged"]][:3] == ["latency", "throughput", "failures"]
    assert "against pipeline voices.py:slow" in told.err


def test_where_every_trial_fails_the_first_error_is_told_and_the_exit_code_is_4(folder, capsys):
    assert gated("broken", "broken") == 4
    assert "Every trial failed; the first error: ValueError: no idea" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name the baseline, as in --against main"),
        (["--null", "--against", "main"], "--null measures the candidate against itself"),
        (["--against", "voices.py:nobody"], "has no 'nobody'"),
        (["--against", "main"], "is in no git repository"),
        (["--null", "--junit", "nowhere/gate.xml"], "--junit nowhere/gate.xml: there is no folder nowhere"),
        (["--null", "--arm", "fast"], "unknown arm 'fast'"),
        (["--null", "--clusters", "document"], "no prompt has it"),
        (["--null", "--repeats", "0"], "--repeats 0"),
    ],
)
def test_wrong_usage_says_what_to_do(arguments, told, folder):
    with pytest.raises(UsageError, match=told):
        call(["gate", "prompts.jsonl", "--pipeline", "voices.py:steady", *FAST[:4], *arguments])


def test_a_gate_is_continued_by_its_own_command_only(folder, capsys):
    assert gated("steady", "slow") in (0, 3)
    with pytest.raises(UsageError, match="is complete"):
        call(["gate", "--resume", "last"])
    with pytest.raises(UsageError, match="names no `quark-bench run` to continue with"):
        call(["run", "--resume", "last"])
