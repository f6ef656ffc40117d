"""Source tree: the Python files that a pipeline is made of, as they travel to other processes.

Those are the file it stands in and, found by reading `import` statements, the modules and whole packages beside it
that any of them imports: what merely lies in the same folder neither travels nor changes the hash.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from quark_bench.errors import PipelineError

MOST_FILES = 2_000
MOST_BYTES = 20_000_000
OWN = frozenset({"quark_bench"})
"""Packages that are on every worker."""
FOLDERS_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Python files below a folder. `digest` is the sha256 of their names and texts."""

    root: str
    digest: str
    archive: bytes

    @classmethod
    def of(cls, root: Path, starts: Iterable[Path]) -> SourceTree:
        """Pack the files at `starts` and all they import from below `root`. Raises PipelineError for too many."""
        files = _closure(root, starts)
        digest = hashlib.sha256()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                name, text = path.relative_to(root).as_posix(), path.read_bytes()
                archive.writestr(zipfile.ZipInfo(name), text)
                digest.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
        return cls(str(root), digest.hexdigest(), buffer.getvalue())

    def folder(self) -> Path:
        """Where the files stand on this machine: in their own place if they are equal there, else unpacked."""
        root = Path(self.root)
        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            if all(_equal(root / name, archive.read(name)) for name in archive.namelist()):
                return root
            target = Path(tempfile.gettempdir()) / f"quark-bench-{_user()}" / self.digest[:32]
            if not target.is_dir():
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                fresh = Path(tempfile.mkdtemp(dir=target.parent))
                archive.extractall(fresh)
                try:
                    fresh.rename(target)  # several workers of a machine may unpack at once: the first one wins
                except OSError:
                    if not target.is_dir():
                        raise
            return target


def _equal(path: Path, text: bytes) -> bool:
    try:
        return path.read_bytes() == text
    except OSError:
        return False


def _closure(root: Path, starts: Iterable[Path]) -> list[Path]:
    """The files that `starts` lead to, in a fixed order."""
    found: dict[Path, None] = {}
    followed = set(OWN)
    waiting = [path for start in starts for path in _unit_of(root, start)]
    size = 0
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        size += path.stat().st_size
        if len(found) > MOST_FILES or size > MOST_BYTES:
            raise PipelineError(
                f"{root}: the pipeline imports more than {MOST_FILES:,} Python files or {MOST_BYTES // 1_000_000} MB "
                "from there, all of which would travel to the workers; install that code on the workers instead"
            )
        for name in _imported(path.read_bytes()) - followed:
            followed.add(name)
            waiting.extend(_files_of(root, name))
    return sorted(found)


def _unit_of(root: Path, path: Path) -> Iterator[Path]:
    """A module's file; all of a package when it lies in one, for parts of a package import one another freely."""
    parts = path.relative_to(root).parts
    if len(parts) == 1:
        yield path
    else:
        yield from _files_of(root, parts[0])


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """The files of the top-level module or package of that name below `root`, if there is one."""
    if (root / f"{name}.py").is_file():
        yield root / f"{name}.py"
    if _left_out(root / name):
        return
    for folder, names, files in os.walk(root / name):
        names[:] = [inner for inner in names if not _left_out(Path(folder) / inner)]
        yield from (Path(folder) / file for file in files if file.endswith(".py"))


@lru_cache(maxsize=MOST_FILES)  # parsing is most of the work, and the next run is of nearly the same files
def _imported(source: bytes) -> frozenset[str]:
    """Top-level names that a file imports anywhere; none where it does not parse, which importing it will tell."""
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    names = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return frozenset(names)


def _left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in FOLDERS_LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
