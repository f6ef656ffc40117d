"""Pipelines of another version of a project, looked at and loaded in processes of their own."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from quark_bench import Pipeline, agent
from quark_bench import tree_pipeline as tree_pipeline_module
from quark_bench.errors import PipelineError
from quark_bench.tree_pipeline import Tree, outline, tree_pipeline
from quark_bench.user_code import find_pipeline

from .repositories import write

AGENT = """
from quark_bench import Pipeline, agent

@agent
async def answer(prompt):
    return SAYS

pipeline = Pipeline("p", [answer])
"""


@pytest.fixture
def project(tmp_path):
    """The folders of a project as it is worked on and of another version of it."""

    class Project:
        now, then = tmp_path / "now", tmp_path / "then"

        def differ(self, name, text):
            """A file that says which version it is of."""
            for folder in (self.now, self.then):
                write(folder, {name: text.replace("VERSION", repr(folder.name))})

        def tree(self, folder=""):
            return Tree(str(self.then), str(self.now), folder)

        def look(self, named, root="", folder=""):
            return tree_pipeline(self.tree(folder), named, root, "main (123)")

    for folder in (Project.now, Project.then):
        folder.mkdir()
    return Project()


ASK = """
import asyncio, pickle, sys
from quark_bench.errors import ExecutionError
from quark_bench.execute.step import Wired
try:
    wired = Wired(pickle.loads(bytes.fromhex(sys.argv[1])).load())
    print(asyncio.run(wired.pipeline.agents[0].function(None)))
except ExecutionError as error:
    print(error)
"""


def answer_of(looked, before="", folder=None, **environment):
    """What the pipeline's one agent answers in a process that runs `before` and then makes it ready, as a worker does;
    else why it cannot be made ready."""
    done = subprocess.run(
        [sys.executable, "-c", before + ASK, pickle.dumps(looked).hex()],
        cwd=folder or looked.tree.repository,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_and_its_helpers_are_those_of_the_tree(project):
    project.differ("helper.py", "SAYS = VERSION")
    project.differ("support.py", "from helper import SAYS\n" + AGENT)
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    assert answer_of(looked) == "then"


def test_helpers_that_the_process_has_imported_already_are_forgotten(project):
    project.differ("helper.py", "SAYS = VERSION")
    project.differ("parts/inner.py", "SAYS = VERSION")
    project.differ("support.py", "import helper, parts.inner\nSAYS = helper.SAYS + parts.inner.SAYS\n" + AGENT)
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    assert answer_of(looked, "import helper, parts.inner; assert parts.inner.SAYS == 'now'") == "thenthen"


def test_a_package_in_a_source_folder_is_that_of_the_tree(project):
    project.differ("src/package/__init__.py", "")
    project.differ("src/package/helper.py", "SAYS = VERSION")
    project.differ("src/package/flow.py", "from .helper import SAYS\n" + AGENT)
    looked = project.look("package.flow:pipeline", root="src")
    source = str(project.now / "src")
    assert answer_of(looked, f"import sys; sys.path.append({source!r}); import package.flow") == "then"
    assert answer_of(looked, PYTHONPATH=os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])) == "then"


EDITABLE = """
import importlib.util, sys
from importlib.machinery import PathFinder
from pathlib import Path

class Editable:
    "As setuptools writes it: names of packages and where they lie."
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top, _, rest = name.partition(".")
        place = Path(NOW, "libs", top, *filter(None, rest.split(".")))
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.exists():
                return importlib.util.spec_from_file_location(name, file)

sys.meta_path.append(Editable)
"""


def test_a_package_installed_in_place_by_a_finder_is_that_of_the_tree(project):
    project.differ("libs/shared/__init__.py", "SAYS = VERSION")
    project.differ(
        "support.py", "def says():\n    from shared import SAYS\n    return SAYS\n" + AGENT.replace("SAYS", "says()")
    )
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    assert answer_of(looked, f"NOW = {str(project.now)!r}" + EDITABLE) == "then"


def test_a_module_that_the_tree_has_not_is_not_taken_from_what_is_worked_on(project):
    project.differ("libs/shared/__init__.py", "")
    write(project.now, {"libs/shared/fast.py": "SAYS = 'fast'"})
    text = """
def says():
    try:
        from shared.fast import SAYS
    except ImportError:
        return "slow"
    return SAYS
"""
    project.differ("support.py", text + AGENT.replace("SAYS", "says()"))
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    assert answer_of(looked, f"NOW = {str(project.now)!r}" + EDITABLE) == "slow"


def test_data_files_beside_the_code_and_in_the_working_folder_are_those_of_the_tree(project):
    project.differ("app/data.txt", "beside VERSION")
    project.differ("bench/data.txt", "here VERSION")
    project.differ(
        "app/support.py",
        "from pathlib import Path\nbeside = Path(__file__).parent / 'data.txt'\n"
        "SAYS = beside.read_text() + Path('data.txt').read_text()\n" + AGENT,
    )
    looked = project.look(str(project.then / "app" / "support.py") + ":pipeline", root="app", folder="bench")
    assert answer_of(looked, folder=project.now / "bench") == "beside 'then'here 'then'"


def test_a_tree_may_stand_within_the_project(project):
    project.differ("helper.py", "SAYS = VERSION")
    project.differ("support.py", "from helper import SAYS\n" + AGENT)
    inner = project.now / "scratch" / "tree"
    inner.parent.mkdir()
    project.then.rename(inner)
    tree = Tree(str(inner), str(project.now), "")
    looked = tree_pipeline(tree, str(inner / "support.py") + ":pipeline", "", "main (123)")
    assert answer_of(looked, "import helper") == "then"


def test_processes_that_an_agent_starts_import_from_the_tree_too(project):
    project.differ("helper.py", "SAYS = VERSION")
    project.differ(
        "support.py",
        "import subprocess, sys\ndef says():\n    code = 'import helper; print(helper.SAYS, end=\"\")'\n"
        "    return subprocess.check_output([sys.executable, '-P', '-c', code], text=True)\n"
        + AGENT.replace("SAYS", "says()"),
    )
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    entries = os.pathsep.join([str(project.now), os.environ.get("PYTHONPATH", "")])
    assert answer_of(looked, PYTHONPATH=entries) == "then"


def test_what_is_installed_below_the_project_stays_where_it_is(project):
    write(project.now, {"env/lib/python3/site-packages/vendor.py": "SAYS = 'installed'"})
    project.differ("support.py", "from vendor import SAYS\n" + AGENT)
    place = str(project.now / "env/lib/python3/site-packages")
    entries = os.pathsep.join([place, os.environ.get("PYTHONPATH", "")])
    before = sys.path.copy()
    sys.path.append(place)
    try:
        looked = project.look(str(project.then / "support.py") + ":pipeline")
    finally:
        sys.path[:] = before
    assert answer_of(looked, "import vendor", PYTHONPATH=entries) == "installed"


def test_the_look_imports_from_where_this_process_does(project, tmp_path, monkeypatch):
    write(tmp_path, {"elsewhere/vendor.py": "SAYS = 'vendor'"})
    project.differ("support.py", "from vendor import SAYS\n" + AGENT)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert project.look(str(project.then / "support.py") + ":pipeline").shape.answer == "answer"


def test_a_module_that_only_an_installed_copy_has_is_no_baseline(project, tmp_path, monkeypatch):
    write(tmp_path, {"elsewhere/flow.py": "SAYS = 1\n" + AGENT})
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    with pytest.raises(PipelineError, match=r"outside the files of main \(123\)"):
        project.look("flow:pipeline")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import gone\n" + AGENT, r"support.py, line 1: ModuleNotFoundError: No module named 'gone'"),
        ("\n\n1 / 0", r"support.py, line 3: ZeroDivisionError"),
        ("def broken(:", r"support.py, line 1: SyntaxError"),
        ("raise SystemExit(3)", r"SystemExit: 3"),
        ("class Odd(Exception):\n    def __init__(self, a, b): pass\nraise Odd(1, 2)", "line 3: Odd"),
        ("x = 1", r"support.py has no 'pipeline'; it holds no Pipeline at all"),
        ("import os\nos._exit(7)", "ended the process with exit code 7"),
        ("import time\ntime.sleep(60)", "takes longer than"),
    ],
)
def test_a_version_that_does_not_load_is_told_with_file_and_line(project, monkeypatch, text, told):
    if "sleep" in text:
        monkeypatch.setattr(tree_pipeline_module, "LONGEST_LOOK_S", 2.0)
    write(project.then, {"support.py": text})
    with pytest.raises(PipelineError, match=told) as caught:
        project.look(str(project.then / "support.py") + ":pipeline")
    assert str(caught.value).startswith("main (123) cannot be the baseline: ")
    assert str(project.then) not in str(caught.value)


def test_what_git_does_not_keep_is_named_where_an_import_or_a_set_up_fails(project):
    write(project.then, {"support.py": "import untracked"})
    with pytest.raises(PipelineError, match="untracked and ignored files, submodules"):
        project.look(str(project.then / "support.py") + ":pipeline")
    text = AGENT.replace("@agent", "@agent(setup=lambda: open('model.bin'))").replace("SAYS", "1")
    write(project.then, {"support.py": text})
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    told = answer_of(looked)
    assert "the set-up of agent 'answer' failed" in told
    assert "model.bin" in told
    assert "of main (123), what git archive leaves out" in told


def test_the_standard_library_of_an_environment_below_the_project_is_not_the_projects():
    library = Path(json.__file__).parents[1]
    tree = Tree("/then", str(library.parent), "")
    assert not tree.is_worked_on(json.__file__)
    assert tree.is_worked_on(str(library.parent / "support.py"))


def test_the_outline_imports_nothing_of_the_project(project):
    write(
        project.then,
        {
            "support.py": """
from quark_bench import Agent, Breaker, Pipeline, agent
from quark_bench.routing import Router

class Mine(Pipeline):
    pass

class Model:
    name = "small"
    async def reply(self, messages, call): ...
    def reply_blocking(self, messages, call): ...

class Default:
    pass

@agent(fallback=Default, setup=Default, resources={"GPU": 1}, breaker=Breaker(failures=2), cpu=True, timeout_s=3)
def first(prompt):
    return 1

@agent(retries=2, optional=True)
async def second(first=Default()):
    return first

pipeline = Mine("mine", [first, second], answer="first", model=Model())
""".replace("fallback=Default, ", "fallback=Default, ")
        },
    )
    shape = project.look(str(project.then / "support.py") + ":pipeline").outline()
    assert type(shape) is Pipeline
    assert (shape.name, shape.answer, shape.model.name) == ("mine", "first", "small")
    first, second = shape.agents
    assert (first.resources, first.cpu, first.policy.timeout_s, first.is_async) == ({"GPU": 1}, True, 3, False)
    assert (second.policy.retries, second.optional, second.inputs[0].optional) == (2, True, True)
    assert first.fallback.name == "first_fallback"
    assert shape.breakers["first"].failures == 2
    assert not {"support", "helper"} & sys.modules.keys()


def test_values_of_the_projects_own_types_in_an_outline_are_refused(project):
    write(
        project.then,
        {
            "support.py": "from enum import Enum\nfrom quark_bench import Pipeline, agent\n"
            "class Names(str, Enum):\n    A = 'a'\n\n"
            "@agent(name=Names.A)\nasync def answer(prompt):\n    return 1\n\npipeline = Pipeline('p', [answer])\n"
        },
    )
    with pytest.raises(PipelineError, match=r"support\.Names stands where a plain value belongs; give agents' names"):
        project.look(str(project.then / "support.py") + ":pipeline")


def test_equal_code_has_an_equal_hash_and_a_key_of_its_own(project):
    project.differ("support.py", "SAYS = 1\n" + AGENT)
    looked = project.look(str(project.then / "support.py") + ":pipeline")
    _, here = find_pipeline(str(project.now / "support.py") + ":pipeline")
    assert looked.code_hash == here.code_hash
    assert looked.key != here.key


def test_an_outline_calls_nobody():
    @agent
    async def alone(prompt):
        return 1

    drawn = outline(Pipeline("p", [alone]))
    with pytest.raises(PipelineError, match="belongs to another version"):
        drawn.agents[0](None)
    assert json.dumps(drawn.agents[0].name) == '"alone"'
