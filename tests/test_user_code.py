"""How a user's pipeline gets to the processes that run it."""

import io
import itertools
import pickle
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from quark_bench import Breaker, Pipeline, agent
from quark_bench.errors import PipelineError
from quark_bench.source_tree import SourceTree
from quark_bench.user_code import find_pipeline, pack_pipeline

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch, tmp_path):
    """Modules and folders that a test imports from are forgotten after it; unpacked trees stay below `tmp_path`."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path):
    """`project({"file.py": text, ...})`: a folder of those files; `NEW` in a name or text is a fresh word."""

    def made(files):
        word = f"module{next(NUMBERS)}"
        folder = tmp_path / word
        for name, text in files.items():
            path = folder / name.replace("NEW", word)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("NEW", word))
        return folder, word

    return made


SIMPLE = """
    from quark_bench import Pipeline

    def say(prompt):
        return prompt.text

    pipeline = Pipeline("simple", [say])
"""
WITH_SIBLING = """
    from pathlib import Path

    from NEW_words import greeting
    from quark_bench import Pipeline

    def say(prompt):
        return f"{greeting()}, {prompt.text}; {(Path(__file__).parent / 'data.txt').read_text()}"

    pipeline = Pipeline("siblings", [say])
"""
SIBLING = """
    def greeting():
        return "hello"
"""


def forget(folder):
    """As in another process: nothing imported from the folder."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def test_a_file_with_a_sibling_and_data_beside_it_runs_in_every_way(way, run_with, project):
    folder, word = project({"NEW.py": WITH_SIBLING, "NEW_words.py": SIBLING, "data.txt": "data"})
    run = run_with(way, ["you"], f"{folder}/{word}.py:pipeline", arms=["sync", "async"])
    assert set(run.records["answer"]) == {"hello, you; data"}


def test_a_module_of_a_package_runs_in_every_way(way, run_with, project, monkeypatch):
    inner = """
        from quark_bench import Pipeline
        from .words import greeting

        def say(prompt):
            return greeting()

        pipeline = Pipeline("inner", [say])
    """
    folder, word = project({"NEWpkg/__init__.py": "", "NEWpkg/inner.py": inner, "NEWpkg/words.py": SIBLING})
    monkeypatch.chdir(folder)
    pipeline = f"{word}pkg.inner:pipeline"
    run = run_with(way, ["you"], pipeline, arms=["async"])
    assert set(run.records["answer"]) == {"hello"}


SCRIPT = """
    import sys
    from dataclasses import dataclass

    from NEW_words import greeting
    from quark_bench import Dataset, Pipeline, agent, bench

    @dataclass
    class Found:
        text: str

    @agent(retries=1)
    async def find(prompt):
        return Found(f"{greeting()}, {prompt.text}")

    class Sayer:
        def __call__(self, find):
            return find.text

    pipeline = Pipeline("script", [find, agent(name="say")(Sayer())])

    if __name__ == "__main__":
        on, granularity, out = sys.argv[1:]
        run = bench(
            Dataset.of(["you"]), pipeline, arms=["sync", "async"], on=on, granularity=granularity, warmup=1, out=out
        )
        print(set(run.records["answer"]), set(run.records["status"]))
"""


def test_a_pipeline_defined_in_a_script_runs_in_every_way(way, project, tmp_path):
    folder, word = project({"NEW.py": SCRIPT, "NEW_words.py": SIBLING})
    command = [sys.executable, f"{folder}/{word}.py", *way, str(tmp_path / "reports")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.stdout == "{'hello, you'} {'ok'}\n", ended.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import quark_bench\n\nraise ValueError('on purpose')", r"NEW\.py, line 3: ValueError: on purpose"),
        ("def broken(:\n    pass", r"NEW\.py, line 1: SyntaxError"),
        ("import a_module_that_is_nowhere", r"NEW\.py, line 1: ModuleNotFoundError: .*a_module_that_is_nowhere"),
        ("x = 1\nimport sys\nsys.exit(3)", r"NEW\.py, line 3: SystemExit: 3"),
        ("other = 1", r"NEW\.py has no 'pipeline'; it holds no Pipeline at all"),
        ("pipeline = 1", r"NEW\.py is a int, no Pipeline: 'pipeline'"),
        (SIMPLE.replace("pipeline = ", "another = "), r"NEW\.py has no 'pipeline'; pipelines in it: another"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_with_its_line(project, text, told):
    folder, word = project({"NEW.py": text})
    with pytest.raises(PipelineError, match=told.replace("NEW", word)):
        find_pipeline(f"{folder}/{word}.py:pipeline")
    assert word not in sys.modules or text.startswith(("other", "pipeline", "\n"))


@pytest.mark.parametrize("named", ["nowhere.py:pipeline", "no.such.module:pipeline"])
def test_a_file_or_module_that_is_not_there_is_told(named):
    with pytest.raises(PipelineError, match=named.partition(":")[0]):
        find_pipeline(named)


@pytest.mark.parametrize("named", ["file.py", ":pipeline", "file.py:"])
def test_a_name_without_both_halves_is_told_how_it_is_written(named):
    with pytest.raises(PipelineError, match=r"FILE\.py:NAME"):
        find_pipeline(named)


def test_a_file_that_is_called_like_a_module_of_python_keeps_its_own(project):
    folder, _ = project({"json.py": SIMPLE})
    pipeline, shipment = find_pipeline(f"{folder}/json.py:pipeline")
    import json

    assert json.loads("1") == 1
    assert pipeline.name == shipment.load().name == "simple"


def test_two_files_of_one_name_do_not_take_each_others_place(project):
    one, _ = project({"same_name.py": SIMPLE})
    other, _ = project({"same_name.py": SIMPLE.replace('"simple"', '"other"')})
    named = [find_pipeline(f"{folder}/same_name.py:pipeline") for folder in (one, other)]
    assert [pipeline.name for pipeline, _ in named] == ["simple", "other"]
    assert [shipment.load().name for _, shipment in named] == ["simple", "other"]


def test_the_key_follows_the_source_and_nothing_else(project):
    folder, word = project({"NEW.py": WITH_SIBLING, "NEW_words.py": SIBLING, "notes.txt": "one"})
    named = f"{folder}/{word}.py:pipeline"

    def key():
        forget(folder)
        return find_pipeline(named)[1].key

    first = key()
    (folder / "notes.txt").write_text("another")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "code.py").write_text("x = 1")
    (folder / f"{word}.py").touch()
    assert key() == first
    (folder / f"{word}_words.py").write_text("def greeting(): return 'good morning'")
    assert key() != first


def test_the_key_is_equal_wherever_the_files_stand(project, tmp_path):
    folder, word = project({"NEW.py": SIMPLE})
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    keys = []
    for place in (folder, copy):
        forget(place)
        keys.append(find_pipeline(f"{place}/{word}.py:pipeline")[1].key)
    assert keys[0] == keys[1]


def test_files_that_are_there_are_imported_in_place_and_others_unpacked(project, tmp_path):
    importing = SIMPLE.replace("from quark", "import inner.deep\n    from quark", 1)
    folder, word = project({"NEW.py": importing, "inner/deep.py": "x = 1"})
    _, shipment = find_pipeline(f"{folder}/{word}.py:pipeline")
    shipment = pickle.loads(pickle.dumps(shipment))
    assert shipment.tree.folder() == folder
    shutil.rmtree(folder)
    forget(folder)
    unpacked = shipment.tree.folder()
    assert tmp_path / "unpacked" in unpacked.parents
    assert (unpacked / "inner" / "deep.py").read_text() == "x = 1"
    assert shipment.tree.folder() == unpacked
    assert shipment.load().name == "simple"
    assert Path(sys.modules[word].__file__).parent == unpacked


def test_files_that_have_changed_since_are_unpacked_as_they_were(project):
    folder, word = project({"NEW.py": SIMPLE})
    tree = tree_of(folder, f"{word}.py")
    (folder / f"{word}.py").write_text("raise SystemExit")
    assert tree.folder() != folder
    assert (tree.folder() / f"{word}.py").read_text() == textwrap.dedent(SIMPLE)


@pytest.mark.parametrize("left_out", [".venv", "__pycache__", "node_modules", "environment"])
def test_environments_and_caches_do_not_travel(project, left_out):
    code = {"code.py": "import pack", "pack/inner.py": "x = 1"}
    folder, _ = project({**code, f"pack/{left_out}/other.py": "y = 1"})
    if left_out == "environment":
        (folder / "pack" / left_out / "pyvenv.cfg").touch()
    alone, _ = project(code)
    assert tree_of(folder).digest == tree_of(alone).digest


def test_what_a_file_imports_travels_with_it_packages_as_a_whole_and_neighbours_not_at_all(project):
    files = {
        "code.py": "import near\ndef late():\n    from pack.inner import x",
        "near.py": "from far import y",
        "far.py": "y = 1",
        "pack/inner.py": "x = 1",
        "pack/found_by_name.py": "z = 1",
        "neighbour.py": "n = 1",
    }
    folder, _ = project(files)
    with zipfile.ZipFile(io.BytesIO(tree_of(folder).archive)) as archive:
        assert set(archive.namelist()) == files.keys() - {"neighbour.py"}
    before = tree_of(folder).digest
    (folder / "neighbour.py").write_text("n = 2")
    assert tree_of(folder).digest == before
    (folder / "far.py").write_text("y = 2")
    assert tree_of(folder).digest != before


def test_code_too_large_for_a_project_is_refused(project):
    folder, _ = project({"code.py": "import pack", **{f"pack/f{n}.py": "" for n in range(2_001)}})
    with pytest.raises(PipelineError, match="on the workers instead"):
        tree_of(folder)


def tree_of(folder, file="code.py"):
    return SourceTree.of(folder, [folder / file])


class Sayer:
    def __init__(self, word):
        self.word = word

    def __call__(self, prompt):
        return self.word


def saying(word, **options):
    return Pipeline("says", [agent(name="say", **options)(Sayer(word))])


def test_the_key_of_a_pipeline_by_value_follows_what_its_agents_do():
    assert pack_pipeline(saying("one")).key == pack_pipeline(saying("one")).key
    others = [saying("other"), saying("one", retries=1), saying("one", optional=True)]
    assert len({pack_pipeline(each).key for each in [saying("one"), *others]}) == 4


def test_the_key_of_a_pipeline_by_value_follows_policies_and_fallbacks():
    def asked(prompt):
        return prompt.text

    def other(prompt):
        return "other"

    def key(**options):
        return pack_pipeline(Pipeline("policies", [agent(**options)(asked)])).code_hash

    nested = agent(name="nested", fallback="at last")(other)
    ways = [
        {},
        {"retries": 1},
        {"breaker": Breaker()},
        {"breaker": Breaker(failures=2)},
        {"fallback": None},
        {"fallback": 1},
        {"fallback": "1"},
        {"fallback": other},
        {"fallback": agent(name="nested")(other)},
        {"fallback": nested},
        {"fallback": agent(name="nested", fallback="at first")(other)},
    ]
    keys = [key(**options) for options in ways]
    assert len(set(keys)) == len(ways)
    assert key(**ways[-1]) == keys[-1]


def test_a_pipeline_by_value_comes_back_as_it_was():
    loaded = pickle.loads(pickle.dumps(pack_pipeline(saying("one", retries=2)))).load()
    assert loaded.agents[0](prompt=None) == "one"
    assert loaded.agents[0].policy.retries == 2


def test_an_agent_that_cannot_travel_is_named():
    held = (n for n in "abc")

    def holding(prompt):
        return next(held)

    with pytest.raises(PipelineError, match="agent 'holding' cannot be sent to a worker"):
        pack_pipeline(Pipeline("held", [lambda_free, holding], answer="holding"))


def lambda_free(prompt):
    return prompt.text
