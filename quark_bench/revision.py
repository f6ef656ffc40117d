"""Revision: the files of another commit of the repository around this folder, in a folder of their own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quark_bench.errors import UsageError

LONGEST_ANSWER_S = 120.0
LONGEST_TOLD = 300
MOST_NAMED = 5
"""Branches and tags, where the one that was named does not exist."""
NUMBER = re.compile(r"[0-9a-f]{7,64}")
FULL_NUMBER = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})
"""What git sets for its hooks: with it, it would look there, and not around the folder it is asked about."""


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
        by_number = NUMBER.fullmatch(self.named) and self.commit.startswith(self.named)
        return short if by_number else f"{self.named} ({short})"


def find_revision(named: str, folder: Path) -> Revision:
    """The commit that `named` is in the repository around `folder`.

    Raises UsageError where there is no repository or no such commit, saying what to fetch in a shallow clone.
    """
    top = _git(folder, named, "rev-parse", "--show-toplevel")
    if top.returncode:
        raise UsageError(
            f"--against {named}: {folder} is in no git repository that can be read ({_complaint(top)}); name a "
            "pipeline (FILE.py:NAME) or a run's folder, or start from your project's folder"
        )
    repository = Path(_line(top)).resolve()
    found = _git(repository, named, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{named}^{{commit}}")
    commit = _line(found)
    if found.returncode or not FULL_NUMBER.fullmatch(commit):  # of `^main` git gives `^` and a number
        raise UsageError(f"--against {named or repr(named)}: {_missing(named, repository)}")
    return Revision(named, commit, repository)


def _missing(named: str, repository: Path) -> str:
    if _line(_git(repository, named, "rev-parse", "--is-shallow-repository")) == "true":
        return (
            f"this clone is shallow and does not hold it; fetch it: {_fetch(named)}, "
            "or in GitHub Actions give actions/checkout fetch-depth: 0"
        )
    listed = _git(repository, named, "for-each-ref", "--format=%(refname)", "--sort=-committerdate")
    names = [name.split("/", 2)[2] for name in _line(listed).splitlines() if name.count("/") > 1]
    near = [name for name in names if name.endswith(f"/{named}")] or names[:MOST_NAMED]
    hint = f"there are {', '.join(near)}; " if near else ""
    return f"no such commit, branch or tag in {repository}; {hint}a pipeline is named with a colon, as FILE.py:NAME"


def _fetch(named: str) -> str:
    """The command that brings it into a shallow clone: a name or a full number by itself, all else with what is
    between."""
    remote, _, branch = named.partition("/")
    if FULL_NUMBER.fullmatch(named):
        return f"git fetch --depth=1 origin {named}"
    if NUMBER.fullmatch(named) or not named or set(named) & set("~^@{} ") or named.startswith("-") or named == "HEAD":
        return "git fetch --unshallow"
    if remote == "origin" and branch:
        return f"git fetch --depth=1 origin {shlex.quote(f'{branch}:refs/remotes/origin/{branch}')}"
    return f"git fetch --depth=1 origin {shlex.quote(f'{named}:{named}')}"


@contextmanager
def unpacked(revision: Revision) -> Iterator[Path]:
    """A folder with the commit's files, as `git archive` gives them, removed at the end. Raises UsageError."""
    folder = Path(tempfile.mkdtemp(prefix=f"quark-bench-{revision.commit[:12]}-")).resolve()
    try:
        with tempfile.TemporaryFile() as archive:
            _archive(revision, archive)
            _extract(archive, folder, revision)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _archive(revision: Revision, file: IO[bytes]) -> None:
    named = revision.named
    # Of the tree: of the commit, one without files gives an archive that Python cannot read.
    given = _git(revision.repository, named, "archive", "--format=tar", f"{revision.commit}^{{tree}}", stdout=file)
    if given.returncode:
        raise UsageError(f"--against {named}: git archive failed: {_complaint(given)}")


def _extract(archive: IO[bytes], folder: Path, revision: Revision) -> None:
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive) as files:
            # Links may lead anywhere, as they do in a checkout. An attribute: Python 3.11.0 to 3.11.3 has no `filter`.
            files.extraction_filter = getattr(tarfile, "tar_filter", None)
            files.extractall(folder)  # noqa: S202 - of our own repository
    except (OSError, tarfile.TarError) as error:
        raise UsageError(
            f"--against {revision.named}: its files cannot be unpacked in {folder.parent}: {error}; "
            "name a place with more room in TMPDIR"
        ) from error


def _git(
    folder: Path, named: str, *arguments: str, stdout: IO[bytes] | int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    """What git answers. Raises UsageError where there is no git, or it does not answer."""
    settings: dict[str, Any] = {
        "env": {name: value for name, value in os.environ.items() if name not in ELSEWHERE},
        "stdin": subprocess.DEVNULL,
        "timeout": LONGEST_ANSWER_S,
    }
    try:
        return subprocess.run(  # noqa: S603
            [_program(), *arguments], cwd=folder, stdout=stdout, stderr=subprocess.PIPE, check=False, **settings
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"--against {named}: git {arguments[0]} gave no answer within {LONGEST_ANSWER_S:.0f} s; try it by hand"
        ) from None
    except ValueError:
        raise UsageError(
            f"--against {named!r}: no name that git could have; name a branch, a tag or a commit"
        ) from None


def _program() -> str:
    git = shutil.which("git")
    if git is None:
        raise UsageError("--against needs git, which is not installed here; name a pipeline or a run's folder instead")
    return git


def _line(answer: subprocess.CompletedProcess[bytes]) -> str:
    """What it wrote, without the last line's end; file names need not be UTF-8."""
    return os.fsdecode(answer.stdout).removesuffix("\n")


def _complaint(answer: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(answer.stderr.decode(errors="replace").split())[:LONGEST_TOLD] or f"exit {answer.returncode}"
