"""Tree pipeline: a pipeline as another version of its project has it.

It is loaded only in processes that are given to it alone. They move into the other version's tree first, so that
whatever is imported or read there is that version's. This process knows the pipeline by its outline only.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quark_bench.agent import Agent, Constant, Message, Reply
from quark_bench.agent_code import OWN
from quark_bench.errors import PipelineError, QuarkBenchError
from quark_bench.pipeline import Pipeline
from quark_bench.user_code import find_pipeline

LONGEST_LOOK_S = 120.0
LONGEST_TOLD = 2_000
_LOOK = "import sys; from quark_bench.tree_pipeline import look; look(*sys.argv[1:])"


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
        os.chdir(Path(self.top) / self.folder)
        sys.path[:] = [self._moved(entry) for entry in sys.path]
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name.split(".")[0] not in (*OWN, "__main__", "__mp_main__") and file and self._is_worked_on(file):
                del sys.modules[name]

    def _moved(self, entry: str) -> str:
        place = Path(entry or ".").resolve()
        if not self._is_worked_on(str(place)) or _holds_us(place):
            return entry
        return str(Path(self.top) / place.relative_to(self.repository))

    def _is_worked_on(self, file: str) -> bool:
        """Whether a file belongs to the project as it is worked on, and is not merely installed below it."""
        path = Path(file).resolve()
        return path.is_relative_to(self.repository) and "site-packages" not in path.parts


def _holds_us(place: Path) -> bool:
    return place == Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class TreePipeline:
    """A pipeline of a tree, for processes of its own. `shape` is its outline; `code_hash` as its version gives it."""

    tree: Tree
    named: str
    root: str
    shape: Pipeline
    code_hash: str

    @property
    def key(self) -> str:
        return f"{self.code_hash}-tree"

    def load(self) -> Pipeline:
        """Move this process into the tree and load the pipeline there. Raises PipelineError."""
        return _found(self.tree, self.root, self.named)[0]

    def outline(self) -> Pipeline:
        return self.shape


def tree_pipeline(tree: Tree, named: str, root: str, told: str) -> TreePipeline:
    """The pipeline `named` in a tree, looked at in a process of its own.

    `root` is the folder, below the tree's top, that makes its module importable; `told` is how a person named the
    version. Raises PipelineError where that version has no such pipeline or it cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="quark-bench-") as folder:
        answer = Path(folder) / "answer"
        looked = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-c", _LOOK, tree.top, tree.repository, tree.folder, root, named, str(answer)],
            capture_output=True,
            text=True,
            timeout=LONGEST_LOOK_S,
            check=False,
        )
        if not answer.exists():
            raise PipelineError(f"{named} of {told} ended its process: {looked.stderr.strip()[-LONGEST_TOLD:]}")
        shape, code_hash, error = pickle.loads(answer.read_bytes())  # noqa: S301 - we wrote it a moment ago
    if error is not None:
        raise PipelineError(
            f"{told} cannot be the baseline: {error}; files that git does not keep are missing there, and its "
            "packages are those installed here"
        )
    return TreePipeline(tree, named, root, shape, code_hash)


def look(top: str, repository: str, folder: str, root: str, named: str, answer: str) -> None:
    """In a process of its own: write the outline and the hash of a pipeline, or why there are none, to a file."""
    try:
        pipeline, code_hash = _found(Tree(top, repository, folder), root, named)
        told: tuple[Any, ...] = (outline(pipeline), code_hash, None)
    except QuarkBenchError as error:
        told = (None, None, str(error).replace(top, "").replace("//", "/"))
    Path(answer).write_bytes(pickle.dumps(told))


def _found(tree: Tree, root: str, named: str) -> tuple[Pipeline, str]:
    tree.enter()
    sys.path.insert(0, str(Path(tree.top) / root))
    pipeline, shipment = find_pipeline(named)
    return pipeline, shipment.code_hash


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

    async def reply(self, messages: Sequence[Message], seed: int) -> Reply:
        raise PipelineError(f"model {self.name!r} is not asked in this process")

    def reply_blocking(self, messages: Sequence[Message], seed: int) -> Reply:
        raise PipelineError(f"model {self.name!r} is not asked in this process")


def outline(pipeline: Pipeline) -> Pipeline:
    """The pipeline without what it calls: its agents' wiring, policies and resources, which any process can hold."""
    drawn = pipeline.with_agents(_drawn)
    drawn.model = NamedModel(pipeline.model.name) if pipeline.model else None
    drawn.router = None
    return drawn


def _drawn(agent: Agent) -> Agent:
    function = Constant(None) if isinstance(agent.function, Constant) else Elsewhere(agent.name)
    return replace(
        agent,
        function=function,
        setup=None,
        inputs=tuple(replace(each, default=None) for each in agent.inputs),
        fallback=_drawn(agent.fallback) if agent.fallback else None,
    )
