"""Resolve: the pipeline that a person names, and how it travels."""

from __future__ import annotations

from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.user_code import find_pipeline, pack_pipeline


def resolve(pipeline: Pipeline | str) -> tuple[Pipeline, Shipment]:
    """A Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`. Raises PipelineError."""
    if isinstance(pipeline, str) and pipeline != "quark":
        return find_pipeline(pipeline)
    if isinstance(pipeline, str):
        from quark_bench.agents.quark import quark

        pipeline = quark()
    return pipeline, pack_pipeline(pipeline)
