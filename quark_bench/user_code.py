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
import io
import os
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from quark_bench.errors import PipelineError, describe
from quark_bench.pipeline import Pipeline

MOST_FILES = 2_000
MOST_BYTES = 20_000_000
FOLDERS_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The Python files below a folder. `digest` is the sha256 of their names and texts."""

    root: str
    digest: str
    archive: bytes

    @classmethod
    def of(cls, root: Path) -> SourceTree:
        """Pack a folder. Raises PipelineError when it is too large to be a project."""
        files = _source_files(root)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.writestr(zipfile.ZipInfo(path.relative_to(root).as_posix()), path.read_bytes())
        return cls(str(root), _digest(root, files), buffer.getvalue())

    def folder(self) -> Path:
        """Where the files stand on this machine: in their own place if they are equal, else unpacked."""
        root = Path(self.root)
        if root.is_dir() and _digest_or_none(root) == self.digest:
            return root
        target = Path(tempfile.gettempdir()) / f"quark-bench-{_user()}" / self.digest[:32]
        if not target.is_dir():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=target.parent))
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(fresh)
            try:
                fresh.rename(target)  # several workers of a machine may unpack at once: the first one wins
            except OSError:
                if not target.is_dir():
                    raise
        return target


_in_use: dict[str, tuple[str, Path]] = {}
"""Digest and folder of the tree that each root was last imported from."""


def _use(tree: SourceTree) -> Path:
    """The tree's folder, importable. Modules of an older state of the same root are forgotten first: a file that
    was edited since this process imported it must not run as it was."""
    folder = tree.folder()
    before = _in_use.get(tree.root)
    if before is not None and before != (tree.digest, folder):
        for name in [name for name, module in sys.modules.items() if _lies_in(module, before[1])]:
            if name.split(".")[0] not in ("__main__", "quark_bench"):
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


def find_pipeline(named: str) -> tuple[Pipeline, NamedPipeline]:
    """The pipeline at `FILE.py:NAME` or `package.module:NAME`, and how to ship it.

    Raises PipelineError naming the file and line where it is missing, raises on import, or is no Pipeline.
    """
    place, separator, attribute = named.rpartition(":")
    if not separator or not place or not attribute:
        raise PipelineError(f"--pipeline {named!r}: write FILE.py:NAME or package.module:NAME (or quark)")
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise PipelineError(f"--pipeline {named!r}: there is no file {place}")
        root, module = path.parent, path.stem
    else:
        (root, path), module = _locate(named, place), place
    tree = SourceTree.of(root)
    file = str(path.relative_to(root))
    shipment = NamedPipeline(tree, module, file, attribute, _key(tree.digest, module, attribute))
    return shipment.load(), shipment


def pack_pipeline(pipeline: Pipeline) -> PickledPipeline:
    """Ship a Pipeline object: by value what is defined in `__main__`, with their sources what is imported.

    Raises PipelineError, naming the agent, for what cannot be pickled.
    """
    trees = tuple(SourceTree.of(root) for root in sorted(set(_roots(pipeline))))
    try:
        payload = cloudpickle.dumps(pipeline)
    except Exception as error:
        culprit = next((agent.name for agent in pipeline.agents if not _pickles(agent)), pipeline.name)
        raise PipelineError(
            f"agent {culprit!r} cannot be sent to a worker: {describe(error, 300)}; "
            "open files, connections and locks in its setup=, not at the top of the script"
        ) from error
    sources = [_source_text(agent.function) for agent in pipeline.agents]
    shape = [(agent.name, str(agent.inputs), str(agent.policy), agent.optional) for agent in pipeline.agents]
    settings = [_settings(agent.function) for agent in pipeline.agents]
    key = _key(*(tree.digest for tree in trees), *sources, str(shape), str(settings), pipeline.answer, _model(pipeline))
    return PickledPipeline(payload, trees, key)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _model(pipeline: Pipeline) -> str:
    return pipeline.model.name if pipeline.model else ""


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
    inner = _unwrapped(function)
    try:
        return inspect.getsource(inner)
    except (OSError, TypeError):
        code = getattr(inner, "__code__", None)
        return f"{code.co_code.hex()}{code.co_consts!r}" if code else repr(getattr(inner, "__qualname__", inner))


def _settings(function: Any) -> str:
    """The plain values that a callable object or a partial holds: they change what it does."""
    if isinstance(function, partial):
        return repr((function.args, sorted(function.keywords.items())))
    if dataclasses.is_dataclass(function) and not isinstance(function, type):
        return repr(function)
    held = getattr(function, "__dict__", {})
    plain = {name: value for name, value in held.items() if isinstance(value, str | int | float | bool | tuple)}
    return repr(sorted(plain.items()))


def _roots(pipeline: Pipeline) -> Iterator[Path]:
    """Project folders of the importable modules that the agents live in, installed packages left out."""
    held = [agent.function for agent in pipeline.agents] + [agent.setup for agent in pipeline.agents if agent.setup]
    for function in held:
        module = sys.modules.get(getattr(_unwrapped(function), "__module__", ""))
        file = getattr(module, "__file__", None)
        if module is None or file is None or module.__name__ in ("__main__", "builtins"):
            continue
        if module.__name__.split(".")[0] == "quark_bench":
            continue
        root = _root_of(module.__name__, Path(file).resolve())
        if "site-packages" not in root.parts and not str(root).startswith(sys.base_prefix):
            yield root


def _root_of(module: str, file: Path) -> Path:
    """The folder that makes `module` importable: one above its top package."""
    packages = module.count(".") + (1 if file.name == "__init__.py" else 0)
    return file.parents[packages]


def _locate(named: str, module: str) -> tuple[Path, Path]:
    _put_on_path(Path.cwd())
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:
        raise PipelineError(f"--pipeline {named!r}: {_where(error)}") from error
    if spec is None or spec.origin is None:
        raise PipelineError(f"--pipeline {named!r}: no module {module!r} here or in this Python's packages")
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
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
    return place + describe(error)


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


def _source_files(root: Path) -> list[Path]:
    """Python files below a folder in a fixed order; hidden folders, environments and caches left out."""
    found: list[Path] = []
    size = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not _left_out(Path(folder) / name))
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder) / name
                found.append(path)
                size += path.stat().st_size
                if len(found) > MOST_FILES or size > MOST_BYTES:
                    raise PipelineError(
                        f"{root} holds more than {MOST_FILES:,} Python files or {MOST_BYTES // 1_000_000} MB of them, "
                        "all of which would travel to the workers; move the pipeline to a folder of its own"
                    )
    return found


def _left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in FOLDERS_LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _digest(root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _digest_or_none(root: Path) -> str | None:
    try:
        return _digest(root, _source_files(root))
    except (OSError, PipelineError):
        return None


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
