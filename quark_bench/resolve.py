"""Resolve: the pipeline and the scorers that a person names, and how a pipeline travels."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from quark_bench.agent import Agent, canonical
from quark_bench.agents.nlu import Nlu, intents
from quark_bench.arm_run import agent_named
from quark_bench.critical_path import Layout
from quark_bench.dataset import Dataset
from quark_bench.errors import PipelineError
from quark_bench.model import Model
from quark_bench.models import make_model
from quark_bench.models.shipment import ModelledShipment
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.scoring import DEFAULT, AskedScorer, Loaders, Overall, scorers_named
from quark_bench.scoring.agents import BY_NAME
from quark_bench.scoring.passages import MEMORIES
from quark_bench.scoring.plan_steps import DECOMPOSITION
from quark_bench.trials import AGENT_DOT
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


def resolve_scorers(
    scores: Sequence[str] | None, dataset: Dataset, pipelines: Sequence[Pipeline], *, agents: bool = True
) -> list[AskedScorer | Overall]:
    """The scorers that are asked for, as `--score` takes them; None for those that fit: answers where the data set has
    references, and with `agents` those of the pipelines' that have a name we know and that it has gold for.

    Raises UsageError for what is none, and for an agent that no pipeline has; PipelineError for a function that cannot
    be found, ModelError for a judge that cannot be reached: before a run that it is to judge.
    """
    loaders = Loaders(_ready_model, find_function, functools.partial(_agent_named, pipelines))
    if scores is not None:
        return scorers_named(scores, loaders)
    answers = DEFAULT if dataset.has_references else ()
    return scorers_named([*answers, *(_fitting(dataset, pipelines[0]) if agents else ())], loaders)


def scorers_for(scores: Sequence[str] | None, dataset: Dataset, layout: Layout) -> list[AskedScorer | Overall]:
    """The same for a run whose pipeline is not at hand, by its agents' names; None for those of answers that fit.

    Raises UsageError for an agent that the run does not have.
    """
    loaders = Loaders(_ready_model, find_function, lambda name: agent_named(name, layout))
    return scorers_named((DEFAULT if dataset.has_references else ()) if scores is None else scores, loaders)


def _agent_named(pipelines: Sequence[Pipeline], name: str) -> str:
    """The agent's own name, where several pipelines have it the first one's. Raises PipelineError by the first."""
    for pipeline in pipelines:
        with contextlib.suppress(PipelineError):
            return pipeline.steps[pipeline.position(name)].name
    pipelines[0].position(name)
    raise AssertionError("it was looked for there already")


def _fitting(dataset: Dataset, pipeline: Pipeline) -> Iterator[str]:
    """A scorer for each agent of a known name that the data set has gold for."""
    digest = dataset.digest
    there = {
        "nlu": bool(digest.categories),
        "memory": MEMORIES in digest.columns,
        "retrieval": "contexts" in digest.gold,
        "planning": DECOMPOSITION in digest.columns,
        "self_improvement": "reference" in digest.gold,
    }
    for step in pipeline.steps:
        known = next((name for name in there if canonical(name) == canonical(step.name)), None)
        if known and there[known] and _speaks_of(step.agent, digest.categories):
            yield f"{step.name}{AGENT_DOT}{BY_NAME[known]}"


def _speaks_of(agent: Agent, categories: Set[str]) -> bool:
    """Our own NLU tells kinds of questions apart, and is not to be judged by categories of another kind."""
    return not isinstance(agent.function, Nlu) or categories <= intents()


def _ready_model(spec: str, **options: Any) -> Model:
    model = make_model(spec, **options)
    if callable(make_ready := getattr(model, "make_ready", None)):
        make_ready()
    return model
