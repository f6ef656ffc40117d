"""What a gate measures against, from the name that a person gives; revisions are real ones."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, Prompt, agent
from quark_bench.baseline import data_changes, find_baseline
from quark_bench.errors import PipelineError, RunNotFoundError, UsageError
from quark_bench.gate_result import NULL, PIPELINE, REVISION, RUN
from quark_bench.store import write_manifest

from .repositories import Repository

PROMPTS = Dataset.of(["one", "two"])
CODE = """
from quark_bench import Pipeline, agent

@agent
async def answer(prompt):
    return {says}

pipeline = Pipeline("support", [answer])
"""


def code(says):
    return CODE.format(says=repr(says))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a pipeline, changed since its last commit; this process works in it."""
    made = Repository(tmp_path / "project")
    made.commit(**{"support.py": code("then"), "prompts.jsonl": '{"id": "a", "text": "one"}\n'})
    (made.folder / "support.py").write_text(code("now"))
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return made


def found(against, candidate="support.py:pipeline", dataset=PROMPTS, out="reports"):
    """What is found, and whether its files are still there afterwards."""
    with find_baseline(against, candidate, dataset, out) as baseline:
        return baseline


def test_without_a_name_the_candidate_is_its_own_baseline(repository):
    baseline = found(None)
    assert (baseline.kind, baseline.told, baseline.pipeline.name) == (NULL, "itself", "support")


def test_a_name_with_a_colon_is_a_pipeline(repository):
    (repository.folder / "old.py").write_text(code("old"))
    baseline = found("old.py:pipeline")
    assert (baseline.kind, baseline.told) == (PIPELINE, "old.py:pipeline")
    assert (baseline.commit, baseline.run) == (None, None)


def test_a_pipeline_is_told_by_its_name():
    @agent
    async def answer(prompt):
        return 1

    baseline = found(Pipeline("other", [answer]), Pipeline("mine", [answer]))
    assert (baseline.kind, baseline.told) == (PIPELINE, "other")


def test_a_folder_with_a_manifest_is_a_run_also_where_a_branch_has_its_name(repository, run_with, inline, tmp_path):
    run = run_with(inline, 2, "kinds.py:pipeline", arms=["async"])
    repository.git("branch", run.path.name)
    for named in (run.path, str(run.path), run.path.name, "last"):
        baseline = found(named, out=tmp_path)
        assert (baseline.kind, baseline.told, baseline.run.path.name) == (RUN, run.path.name, run.path.name)


def test_a_run_that_cannot_be_read_is_no_revision(repository, tmp_path):
    (tmp_path / "main").mkdir()
    write_manifest(tmp_path / "main", {"format": 99})
    with pytest.raises(RunNotFoundError, match="is of format 99"):
        found("main", out=tmp_path)
    with pytest.raises(RunNotFoundError, match="there are no runs"):
        found("last", out=tmp_path / "none")


def test_every_other_name_is_a_revision_whose_files_are_there_meanwhile(repository):
    with find_baseline("main", "support.py:pipeline", PROMPTS, "reports") as baseline:
        top = baseline.shipment.tree.top
        assert os.path.exists(os.path.join(top, "support.py"))
    assert not os.path.exists(top)
    assert baseline.kind == REVISION
    assert baseline.commit == repository.git("rev-parse", "main")
    assert baseline.told == f"main ({baseline.commit[:12]})"
    assert [step.name for step in baseline.pipeline.steps] == ["answer"]


@pytest.mark.parametrize("name", ["nowhere", "-x", "x" * 5000, "a/b/c", "refs/heads/none"])
def test_an_unknown_name_says_what_can_be_named(repository, name):
    with pytest.raises(UsageError, match=r"no such commit, branch or tag.*a pipeline is named with a colon") as caught:
        found(name)
    assert caught.value.exit_code == 2


def test_a_commit_has_no_pipeline_object_and_not_the_built_in_one(repository):
    for candidate in ("quark", Pipeline("mine", [agent(name="a")(lambda: 1)])):
        with pytest.raises(UsageError, match=r"a commit holds a pipeline as FILE.py:NAME or package.module:NAME"):
            found("main", candidate)


def test_a_pipeline_that_is_newer_than_the_commit_or_in_none_is_told(repository):
    (repository.folder / "new.py").write_text(code("new"))
    with pytest.raises(PipelineError, match=r"^main \(.{12}\) has no file new.py; name a commit that has it"):
        found("main", "new.py:pipeline")


def test_a_pipeline_in_a_submodule_is_told(repository, tmp_path):
    inner = Repository(tmp_path / "inner")
    inner.commit(**{"flow.py": code("inner")})
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.folder), "inner")
    repository.commit()
    with pytest.raises(PipelineError, match=r"has no file inner/flow.py.*untracked and ignored files, submodules"):
        found("main", "inner/flow.py:pipeline")


def test_a_helper_that_is_in_no_commit_is_told_with_file_and_line(repository):
    helped = "import hidden\n" + code("then")
    repository.commit(**{".gitignore": "hidden.py", "support.py": helped, "hidden.py": ""})
    with pytest.raises(
        PipelineError, match=r"support.py, line 1: ModuleNotFoundError.*untracked and ignored files"
    ) as caught:
        found("main")
    assert str(caught.value).startswith("main (")
    assert "/tmp" not in str(caught.value).partition("cannot be the baseline")[2]


def test_a_pipeline_outside_the_repository_is_told(repository, tmp_path):
    (tmp_path / "outside.py").write_text(code("outside"))
    with pytest.raises(UsageError, match=r"outside.py:pipeline is not in the repository .*start from that repository"):
        found("main", str(tmp_path / "outside.py") + ":pipeline")


def test_the_command_may_be_started_in_a_folder_that_the_commit_has_not(repository, monkeypatch):
    (repository.folder / "new" / "folder").mkdir(parents=True)
    monkeypatch.chdir(repository.folder / "new" / "folder")
    assert found("main", "../../support.py:pipeline").pipeline.name == "support"


def test_a_module_is_found_where_the_working_tree_has_it(repository, monkeypatch):
    package = {"src/shop/__init__.py": "", "src/shop/helper.py": "NAME = 'then'", "src/shop/flow.py": code("then")}
    package["src/shop/flow.py"] = "from .helper import NAME\n" + code("then").replace('"support"', "NAME")
    repository.commit(**package)
    (repository.folder / "src/shop/helper.py").write_text("NAME = 'now'")
    monkeypatch.syspath_prepend(str(repository.folder / "src"))
    baseline = found("main", "shop.flow:pipeline")
    assert baseline.pipeline.name == "then"
    assert sys.modules["shop.helper"].NAME == "now"
    repository.git("rm", "--quiet", "--cached", "-r", "src")
    repository.git("commit", "--quiet", "--message", "gone")
    with pytest.raises(PipelineError, match=r"no module 'shop.flow'|there is no"):
        found("main", "shop.flow:pipeline")


def test_an_installed_copy_is_no_candidate_for_a_revision(repository, monkeypatch):
    place = "env/site-packages"
    repository.commit(**{f"{place}/shopcopy.py": code("copy")})
    monkeypatch.syspath_prepend(str(repository.folder / place))
    with pytest.raises(UsageError, match=r"is a copy installed in .*pip install -e"):
        found("main", "shopcopy:pipeline")


def test_a_changed_data_set_is_told_and_the_prompts_are_those_of_here(repository):
    file = repository.folder / "prompts.jsonl"
    assert found("main", dataset=Dataset.read(file)).data_changes == ""
    file.write_text('{"id": "b", "text": "two"}\n')
    told = found("main", dataset=Dataset.read(file)).data_changes
    assert told.startswith("prompts.jsonl has changed since main (")
    assert "1 vanished (a), 1 new (b); both sides run the prompts of here" in told
    repository.git("rm", "--quiet", "--cached", "prompts.jsonl")
    repository.git("commit", "--quiet", "--message", "gone")
    assert "has no prompts.jsonl" in found("main", dataset=Dataset.read(file)).data_changes


def test_a_limited_data_set_is_compared_as_a_file(repository):
    file = repository.folder / "prompts.jsonl"
    repository.commit(**{"prompts.jsonl": "".join(f'{{"id": "{n}", "text": "{n}"}}\n' for n in range(9))})
    assert found("main", dataset=Dataset.read(file).limit(3)).data_changes == ""


def test_a_data_set_that_was_broken_then_is_told(repository):
    file = repository.folder / "prompts.jsonl"
    repository.commit(**{"prompts.jsonl": "{"})
    file.write_text('{"id": "b", "text": "two"}\n')
    told = found("main", dataset=Dataset.read(file)).data_changes
    assert told.startswith("prompts.jsonl of main (")
    assert "cannot be compared: prompts.jsonl" in told


prompts = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y"]), min_size=1).map(
    lambda texts: Dataset([Prompt(id=name, text=text) for name, text in texts.items()], "d")
)


@given(prompts, prompts)
def test_data_changes_are_empty_for_equal_data_and_turn_over_with_the_sides(then, now):
    told, back = data_changes(then, now), data_changes(now, then)
    assert (told == "") == (then.content_hash == now.content_hash)
    assert ("vanished" in told) == ("new" in back)
    assert ("changed" in told) == ("changed" in back)


def test_a_commit_that_does_not_import_leaves_nothing_behind(repository, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    repository.commit(**{"support.py": "1 / 0"})
    (repository.folder / "support.py").write_text(code("mended"))
    with pytest.raises(PipelineError, match=r"cannot be the baseline: support\.py .*line 1: ZeroDivisionError"):
        found("main")
    assert list(scratch.iterdir()) == []


def test_a_candidate_that_does_not_import_is_at_fault_itself(repository):
    repository.commit(**{"support.py": "1 / 0"})
    with pytest.raises(PipelineError, match="line 1: ZeroDivisionError") as caught:
        found("main")
    assert "cannot be the baseline" not in str(caught.value)


def test_this_process_never_imports_the_other_tree(repository):
    script = (
        "from quark_bench.baseline import find_baseline\nfrom quark_bench import Dataset\nimport sys\n"
        "with find_baseline('main', 'support.py:pipeline', Dataset.of(['x']), 'reports') as found:\n"
        "    top = found.shipment.tree.top\n"
        "    files = [getattr(each, '__file__', None) or '' for each in sys.modules.values()]\n"
        "    print(any(top in each for each in [*files, *sys.path]))\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
