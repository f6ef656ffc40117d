"""Forecast: what a run would take, from its plan and from what an earlier run of the same pipeline took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Plan


@dataclass(frozen=True, slots=True)
class ArmForecast:
    """Of one arm: trials and agents' calls to be made, and what they would take; None where no earlier run tells.
    `seen_in` is the run that does."""

    arm: str
    trials: int
    calls: int
    took_s: float | None
    tokens: float | None
    cost_usd: float | None
    seen_in: str | None


def forecast(plan: Plan, main: Pipeline, earlier: Iterable[Mapping[str, Any]]) -> list[ArmForecast]:
    """Arm by arm, warm-ups left out. `earlier` are manifests of complete runs, the newest first; an arm goes by the
    first of them with the same pipeline, model and latency profile in which it ran as it would now."""
    runs = list(earlier)
    return [_of_arm(arm, plan, arm.pipeline or main, runs) for arm in plan.arms]


def _of_arm(arm: Arm, plan: Plan, pipeline: Pipeline, earlier: Iterable[Mapping[str, Any]]) -> ArmForecast:
    trials = plan.prompts * plan.repeats
    seen = next((run for run in earlier if _is_alike(run, arm, pipeline)), None)
    took_s = tokens = cost_usd = None
    if seen is not None:
        then = seen["repeats"] * seen["dataset"]["prompts"]
        rate = _value(seen, arm.name, "throughput_per_s")
        took_s = trials / rate if rate else None
        spent = [_value(seen, arm.name, name) for name in ("tokens_in", "tokens_out")]
        tokens = sum(each or 0.0 for each in spent) * trials / then
        cost_usd = (_value(seen, arm.name, "cost_usd") or 0.0) * trials / then
    if arm.arrivals is not None:
        took_s = trials / arm.arrivals.mean_rate_per_s
    return ArmForecast(
        arm.name, trials, trials * len(pipeline.steps), took_s, tokens, cost_usd, seen["run_id"] if seen else None
    )


def _is_alike(run: Mapping[str, Any], arm: Arm, pipeline: Pipeline) -> bool:
    told = run["pipeline"]
    same = (
        told["name"] == pipeline.name
        and told["model"] == (pipeline.model.name if pipeline.model else None)
        and told["latency_profile"] == pipeline.latency_profile
        and not run.get("chaos")
    )
    ran = [(each["name"], each["strategy"], each["in_flight"]) for each in run["arms"]]
    return same and (arm.name, arm.strategy.value, arm.in_flight) in ran


def _value(run: Mapping[str, Any], arm: str, measure: str) -> float | None:
    value = run.get("measures", {}).get(arm, {}).get(measure, {}).get("value")
    return value if isinstance(value, int | float) else None
