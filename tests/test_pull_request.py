"""A pull request from `git init` to red and to green, by the commands that the workflow file holds."""

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from .repositories import IDENTITY, Repository

WORKFLOW = ".github/workflows/quark-bench.yml"
COMMAND = f'quark-bench() {{ "{sys.executable}" -m quark_bench "$@" --workers 1 --limit 8; }}\n'
"""In the place of the installed command: the same, with fewer prompts and workers."""
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

    def call(self, *arguments, **environment):
        return subprocess.run(
            arguments,
            cwd=self.folder,
            env=os.environ | IDENTITY | {"TMPDIR": str(self.scratch)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def edit(self, before, after):
        file = self.folder / "support.py"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    def gate(self):
        """The workflow's own step, against the branch that the pull request goes to."""
        yaml = pytest.importorskip("yaml")
        steps = yaml.safe_load((self.folder / WORKFLOW).read_text("utf-8"))["jobs"]["gate"]["steps"]
        (script,) = (step["run"] for step in steps if step.get("name") == "Gate")
        settings = {"BASE": "main", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(self.summary)}
        return self.call("bash", "-e", "-c", COMMAND + script, **settings)

    def failures(self):
        """The names of the tests that `gate.xml` calls failed."""
        cases = ElementTree.parse(self.folder / "gate.xml").iter("testcase")
        return [case.get("name") for case in cases if case.find("failure") is not None]

    def left_behind(self):
        return [path.name for path in self.scratch.iterdir() if path.name.startswith("quark-bench-")]


def test_a_pull_request_that_slows_an_agent_is_red_and_once_mended_green(tmp_path):
    pull_request = PullRequest(tmp_path)
    pull_request.edit(QUICK, SLOW)
    pull_request.repository.commit()
    red = pull_request.gate()
    assert red.returncode == 1, red.stdout + red.stderr
    assert "regressed against main (" in red.stdout
    assert re.search(r"retrieval \d\S*x slower", red.stdout)
    assert "latency" in pull_request.failures()
    assert "::error" in red.stdout
    assert "retrieval" in pull_request.summary.read_text()
    assert pull_request.left_behind() == []

    pull_request.edit(SLOW, QUICK)  # what is not committed counts: the candidate is the working tree
    green = pull_request.gate()
    assert green.returncode == 0, green.stdout + green.stderr
    assert "pass against main (" in green.stdout
    assert pull_request.failures() == []
    assert pull_request.left_behind() == []
