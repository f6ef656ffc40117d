"""`quark-bench init`: what it writes, and that it overwrites nothing."""

import shlex
import subprocess

import pytest

from quark_bench import Dataset, bench
from quark_bench.cli.init import init
from quark_bench.errors import UsageError

STARTER = ("support.py", "prompts.jsonl")
WORKFLOW = ".github/workflows/quark-bench.yml"


def workflow_of(folder):
    """The workflow as GitHub reads it; the word `on` is true to YAML 1.1."""
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((folder / WORKFLOW).read_text("utf-8"))


def gate_of(folder):
    """The script of the step that gates."""
    (step,) = (each for each in workflow_of(folder)["jobs"]["gate"]["steps"] if each.get("name") == "Gate")
    return step["run"]


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_starter_is_two_files_and_the_next_commands(tmp_path, capsys):
    assert init(tmp_path, None) == 0
    assert written(tmp_path) == sorted(STARTER)
    told = capsys.readouterr().out
    assert "Wrote " in told
    assert "quark-bench run prompts.jsonl --pipeline support.py:pipeline" in told
    assert f"cd {tmp_path}" in told


def test_the_starter_runs_and_most_of_its_answers_are_right(tmp_path):
    init(tmp_path / "new", None)
    prompts = Dataset.read(tmp_path / "new" / "prompts.jsonl")
    named = f"{tmp_path / 'new' / 'support.py'}:pipeline"
    run = bench(prompts, named, arms=["async"], on="inline", out=tmp_path / "runs")
    assert len(prompts) == 24
    assert [step["name"] for step in run.manifest["pipeline"]["agents"]] == ["intent", "retrieval", "reply"]
    assert run.manifest["conservation"]["ok"] == 24
    assert 0.5 < run.measures["async"]["score_exact"].value < 1


def test_what_is_there_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "support.py").write_text("mine")
    assert init(tmp_path, "github") == 0
    assert (tmp_path / "support.py").read_text() == "mine"
    assert written(tmp_path) == sorted([*STARTER, WORKFLOW])
    told = capsys.readouterr().out
    assert "support.py, which was there already" in told
    before = {path: (tmp_path / path).read_bytes() for path in written(tmp_path)}
    assert init(tmp_path, "github") == 0
    assert "Nothing was written" in capsys.readouterr().out
    assert {path: (tmp_path / path).read_bytes() for path in written(tmp_path)} == before


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "support.py").symlink_to(tmp_path / "elsewhere")
    init(tmp_path, None)
    assert not (tmp_path / "elsewhere").exists()


def test_the_workflow_reads_only_and_sees_the_whole_history(tmp_path):
    init(tmp_path, "github")
    workflow = workflow_of(tmp_path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow[True] == {"pull_request": None}
    job = workflow["jobs"]["gate"]
    assert job["defaults"]["run"]["working-directory"] == "."
    assert job["steps"][0]["with"] == {"fetch-depth": 0}
    assert "${{" not in gate_of(tmp_path)
    assert job["steps"][-1]["with"]["path"].split() == ["./reports/", "./gate.xml"]


def test_the_workflow_of_a_folder_lies_at_the_top_of_its_repository(tmp_path):
    (tmp_path / ".git").mkdir()
    init(tmp_path / "my: bench", "github")
    job = workflow_of(tmp_path)["jobs"]["gate"]
    assert job["defaults"]["run"]["working-directory"] == "my: bench"
    assert job["steps"][-1]["with"]["path"].splitlines() == ["my: bench/reports/", "my: bench/gate.xml"]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 4)])
def test_only_an_inconclusive_gate_is_a_warning(tmp_path, code, expected):
    """The script as GitHub's runner starts it, with commands of ours in the place of git and quark-bench."""
    init(tmp_path, "github")
    commands = f'git() {{ true; }}\nquark-bench() {{ echo "$@"; return {code}; }}\n'
    told = _run(commands + gate_of(tmp_path), tmp_path)
    assert told.returncode == expected
    assert ("::warning " in told.stdout) == (code == 3)
    assert "gate prompts.jsonl --pipeline support.py:pipeline --against origin/main --junit gate.xml" in told.stdout


def test_a_base_without_the_pipeline_has_nothing_to_gate(tmp_path):
    init(tmp_path, "github")
    told = _run("git() { false; }\nquark-bench() { exit 9; }\n" + gate_of(tmp_path), tmp_path)
    assert told.returncode == 0
    assert "::notice " in told.stdout


def _run(script, folder):
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={"BASE": "origin/main", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gate_of_the_workflow_has_options_that_the_command_knows(tmp_path):
    pytest.importorskip("quark_bench.cli.gate")
    from typer.main import get_command

    from quark_bench.cli.app import app

    init(tmp_path, "github")
    (line,) = (each for each in gate_of(tmp_path).splitlines() if each.strip().startswith("quark-bench gate"))
    known = {option for each in get_command(app).commands["gate"].params for option in each.opts}
    assert {word for word in shlex.split(line) if word.startswith("--")} <= known


def test_an_unknown_ci_and_a_folder_that_is_none_say_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="only github is known"):
        init(tmp_path, "jenkins")
    assert written(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="name another"):
        init(tmp_path / "file", None)
    with pytest.raises(UsageError, match="name another"):
        init(tmp_path / "file" / "below", None)
