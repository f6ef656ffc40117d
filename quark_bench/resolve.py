"""Resolve: the pipeline and the scorers that a person names, and how a pipeline travels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from quark_bench.dataset import Dataset
from quark_bench.errors import PipelineError
from quark_bench.models import make_model
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.scoring import AskedScorer, Loaders, Overall, default_scorers, scorers_named
from quark_bench.user_code import find_function, find_pipeline, pack_pipeline


def resolve(pipeline: Pipeline | str, memory: str | Path | None = None) -> tuple[Pipeline, Callable[[], Shipment]]:
    """A Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`, and what packs it for another process.

    `quark` remembers and learns in the file `memory`, if there is one. Both raise PipelineError: here what cannot be
    found, there what cannot travel, as it need not where all agents are called here.
    """
    if isinstance(pipeline, str) and pipeline != "quark":
        found, shipment = find_pipeline(pipeline)
        return found, lambda: shipment
    if isinstance(pipeline, str):
        from quark_bench.agents.quark import quark

        pipeline = quark(memory=memory, learn=memory is not None)
    if not isinstance(pipeline, Pipeline):
        raise PipelineError(f"pipeline={pipeline!r}: give a Pipeline, 'quark', FILE.py:NAME or package.module:NAME")
    return pipeline, functools.partial(pack_pipeline, pipeline)


def resolve_scorers(scores: Sequence[str] | None, dataset: Dataset) -> list[AskedScorer | Overall]:
    """The scorers that are asked for, as `--score` takes them; None for those that fit where the data set has
    references. Raises UsageError for what is none, PipelineError for a function that cannot be found."""
    if scores is None:
        return default_scorers(dataset)
    return scorers_named(scores, Loaders(make_model, find_function))
