"""User code: finds a user's pipeline, hashes it, packs it and rebuilds it in another process.

Code named by file or module travels as source: Dask unpickles tasks on its scheduler too, and a worker that
lacks a module dies with its nanny, so nothing is sent by reference. Where the very same files stand on the
worker's machine they are imported in place, so that data files beside them are found; elsewhere they are
unpacked into a folder named by their hash. Pipelines of notebook cells and `__main__` travel by value.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pickletools
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from quark_bench.agent import Constant
from quark_bench.agent_code import OWN, is_own, source_text
from quark_bench.errors import PipelineError, QuarkBenchError, describe
from quark_bench.fingerprint import canonical_form
from quark_bench.model import model_told
from quark_bench.pipeline import Pipeline
from quark_bench.source_tree import SourceTree

_in_use: dict[str, tuple[str, Path]] = {}
"""Digest and folder of the tree that each root was last imported from."""


def _use(tree: SourceTree) -> Path:
    """The tree's folder, importable. Modules of an older state of the same root are forgotten first: a file that
    was edited since this process imported it must not run as it was."""
    folder = tree.folder()
    before = _in_use.get(tree.root)
    if before is not None and before != (tree.digest, folder):
        for name in [name for name, module in sys.modules.items() if _lies_in(module, before[1])]:
            if name.split(".")[0] not in OWN:
                del sys.modules[name]
        importlib.invalidate_caches()
    _in_use[tree.root] = (tree.digest, folder)
    _put_on_path(folder)
    return folder


def _lies_in(module: ModuleType | None, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts


@dataclass(frozen=True, slots=True)
class NamedPipeline:
    """A pipeline that lives in a module of a source tree. `code_hash` is the sha256 of the tree's source text and
    the pipeline's name in it."""

    tree: SourceTree
    module: str
    file: str
    attribute: str
    code_hash: str

    @property
    def key(self) -> str:
        return self.code_hash

    def load(self) -> Pipeline:
        """Import the module here and take the pipeline from it. Raises PipelineError."""
        return _pipeline_in(_import(_use(self.tree), self.module, self.file), self.attribute)

    def outline(self) -> Pipeline:
        return self.load()


@dataclass(frozen=True, slots=True)
class PickledPipeline:
    """A pipeline by value, with the source trees of the modules that it refers to.

    `code_hash` is the sha256 of source text and settings, equal on every machine. `key` tells payloads apart: the
    same source may have been pickled with other values of the globals that it reads.
    """

    payload: bytes
    trees: tuple[SourceTree, ...]
    code_hash: str

    @property
    def key(self) -> str:
        return _key(self.code_hash, hashlib.sha256(self.payload).hexdigest())

    def load(self) -> Pipeline:
        """Rebuild the pipeline here. Raises PipelineError."""
        for tree in self.trees:
            _use(tree)
        try:
            loaded = cloudpickle.loads(self.payload)
        except Exception as error:
            raise PipelineError(f"the pipeline cannot be rebuilt on this worker: {describe(error)}") from error
        assert isinstance(loaded, Pipeline), "the payload was made from a Pipeline"
        return loaded

    def outline(self) -> Pipeline:
        return self.load()


def find_pipeline(named: str) -> tuple[Pipeline, NamedPipeline]:
    """The pipeline at `FILE.py:NAME` or `package.module:NAME`, and how to ship it.

    Raises PipelineError naming the file and line where it is missing, raises on import, or is no Pipeline.
    """
    place, separator, attribute = named.rpartition(":")
    if not separator or not place or not attribute:
        raise PipelineError(f"--pipeline {named!r}: write FILE.py:NAME or package.module:NAME (or quark)")
    tree, module, file = _find_module(f"--pipeline {named!r}", place)
    shipment = NamedPipeline(tree, module, file, attribute, _key(tree.digest, module, attribute))
    return shipment.load(), shipment


def find_function(named: str) -> tuple[Any, str]:
    """What stands at `FILE.py:NAME` or `package.module:NAME`, to be called here, and the sha256 of its source text.

    Raises PipelineError naming the file and line where it is missing or raises on import.
    """
    place, _, attribute = named.rpartition(":")
    tree, module, file = _find_module(named, place)
    loaded = _import(_use(tree), module, file)
    if not hasattr(loaded, attribute):
        functions = [name for name, value in vars(loaded).items() if inspect.isfunction(value)]
        raise PipelineError(f"{named}: {place} has no {attribute!r}; functions in it: {', '.join(functions) or 'none'}")
    return getattr(loaded, attribute), _key(tree.digest, module, attribute)


def _find_module(told: str, place: str) -> tuple[SourceTree, str, str]:
    """The tree that a module given by file or by name stands in, its name, and its file in the tree."""
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise PipelineError(f"{told}: there is no file {place}")
        root, module = path.parent, path.stem
    else:
        (root, path), module = _locate(told, place), place
    return SourceTree.of(root, [path]), module, str(path.relative_to(root))


def pack_pipeline(pipeline: Pipeline) -> PickledPipeline:
    """Ship a Pipeline object: by value what is defined in `__main__`, with their sources what is imported.

    Raises PipelineError, naming the agent, for what cannot be pickled.
    """
    try:
        payload = cloudpickle.dumps(pipeline)
    except Exception as error:
        culprit = next((agent.name for agent in pipeline.agents if not _pickles(agent)), pipeline.name)
        raise PipelineError(
            f"agent {culprit!r} cannot be sent to a worker: {describe(error, 300)}; "
            "open files, connections and locks in its setup=, not at the top of the script"
        ) from error
    trees = tuple(SourceTree.of(root, files) for root, files in sorted(_roots(payload).items()))
    # Fallbacks are agents too: what they do and may do changes what the pipeline does.
    called = [link for agent in pipeline.agents for link in agent.chain()]
    sources = [_source_text(agent.function) for agent in called]
    shape = [(agent.name, str(agent.inputs), repr(agent.policy), agent.optional) for agent in called]
    settings = [_settings(agent.function) for agent in called]
    key = _key(*(tree.digest for tree in trees), *sources, str(shape), str(settings), pipeline.answer, _model(pipeline))
    return PickledPipeline(payload, trees, key)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _model(pipeline: Pipeline) -> str:
    return model_told(pipeline.model) or ""


def _pickles(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - any failure to pickle is the answer no
        return False
    return True


def _unwrapped(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function if hasattr(function, "__qualname__") else type(function)


def _source_text(function: Any) -> str:
    """Source text of what an agent calls; for what was typed into a shell, its bytecode."""
    inner = inspect.unwrap(_unwrapped(function))
    return source_text(getattr(inner, "__code__", inner)) or repr(getattr(inner, "__qualname__", inner))


def _settings(function: Any) -> str:
    """The plain values that a callable object or a partial holds: they change what it does."""
    if isinstance(function, partial):
        return repr((function.args, sorted(function.keywords.items())))
    if isinstance(function, Constant):
        return canonical_form(function)
    if dataclasses.is_dataclass(function) and not isinstance(function, type):
        return repr(function)
    held = getattr(function, "__dict__", {})
    plain = {name: value for name, value in held.items() if isinstance(value, str | int | float | bool | tuple)}
    return repr(sorted(plain.items()))


def _roots(payload: bytes) -> dict[Path, list[Path]]:
    """The modules that a pickle refers to, their files by project folder; installed ones are left out.

    Asked of the pickle, because what travels by value may call what does not: a script its siblings.
    """
    words = {word for _, word, _ in pickletools.genops(payload) if isinstance(word, str)}
    found: dict[Path, list[Path]] = {}
    for name in words & sys.modules.keys():
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and name.split(".")[0] not in OWN and is_own(name, file):
            path = Path(file).resolve()
            found.setdefault(_root_of(name, path), []).append(path)
    return found


def _root_of(module: str, file: Path) -> Path:
    """The folder that makes `module` importable: one above its top package."""
    packages = module.count(".") + (1 if file.name == "__init__.py" else 0)
    return file.parents[packages]


def _locate(told: str, module: str) -> tuple[Path, Path]:
    _put_on_path(Path.cwd())
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:
        raise PipelineError(f"{told}: {_where(error)}") from error
    if spec is None or spec.origin is None:
        raise PipelineError(f"{told}: no module {module!r} here or in this Python's packages")
    file = Path(spec.origin).resolve()
    return _root_of(module, file), file


def _import(root: Path, module: str, file: str) -> ModuleType:
    """Import a module of a tree under its own name, so that what it pickles is found in other processes."""
    path = root / file
    loaded = sys.modules.get(module)
    if loaded is not None and _is_file(loaded, path):
        return loaded
    if loaded is not None or module in sys.stdlib_module_names:
        module = f"quark_bench_user_{_key(str(path))[:8]}_{module}"  # the name is taken by another module
        if module in sys.modules:
            return sys.modules[module]
    spec = importlib.util.spec_from_file_location(module, path) if "." not in module else None
    try:
        if spec is None or spec.loader is None:
            return importlib.import_module(module)
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        spec.loader.exec_module(made)
    except BaseException as error:
        sys.modules.pop(module, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PipelineError(f"{path} cannot be imported: {_where(error)}") from error
    return made


def _is_file(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path.resolve()


def _where(error: BaseException) -> str:
    """`file, line n: Type: message` of the innermost place that is no import machinery."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
    return place + (str(error) if isinstance(error, QuarkBenchError) else describe(error))


def _is_ours(filename: str) -> bool:
    """Whether a frame belongs to the import machinery or to quark-bench: the fault is in neither."""
    return "importlib" in filename or Path(filename).is_relative_to(Path(__file__).parent)


def _pipeline_in(module: ModuleType, attribute: str) -> Pipeline:
    file = getattr(module, "__file__", module.__name__)
    found = getattr(module, attribute, None)
    if isinstance(found, Pipeline):
        return found
    others = sorted(name for name, value in vars(module).items() if isinstance(value, Pipeline))
    hint = f"pipelines in it: {', '.join(others)}" if others else "it holds no Pipeline at all"
    what = "has no" if found is None else f"is a {type(found).__name__}, no Pipeline:"
    raise PipelineError(f"{file} {what} {attribute!r}; {hint}")


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
