import os
import shlex
import subprocess
from pathlib import Path

import pytest

from quark_bench import revision as revision_module
from quark_bench.errors import UsageError
from quark_bench.revision import Revision, find_revision, unpacked

from .repositories import Repository, write


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "project")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_a_branch_a_tag_an_ancestor_and_a_number_name_a_commit(repository):
    first = repository.commit(**{"a.txt": "1"})
    repository.git("tag", "--annotate", "v1", "--message", "first")
    second = repository.commit(**{"a.txt": "2"})
    names = {"main": second, "HEAD": second, "HEAD~1": first, "v1": first, first: first, first[:8]: first}
    assert {name: find_revision(name, repository.folder).commit for name in names} == names


def test_a_detached_head_and_a_linked_working_tree_are_like_any_other(repository, tmp_path):
    first = repository.commit()
    repository.git("switch", "--quiet", "--detach")
    assert find_revision("HEAD", repository.folder).commit == first
    repository.git("worktree", "add", "--quiet", str(tmp_path / "beside"), "main")
    found = find_revision("main", tmp_path / "beside")
    assert (found.commit, found.repository) == (first, tmp_path / "beside")


def test_the_repository_is_the_top_folder_also_from_further_down(repository):
    repository.commit(**{"a/b/c.txt": ""})
    assert find_revision("main", repository.folder / "a" / "b").repository == repository.folder


@pytest.mark.parametrize("name", ["-odd", "feature/it's", "naïve", "a$b;c", "deadbee", "--help"])
def test_a_branch_may_have_any_name_that_git_allows(repository, name):
    commit = repository.commit()
    repository.git("update-ref", f"refs/heads/{name}", commit)
    found = find_revision(name, repository.folder)
    assert found.commit == commit
    assert found.told == f"{name} ({commit[:12]})"


def test_a_number_is_told_once():
    commit = "3fe2b81c90aa" + "0" * 28
    assert Revision(commit, commit, Path()).told == commit[:12]
    assert Revision(commit[:7], commit, Path()).told == commit[:12]
    assert Revision("HEAD~1", commit, Path()).told == "HEAD~1 (3fe2b81c90aa)"


@pytest.mark.parametrize(
    "name", ["nowhere", "", "^main", "main..main", "main^{tree}", "--all", "a b", "x" * 5000, "\0"]
)
def test_what_is_no_commit_is_refused(repository, name):
    repository.commit()
    with pytest.raises(UsageError, match=r"no such commit, branch or tag|no name that git could have"):
        find_revision(name, repository.folder)


def test_a_repository_without_a_commit_has_no_revision(repository):
    with pytest.raises(UsageError, match=r"no such commit, branch or tag in \S+; a pipeline is named"):
        find_revision("main", repository.folder)


def test_an_unknown_branch_is_told_where_it_exists(repository, tmp_path):
    repository.commit()
    repository.git("branch", "release")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", str(repository.folder), str(clone))
    with pytest.raises(UsageError, match="there are origin/release; a pipeline is named with a colon"):
        find_revision("release", clone)
    with pytest.raises(UsageError, match=r"there are main, .*origin/release"):
        find_revision("relaese", clone)


@pytest.mark.parametrize("name", ["base", "origin/base", "v1", "HEAD~1", "number", "short"])
def test_what_a_shallow_clone_says_to_fetch_is_enough(repository, tmp_path, name):
    commit = repository.commit()
    repository.git("branch", "base")
    repository.git("tag", "v1")
    repository.commit()
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.folder}", str(clone))
    named = {"number": commit, "short": commit[:10]}.get(name, name)
    with pytest.raises(UsageError, match="this clone is shallow and does not hold it") as caught:
        find_revision(named, clone)
    command = str(caught.value).partition("fetch it: ")[2].partition(", or in GitHub")[0]
    subprocess.run(shlex.split(command), cwd=clone, check=True, capture_output=True)
    found = find_revision(named, clone)
    assert found.commit == commit
    with unpacked(found):
        pass


def test_outside_a_repository_it_says_where_to_start(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UsageError, match=r"in no git repository.*start from your project's folder"):
        find_revision("main", tmp_path)


def test_a_repository_of_somebody_else_is_told_in_the_words_of_git(repository, monkeypatch):
    repository.commit()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    with pytest.raises(UsageError, match=r"safe\.directory"):
        find_revision("main", repository.folder)


def test_in_a_hook_it_is_the_repository_around_the_folder_that_counts(repository, tmp_path, monkeypatch):
    commit = repository.commit(**{"a/b.txt": ""})
    Repository(tmp_path / "other").commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    found = find_revision("main", repository.folder / "a")
    assert (found.commit, found.repository) == (commit, repository.folder)
    with unpacked(found) as top:
        assert files_of(top) == {"a/b.txt"}


def test_without_git_it_says_what_else_to_name(repository, monkeypatch):
    monkeypatch.setattr(revision_module.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"needs git.*name a pipeline or a run's folder"):
        find_revision("main", repository.folder)


def test_a_git_that_does_not_answer_is_given_up(repository, monkeypatch):
    monkeypatch.setattr(revision_module, "LONGEST_ANSWER_S", 0.0)
    with pytest.raises(UsageError, match="gave no answer within 0 s"):
        find_revision("main", repository.folder)


def test_unpacked_are_the_files_of_the_commit_and_no_others(repository, scratch):
    names = {"a.py": "1", "deep/er/b c.txt": "ü", "run.sh": "#!/bin/sh\n"}
    write(repository.folder, names)
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "link").symlink_to("deep/er")
    (repository.folder / "out").symlink_to("/nowhere/at/all")
    repository.commit(**{".gitignore": "model.bin"})
    write(repository.folder, {"a.py": "changed", "new.py": "", "model.bin": "large"})
    with unpacked(find_revision("main", repository.folder)) as top:
        assert top.parent == scratch
        assert files_of(top) == {*names, ".gitignore", "link", "out"}
        assert (top / "a.py").read_text() == "1"
        assert (top / "link" / "b c.txt").read_text() == "ü"
        assert os.readlink(top / "out") == "/nowhere/at/all"
        assert os.access(top / "run.sh", os.X_OK)
        assert not os.access(top / "a.py", os.X_OK)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_folder_is_removed_whatever_happens(repository, scratch, error):
    repository.commit(**{"a.py": ""})
    with pytest.raises(error), unpacked(find_revision("main", repository.folder)):
        raise error
    assert list(scratch.iterdir()) == []


def test_files_that_cannot_be_archived_or_unpacked_are_told_and_nothing_is_left(repository, scratch, monkeypatch):
    commit = repository.commit(**{"a.py": ""})
    with (
        pytest.raises(UsageError, match="git archive failed: fatal"),
        unpacked(Revision("main", "0" * 40, repository.folder)),
    ):
        pass
    monkeypatch.setattr(revision_module.tarfile.TarFile, "extractall", _full)
    with (
        pytest.raises(UsageError, match=r"No space left.*TMPDIR"),
        unpacked(Revision("main", commit, repository.folder)),
    ):
        pass
    assert list(scratch.iterdir()) == []


def _full(self, *_, **__):
    raise OSError(28, "No space left on device")
