"""Resolve: the pipeline that a person names, and how it travels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from quark_bench.agent import Model
from quark_bench.errors import PipelineError
from quark_bench.models.shipment import ModelledShipment
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.user_code import find_pipeline, pack_pipeline


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
