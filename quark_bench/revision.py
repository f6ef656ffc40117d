"""Revision: the files of another commit of the repository around this folder, in a folder of their own."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quark_bench.errors import UsageError

LONGEST_ANSWER_S = 120.0
LONGEST_TOLD = 300


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit: `named` as a person did, `commit` in full; `repository` is the working tree's top folder."""

    named: str
    commit: str
    repository: Path

    @property
    def told(self) -> str:
        """`main (3fe2b81c90aa)`, or the commit alone where it was named by its number."""
        short = self.commit[:12]
        return short if self.commit.startswith(self.named) else f"{self.named} ({short})"


def find_revision(named: str, folder: Path) -> Revision:
    """The commit that `named` is in the repository around `folder`.

    Raises UsageError where there is no repository or no such commit, saying what to fetch in a shallow clone.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(
            f"--against {named}: {folder} is in no git repository; name a pipeline (FILE.py:NAME) or a run's folder, "
            "or start from your project's folder"
        )
    repository = Path(top)
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{named}^{{commit}}")
    if commit is None:
        raise UsageError(f"--against {named}: {_missing(named, repository)}")
    return Revision(named, commit, repository)


def _missing(named: str, repository: Path) -> str:
    if _git(repository, "rev-parse", "--is-shallow-repository") == "true":
        return (
            f"this clone is shallow and does not hold it; fetch it: git fetch --depth=1 origin {named}:{named}, "
            "or in GitHub Actions give actions/checkout fetch-depth: 0"
        )
    branches = _git(repository, "for-each-ref", "--format=%(refname:short)", "--count=5", "--sort=-committerdate")
    known = ", ".join((branches or "").split())
    hint = f"there are {known}; " if known else ""
    return f"no such commit, branch or tag in {repository}; {hint}a pipeline is named with a colon, as FILE.py:NAME"


@contextmanager
def unpacked(revision: Revision) -> Iterator[Path]:
    """A folder with the commit's files, as `git archive` gives them, removed at the end. Raises UsageError."""
    folder = Path(tempfile.mkdtemp(prefix=f"quark-bench-{revision.commit[:12]}-"))
    try:
        archive = _archive(revision)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="tar")  # links may lead anywhere in the tree, as they do in a checkout
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _archive(revision: Revision) -> bytes:
    given = subprocess.run(  # noqa: S603
        [_program(), "archive", "--format=tar", revision.commit],
        cwd=revision.repository,
        capture_output=True,
        timeout=LONGEST_ANSWER_S,
        check=False,
    )
    if given.returncode:
        told = given.stderr.decode(errors="replace").strip()[-LONGEST_TOLD:]
        raise UsageError(f"--against {revision.named}: git archive failed: {told}")
    return given.stdout


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None where it does not know. Raises UsageError where there is no git."""
    given = subprocess.run(  # noqa: S603
        [_program(), *arguments], cwd=folder, capture_output=True, text=True, timeout=LONGEST_ANSWER_S, check=False
    )
    return given.stdout.strip() if given.returncode == 0 else None


def _program() -> str:
    git = shutil.which("git")
    if git is None:
        raise UsageError("--against needs git, which is not installed here; name a pipeline or a run's folder instead")
    return git
