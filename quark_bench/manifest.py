"""Manifest: what a run was to do, where it came from and how it ended, as plain data beside its tables."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quark_bench.agent import Agent, Constant
from quark_bench.chaos import Chaos
from quark_bench.dataset import Dataset
from quark_bench.model import Model, model_told
from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.parts import StoredTable, count_statuses
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.plan import Plan
from quark_bench.provenance import provenance, this_client
from quark_bench.record import RecordStatus
from quark_bench.store import FORMAT

Manifest = dict[str, Any]


def first_manifest(
    dataset: Dataset,
    pipeline: Pipeline,
    shipments: Mapping[str, Shipment],
    plan: Plan,
    scorers: Sequence[str],
) -> Manifest:
    """The manifest of a run that is about to start its first session."""
    return {
        "format": FORMAT,
        "state": "running",
        "session": 0,
        "started": _now().isoformat(timespec="seconds"),
        "ended": None,
        "duration_s": None,
        "dataset": {
            "name": dataset.name,
            "path": str(dataset.origin) if dataset.origin else None,
            "fields": dict(dataset.fields),
            "hash": dataset.content_hash,
            "prompts": len(dataset),
        },
        "pipeline": {
            "name": pipeline.name,
            "key": shipments[plan.arms[-1].name].code_hash,
            "answer": pipeline.answer,
            "model": model_told(pipeline.model),
            **_price(pipeline.model),
            "latency_profile": pipeline.latency_profile,
            "learns_in": _learns_in(pipeline, plan),
            "agents": [
                {
                    "name": step.name,
                    "needs": [pipeline.steps[need].name for need in step.needs],
                    "timeout_s": step.agent.policy.timeout_s,
                    "retries": step.agent.policy.retries,
                    "breaker": str(step.agent.policy.breaker) if step.agent.policy.breaker else None,
                    "fallback": _fallback_told(step.agent),
                    "optional": step.agent.optional,
                    "is_async": step.agent.is_async,
                }
                for step in pipeline.steps
            ],
        },
        "arms": [
            {
                "name": arm.name,
                "strategy": arm.strategy.value,
                "in_flight": arm.in_flight,
                "arrivals": arm.arrivals and arm.arrivals.as_data(),
                "pipeline_key": shipments[arm.name].code_hash,
            }
            for arm in plan.arms
        ],
        **plan_as_data(plan),
        "seed": plan.seed,
        "warmup": plan.warmup,
        "scorers": list(scorers),
        "usage": [],
        "breakers": [],
        "provenance": provenance(),
        "client": this_client(),
        "conservation": count_trials({}, plan.planned),
    }


def as_asked(
    command: str | None,
    slos: Sequence[str],
    chaos: Chaos | None,
    cache: Mapping[str, Any] | None,
    use: ModelUse = AS_IT_COMES,
) -> dict[str, Any]:
    """What the manifest of a new run says of how it was asked for, and where; with a key that no other run has."""
    return {
        "run_key": secrets.token_hex(8),
        "command": command,
        "folder": str(Path.cwd()),
        "slos": list(slos),
        "chaos": chaos and str(chaos),
        "cache": cache,
        "recorded": use.record,
        "model_limits": asdict(use.limits),
        "budget": use.budget and str(use.budget),
    }


def plan_as_data(plan: Plan) -> dict[str, Any]:
    """What a manifest says of a plan's length."""
    return {
        "repeats": plan.repeats,
        "blocks": [[block.arm, block.repeat, block.start, block.stop] for block in plan.blocks],
    }


def _learns_in(pipeline: Pipeline, plan: Plan) -> str | None:
    """Where any of the arms learns: one that does cannot be compared with the others, nor they with it."""
    files = ((arm.pipeline or pipeline).learns_in for arm in plan.arms)
    return next((file for file in files if file is not None), None)


def _price(model: Model | None) -> dict[str, Any]:
    """Dollars per million tokens of a model that has a price; None where nobody gave it."""
    if not hasattr(model, "price"):
        return {}
    price = getattr(model, "price")  # noqa: B009 - no part of the protocol
    return {"price": None if price is None else asdict(price)}


def _fallback_told(agent: Agent) -> str | None:
    """The agents that stand in for one that failed, in turn; None where there are none."""
    others = list(agent.chain())[1:]
    told = ("a value" if isinstance(each.function, Constant) else each.name for each in others)
    return ", then ".join(told) or None


def as_it_stands(manifest: Manifest, records: StoredTable) -> Manifest:
    """The manifest, its trials counted from the records where the run goes on or its process was killed.

    Raises RunNotFoundError.
    """
    if manifest["state"] != "running":
        return manifest
    return manifest | {"conservation": count_trials(count_statuses(records), manifest["conservation"]["planned"])}


def measured(manifest: Manifest, state: str, conservation: Mapping[str, int]) -> Manifest:
    """What the end of a session adds."""
    ended = _now()
    started = datetime.fromisoformat(manifest["started"])
    return {
        "state": state,
        "ended": ended.isoformat(timespec="seconds"),
        "duration_s": (ended - started).total_seconds(),
        "conservation": dict(conservation),
    }


def count_trials(by_status: Mapping[str, int], planned: int) -> dict[str, int]:
    """planned = ok + degraded + failed + not run."""
    counts = {status.value: int(by_status.get(status.value, 0)) for status in RecordStatus}
    return {"planned": planned, **counts, "not_run": planned - sum(counts.values())}


def _now() -> datetime:
    return datetime.now(UTC)
