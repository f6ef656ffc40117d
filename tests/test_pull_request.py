"""A pull request from `git init` to red and to green, by the commands that the workflow file holds."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from .clusters import until
from .repositories import IDENTITY, Repository

WORKFLOW = ".github/workflows/quark-bench.yml"
GATE = (sys.executable, "-m", "quark_bench", "gate")
ONE_WORKER = ("--workers", "1")
FEW = ("--limit", "8")
"""Enough to see an agent that is four times as slow; that nothing changed takes all prompts."""
QUICK, SLOW = "sleep(0.040)  # stands for a search", "sleep(0.160)  # stands for a search"


class PullRequest:
    """A project of its own, and the job that GitHub would run for it."""

    def __init__(self, folder):
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.summary = folder / "summary.md"
        self.repository = Repository(folder / "project")
        self.folder = self.repository.folder
        self.call(sys.executable, "-m", "quark_bench", "init", "--ci", "github")
        self.repository.commit(**{".gitignore": "reports/\ngate.xml\n"})
        self.repository.git("switch", "--quiet", "--create", "change")

    def start(self, *arguments, **environment):
        env = os.environ | IDENTITY | {"TMPDIR": str(self.scratch)} | environment
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(arguments, cwd=self.folder, env=env, **pipes)

    def call(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def edit(self, before, after):
        file = self.folder / "support.py"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    def gate(self, *options):
        """The workflow's own step, against the branch that the pull request goes to, on one worker a side."""
        yaml = pytest.importorskip("yaml")
        steps = yaml.safe_load((self.folder / WORKFLOW).read_text("utf-8"))["jobs"]["gate"]["steps"]
        (script,) = (step["run"] for step in steps if step.get("name") == "Gate")
        installed = f'quark-bench() {{ {shlex.quote(sys.executable)} -m quark_bench "$@" {shlex.join(options)}; }}\n'
        settings = {"BASE": "main", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(self.summary)}
        return self.call("bash", "-e", "-c", installed + script, **settings)

    def failures(self):
        """The names of the tests that `gate.xml` calls failed."""
        cases = ElementTree.parse(self.folder / "gate.xml").iter("testcase")
        return [case.get("name") for case in cases if case.find("failure") is not None]

    def left_behind(self):
        return [path.name for path in self.scratch.iterdir() if path.name.startswith("quark-bench-")]


@pytest.fixture
def pull_request(tmp_path):
    return PullRequest(tmp_path)


def test_a_pull_request_that_slows_an_agent_is_red_and_once_mended_green(pull_request):
    pull_request.edit(QUICK, SLOW)
    pull_request.repository.commit()
    red = pull_request.gate(*ONE_WORKER, *FEW)
    assert red.returncode == 1, red.stdout + red.stderr
    assert "regressed against main (" in red.stdout
    assert re.search(r"retrieval \d\S*x slower", red.stdout)
    assert "latency" in pull_request.failures()
    assert "::error" in red.stdout
    assert "retrieval" in pull_request.summary.read_text()
    assert pull_request.left_behind() == []

    pull_request.edit(SLOW, QUICK)  # what is not committed counts: the candidate is the working tree
    green = pull_request.gate(*ONE_WORKER)
    assert green.returncode == 0, green.stdout + green.stderr
    assert "pass against main (" in green.stdout
    assert pull_request.failures() == []
    assert pull_request.left_behind() == []


def test_a_gate_that_is_interrupted_leaves_no_tree_and_goes_on_against_the_same_commit(pull_request):
    repository = pull_request.repository
    named = ("prompts.jsonl", "--pipeline", "support.py:pipeline", "--against", "main")
    process = pull_request.start(*GATE, *named, *ONE_WORKER, *FEW)
    until(lambda: list(pull_request.folder.glob("reports/*/records/part-*")) or process.poll() is not None)
    commit = repository.git("rev-parse", "main")
    assert [name for name in pull_request.left_behind() if commit[:12] in name]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert pull_request.left_behind() == []

    pull_request.edit("pipeline = Pipeline(", "1 / 0\npipeline = Pipeline(")
    repository.commit()
    repository.git("branch", "--force", "main")
    pull_request.edit("1 / 0\n", "")
    folder = re.search(r"continue with: quark-bench gate --resume (\S+)", told).group(1)
    ended = pull_request.call(*GATE, "--resume", folder)
    assert ended.returncode in (0, 3), ended.stderr
    manifest = json.loads((pull_request.folder / folder / "manifest.json").read_text())
    assert (manifest["gating"]["commit"], manifest["session"], manifest["state"]) == (commit, 1, "complete")
    assert manifest["conservation"]["ok"] == manifest["conservation"]["planned"]
    assert pull_request.left_behind() == []
