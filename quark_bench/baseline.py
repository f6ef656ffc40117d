"""Baseline: what a gate measures a candidate against: another commit, another pipeline, a stored run, or itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quark_bench.dataset import Dataset
from quark_bench.errors import PipelineError, QuarkBenchError, RunNotFoundError, UsageError
from quark_bench.gate_result import NULL, PIPELINE, REVISION, RUN
from quark_bench.model import Model
from quark_bench.models.shipment import ModelledShipment
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.resolve import resolve
from quark_bench.revision import Revision, find_revision, unpacked
from quark_bench.run import Run
from quark_bench.sources import read_mapped
from quark_bench.store import find_run
from quark_bench.tree_pipeline import MISSING, Tree, is_installed, tree_pipeline
from quark_bench.user_code import NamedPipeline, find_pipeline

MOST_NAMED = 5
"""Prompts, of those that vanished, are new or have changed."""

Against = str | Path | Pipeline | None
"""What a person names: a git revision, a run's folder or id, a pipeline with a colon; None is the candidate itself."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was named, in a form that can be measured: a pipeline and how it travels, or a run that was.

    `told` is what people read, `commit` the full one of a revision. `data_changes` says how the data set's file has
    changed since that revision.
    """

    kind: str
    told: str
    pipeline: Pipeline | None = None
    shipment: Shipment | None = None
    run: Run | None = None
    commit: str | None = None
    data_changes: str = ""


@contextmanager
def find_baseline(
    against: Against, candidate: Pipeline | str, dataset: Dataset, out: str | Path, model: Model | None = None
) -> Iterator[Baseline]:
    """What `against` names, for as long as it is needed: files of a commit are unpacked meanwhile.

    `candidate` is the pipeline as it was named; `model` takes the place of each pipeline's own. Raises UsageError where
    there is no such thing.
    """
    if against is None:
        pipeline, pack = resolve(candidate, model=model)
        yield Baseline(NULL, "itself", pipeline, pack())
    elif isinstance(against, Pipeline) or ":" in str(against):
        pipeline, pack = resolve(against if isinstance(against, Pipeline) else str(against), model=model)
        yield Baseline(PIPELINE, pipeline.name if isinstance(against, Pipeline) else str(against), pipeline, pack())
    elif (run := _stored(against, out)) is not None:
        yield Baseline(RUN, run.path.name, run=run)
    else:
        revision = find_revision(str(against), Path.cwd())
        if not isinstance(candidate, str) or candidate == "quark":
            raise UsageError(
                f"--against {against}: a commit holds a pipeline as FILE.py:NAME or package.module:NAME; name yours "
                "so with --pipeline, or name another pipeline with --against"
            )
        _, here = find_pipeline(candidate)  # first: a candidate that does not load is at fault itself
        with unpacked(revision) as top:
            yield _asking(_of_revision(revision, top, candidate, here, dataset), model)


def _asking(found: Baseline, model: Model | None) -> Baseline:
    """Of a revision, with that model in the place of its own."""
    if model is None or found.shipment is None or found.pipeline is None:
        return found
    shipment = ModelledShipment(found.shipment, model)
    return replace(found, pipeline=found.pipeline.with_model(model), shipment=shipment)


def _stored(against: str | Path, out: str | Path) -> Run | None:
    """Raises RunNotFoundError for a run that is there and cannot be read."""
    try:
        path = find_run(against, out)
    except RunNotFoundError:
        if str(against) == "last":
            raise
        return None
    return Run(path)


def _of_revision(revision: Revision, top: Path, named: str, here: NamedPipeline, dataset: Dataset) -> Baseline:
    """`here` is the pipeline of that name as the working tree has it: the commit's is looked for in the same place."""
    folder = _below(Path.cwd(), revision, "this folder")
    (top / folder).mkdir(parents=True, exist_ok=True)  # where that commit did not have it, it had nothing in it
    root = _root_of(named, here, revision)
    if named.rpartition(":")[0].endswith(".py"):
        file = root / here.file
        if not (top / file).is_file():
            raise PipelineError(
                f"{revision.told} has no file {file}; name a commit that has it, or another pipeline; {MISSING}"
            )
        named = f"{top / file}:{here.attribute}"
    tree = Tree(str(top), str(revision.repository), str(folder))
    shipment = tree_pipeline(tree, named, str(root), revision.told)
    changes = _data_changes(revision, top, dataset)
    return Baseline(REVISION, revision.told, shipment.outline(), shipment, commit=revision.commit, data_changes=changes)


def _root_of(named: str, here: NamedPipeline, revision: Revision) -> Path:
    """Below the repository, the folder that makes the pipeline's module importable."""
    root = Path(here.tree.root)
    if is_installed(root):
        raise UsageError(
            f"--pipeline {named} is a copy installed in {root}, which no commit changes; install your project with "
            "pip install -e . or name the file, as FILE.py:NAME"
        )
    return _below(root, revision, f"--pipeline {named}")


def _below(path: Path, revision: Revision, what: str) -> Path:
    place = path.resolve()
    if not place.is_relative_to(revision.repository):
        raise UsageError(
            f"{what} is not in the repository {revision.repository}, so {revision.told} has none of it; start from "
            "that repository, or name a pipeline with --against"
        )
    return place.relative_to(revision.repository)


def _data_changes(revision: Revision, top: Path, dataset: Dataset) -> str:
    """How the data set's file differs from the commit's; empty where it does not, or lies outside the repository."""
    if dataset.origin is None or not dataset.origin.resolve().is_relative_to(revision.repository):
        return ""
    file = dataset.origin.resolve().relative_to(revision.repository)
    if not (top / file).is_file():
        return f"{revision.told} has no {file}; both sides run the prompts of here"
    try:
        then, now = (read_mapped(place, dataset.fields) for place in (top / file, dataset.origin))
    except QuarkBenchError as error:
        told = str(error).replace(f"{top}/", "")
        return f"{file} of {revision.told} cannot be compared: {told}"
    changed = data_changes(then, now)
    return changed and f"{file} has changed since {revision.told}: {changed}; both sides run the prompts of here"


def data_changes(then: Dataset, now: Dataset) -> str:
    """`2 vanished (a, b), 1 new (c), 3 changed (d, e, f)`, of prompts; empty for equal data sets."""
    if then.content_hash == now.content_hash:
        return ""
    before, after = ({prompt.id: prompt for prompt in each} for each in (then, now))
    groups = (
        ("vanished", [name for name in before if name not in after]),
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and after[name] != before[name]]),
    )
    told = [f"{len(names)} {how} ({_listed(names)})" for how, names in groups if names]
    return ", ".join(told) or "the order of its prompts"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
