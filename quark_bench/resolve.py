"""Resolve: the pipeline that a person names, and how it travels."""

from __future__ import annotations

import functools
from collections.abc import Callable

from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.user_code import find_pipeline, pack_pipeline


def resolve(pipeline: Pipeline | str) -> tuple[Pipeline, Callable[[], Shipment]]:
    """A Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`, and what packs it for another process.

    Both raise PipelineError: here what cannot be found, there what cannot travel, as it need not where all agents are
    called here.
    """
    if isinstance(pipeline, str) and pipeline != "quark":
        found, shipment = find_pipeline(pipeline)
        return found, lambda: shipment
    if isinstance(pipeline, str):
        from quark_bench.agents.quark import quark

        pipeline = quark()
    return pipeline, functools.partial(pack_pipeline, pipeline)
