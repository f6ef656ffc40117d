"""Tree pipeline: a pipeline as another version of its project has it.

It is loaded only in processes that are given to it alone. They move into the other version's tree first, so that
whatever is imported or read there is that version's. This process knows the pipeline by its outline only.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from quark_bench.agent import Agent, Call, Constant
from quark_bench.agent_code import INSTALLED, OWN, STANDARD_LIBRARY
from quark_bench.errors import PipelineError, QuarkBenchError, describe
from quark_bench.model import Message, Reply, model_told
from quark_bench.pipeline import Pipeline
from quark_bench.user_code import find_pipeline

LONGEST_LOOK_S = 120.0
LONGEST_TOLD = 2_000
MISSING = "what git archive leaves out (untracked and ignored files, submodules, export-ignore) is missing there"
_LOOK = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from quark_bench.tree_pipeline import look; look(*sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Tree:
    """Another version of a project. `top` holds its files, `repository` those of the version that is worked on;
    `folder` is the working folder below either."""

    top: str
    repository: str
    folder: str

    def enter(self) -> None:
        """Move this process into the tree: its working folder, where it imports from, and what it has imported.

        This package itself stays as it is: it carries out both versions alike.
        """
        sys.path[:] = [self._importable(entry) for entry in sys.path if isinstance(entry, str)]
        if "PYTHONPATH" in os.environ:  # of processes that agents start
            entries = os.environ["PYTHONPATH"].split(os.pathsep)
            os.environ["PYTHONPATH"] = os.pathsep.join(map(self._importable, entries))
        sys.meta_path[:] = [
            finder if isinstance(finder, TreeFinder) else TreeFinder(self, finder) for finder in sys.meta_path
        ]
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] not in (*OWN, "__mp_main__") and any(map(self.is_worked_on, _places(module))):
                del sys.modules[name]
        importlib.invalidate_caches()
        os.chdir(Path(self.top) / self.folder)

    def is_worked_on(self, place: str) -> bool:
        """Whether a file or folder belongs to the project as it is worked on, and is not merely installed below it."""
        path = Path(place).resolve()
        inside = path.is_relative_to(self.repository) and not path.is_relative_to(self.top)  # TMPDIR may lie in it
        return inside and not is_installed(path)

    def moved(self, place: str) -> str:
        """Where the tree has it, if it has it."""
        return str(Path(self.top) / Path(place).resolve().relative_to(self.repository))

    def _importable(self, entry: str) -> str:
        place = entry or "."
        return entry if not self.is_worked_on(place) or _holds_us(place) else self.moved(place)


def is_installed(path: Path) -> bool:
    """Whether a file is a package's or Python's own: both may lie below a project, in an environment."""
    return bool(INSTALLED & set(path.parts)) or path.is_relative_to(STANDARD_LIBRARY)


def _holds_us(place: str) -> bool:
    return Path(place).resolve() == Path(__file__).resolve().parents[1]


def _places(module: ModuleType) -> list[str]:
    """A module's file; the folders of a package that has none."""
    file, folders = getattr(module, "__file__", None), getattr(module, "__path__", ())
    known = [file] if file is not None else folders if hasattr(type(folders), "__iter__") else ()
    return [each for each in known if isinstance(each, str)]  # anything may stand among the modules


class TreeFinder:
    """Takes the place of another finder of modules: what that finds in the project as it is worked on, this finds in
    the tree, or nowhere. An editable install knows the project's folder by other ways than `sys.path`."""

    def __init__(self, tree: Tree, finder: Any) -> None:
        self._tree = tree
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        spec = self._finder.find_spec(name, path, target)
        if spec is None or name.partition(".")[0] in OWN:
            return spec
        if spec.origin and spec.has_location and self._tree.is_worked_on(spec.origin):
            return self._file(name, self._tree.moved(spec.origin), spec)
        if spec.loader is None and spec.submodule_search_locations is not None:
            return self._namespace(name, list(spec.submodule_search_locations), spec)
        return spec

    def _file(self, name: str, file: str, found: ModuleSpec) -> ModuleSpec | None:
        if not Path(file).is_file():
            return None
        folders = None if found.submodule_search_locations is None else [str(Path(file).parent)]
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)

    def _namespace(self, name: str, folders: list[str], found: ModuleSpec) -> ModuleSpec | None:
        if not any(map(self._tree.is_worked_on, folders)):
            return found
        moved = [self._tree.moved(each) if self._tree.is_worked_on(each) else each for each in folders]
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [each for each in moved if Path(each).is_dir()]
        return spec if spec.submodule_search_locations else None


@dataclass(frozen=True, slots=True)
class TreePipeline:
    """A pipeline of a tree, for processes of its own. `told` is how a person named the version, `shape` its outline,
    `code_hash` as that version gives it."""

    tree: Tree
    named: str
    root: str
    told: str
    shape: Pipeline
    code_hash: str

    @property
    def key(self) -> str:
        return f"{self.code_hash}-tree"

    def load(self) -> Pipeline:
        """Move this process into the tree and load the pipeline there. Raises PipelineError."""
        found, _ = _found(self.tree, self.root, self.named, self.told)
        return found.with_agents(self._explained)

    def outline(self) -> Pipeline:
        return self.shape

    def _explained(self, agent: Agent) -> Agent:
        return replace(
            agent,
            setup=agent.setup and functools.partial(_set_up, agent.setup, self.told),
            fallback=agent.fallback and self._explained(agent.fallback),
        )


def _set_up(setup: Callable[[], Any], told: str) -> Any:
    """A set-up, and what may be the matter where it finds no file. Raises PipelineError then."""
    try:
        return setup()
    except OSError as error:
        raise PipelineError(f"{describe(error)}; of {told}, {MISSING}") from error


def tree_pipeline(tree: Tree, named: str, root: str, told: str) -> TreePipeline:
    """The pipeline `named` in a tree, looked at in a process of its own.

    `root` is the folder, below the tree's top, that makes its module importable; `told` is how a person named the
    version. Raises PipelineError where that version has no such pipeline or it cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="quark-bench-") as folder:
        answer = Path(folder) / "answer"
        entries = json.dumps([entry for entry in sys.path if isinstance(entry, str)])  # as importing takes them
        question = (entries, tree.top, tree.repository, tree.folder, root, named, told, str(answer))
        try:
            looked = subprocess.run(  # noqa: S603
                [sys.executable, "-P", "-c", _LOOK, *question],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LONGEST_LOOK_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PipelineError(
                f"{told} cannot be the baseline: importing {_short(named, tree)} takes longer than "
                f"{LONGEST_LOOK_S:.0f} s; move what takes so long into the agents' setup="
            ) from None
        if not answer.exists():
            last = looked.stderr.decode(errors="replace").strip()[-LONGEST_TOLD:]
            raise PipelineError(
                f"{told} cannot be the baseline: importing {_short(named, tree)} ended the process with exit code "
                f"{looked.returncode}: {_short(last, tree)}"
            )
        shape, code_hash, error = _read(answer.read_bytes(), told)
    if error is not None:
        raise PipelineError(
            f"{told} cannot be the baseline: {error}; {MISSING}, and its packages are those installed here"
        )
    return TreePipeline(tree, named, root, told, shape, code_hash)


def look(top: str, repository: str, folder: str, root: str, named: str, told: str, answer: str) -> None:
    """In a process of its own: write the outline and the hash of a pipeline, or why there are none, to a file."""
    tree = Tree(top, repository, folder)
    try:
        pipeline, code_hash = _found(tree, root, named, told)
        found: tuple[Any, ...] = (outline(pipeline), code_hash, None)
    except QuarkBenchError as error:
        found = (None, None, _short(str(error), tree))
    Path(answer).write_bytes(pickle.dumps(found))


def _short(text: str, tree: Tree) -> str:
    """Files as they are named in the project: nobody knows the folder that they stand in for a while."""
    return text.replace(f"{tree.top}/", "")


def _found(tree: Tree, root: str, named: str, told: str) -> tuple[Pipeline, str]:
    tree.enter()
    sys.path.insert(0, str(Path(tree.top) / root))
    pipeline, shipment = find_pipeline(named)
    if not Path(shipment.tree.root).is_relative_to(tree.top):
        raise PipelineError(f"{named} was found in {shipment.tree.root}, outside the files of {told}")
    return pipeline, shipment.code_hash


class _Outlines(pickle.Unpickler):
    """Reads what `look` wrote. Whatever is the project's own would be imported here as it is worked on."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in ("quark_bench", "builtins"):
            raise PipelineError(f"{module}.{name} stands where a plain value belongs")
        return super().find_class(module, name)


def _read(answer: bytes, told: str) -> tuple[Any, ...]:
    try:
        found: tuple[Any, ...] = _Outlines(io.BytesIO(answer)).load()
    except PipelineError as error:
        raise PipelineError(
            f"{told} cannot be the baseline: {error}; give agents' names, limits and resources as text and numbers"
        ) from None
    return found


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Stands for what is called in other processes only."""

    name: str

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise PipelineError(f"agent {self.name!r} belongs to another version and is not called in this process")


@dataclass(slots=True)
class NamedModel:
    """Stands for a model that is asked in other processes only."""

    name: str

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        raise PipelineError(f"model {self.name!r} is not asked in this process")

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        raise PipelineError(f"model {self.name!r} is not asked in this process")


def outline(pipeline: Pipeline) -> Pipeline:
    """The pipeline without what it calls: its agents' wiring, policies and resources, which any process can hold."""
    return Pipeline(
        str(pipeline.name),
        map(_drawn, pipeline.agents),
        answer=pipeline.answer,
        model=NamedModel(str(model_told(pipeline.model))) if pipeline.model is not None else None,
        latency_profile=pipeline.latency_profile,
        learns_in=pipeline.learns_in,
    )


def _drawn(agent: Agent) -> Agent:
    function = Constant(None) if isinstance(agent.function, Constant) else Elsewhere(agent.name)
    return replace(
        agent,
        function=function,
        setup=None,
        inputs=tuple(replace(each, default=None) for each in agent.inputs),
        fallback=_drawn(agent.fallback) if agent.fallback else None,
    )
