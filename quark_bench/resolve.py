"""Resolve: the pipeline and the scorers that a person names, and how a pipeline travels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quark_bench.agent import Model
from quark_bench.dataset import Dataset
from quark_bench.errors import PipelineError
from quark_bench.models import make_model
from quark_bench.models.shipment import ModelledShipment
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.scoring import AskedScorer, Loaders, Overall, default_scorers, scorers_named
from quark_bench.user_code import find_function, find_pipeline, pack_pipeline


def resolve(
    pipeline: Pipeline | str, memory: str | Path | None = None, model: Model | None = None
) -> tuple[Pipeline, Callable[[], Shipment]]:
    """A Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`, and what packs it for another process.

    `quark` remembers and learns in the file `memory`, if there is one. A `model` takes the place of the pipeline's own,
    there too. Both raise PipelineError: here what cannot be
    found, there what cannot travel, as it need not where all agents are called here.
    """
    if isinstance(pipeline, str) and pipeline != "quark":
        found, shipment = find_pipeline(pipeline)
        sent = shipment if model is None else ModelledShipment(shipment, model)
        return found.with_model(model), lambda: sent
    if isinstance(pipeline, str):
        from quark_bench.agents.quark import quark

        pipeline = quark(memory=memory, learn=memory is not None)
    if not isinstance(pipeline, Pipeline):
        raise PipelineError(f"pipeline={pipeline!r}: give a Pipeline, 'quark', FILE.py:NAME or package.module:NAME")
    pipeline = pipeline.with_model(model)
    return pipeline, functools.partial(pack_pipeline, pipeline)


def resolve_scorers(scores: Sequence[str] | None, dataset: Dataset) -> list[AskedScorer | Overall]:
    """The scorers that are asked for, as `--score` takes them; None for those that fit where the data set has
    references. Raises UsageError for what is none, PipelineError for a function that cannot be found, ModelError for a
    judge that cannot be reached: before a run that it is to judge."""
    if scores is None:
        return default_scorers(dataset)
    return scorers_named(scores, Loaders(_ready_model, find_function))


def _ready_model(spec: str, **options: Any) -> Model:
    model = make_model(spec, **options)
    if callable(make_ready := getattr(model, "make_ready", None)):
        make_ready()
    return model
