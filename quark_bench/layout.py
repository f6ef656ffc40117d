"""Layout: how the blocks of every arm are cut and submitted, by what the warm-up shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean, median
from typing import Any

from quark_bench.execute import Executor, Setting
from quark_bench.execute.granularity import (
    Calibration,
    Choice,
    Costs,
    Prediction,
    choose,
    chunk_size,
    open_chunk_size,
    predict,
)
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Block, Chunk, Granularity, Plan, Strategy
from quark_bench.record import Batch
from quark_bench.schedule import longest_path


@dataclass(frozen=True, slots=True)
class Layout:
    """How the blocks of every arm are cut, and why; `predictions` by arm where it was warmed up."""

    settings: Mapping[str, Setting]
    choice: Granularity
    reason: str
    predictions: Mapping[str, Prediction] = field(default_factory=dict)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Layout:
        """The layout that `as_data` wrote; runs of old predicted nothing."""
        choice = Granularity(data["choice"])
        settings = {arm: Setting(choice, size) for arm, size in data["chunk_size"].items()}
        predicted = {arm: Prediction(**told) for arm, told in data.get("predicted", {}).items()}
        return cls(settings, choice, data["reason"], predicted)

    def chunks(self, plan: Plan) -> Iterator[Chunk]:
        """All chunks of a plan, in order."""
        for block in plan.blocks:
            yield from self.settings[block.arm].chunks(block)

    def as_data(self) -> dict[str, Any]:
        return {
            "choice": self.choice.value,
            "reason": self.reason,
            "chunk_size": {arm: setting.chunk_size for arm, setting in self.settings.items()},
            "predicted": {
                arm: {"chunk_s": each.chunk_s, "agent_s": each.agent_s} for arm, each in self.predictions.items()
            },
        }


def lay_out(executor: Executor, plan: Plan, pipeline: Pipeline, granularity: str) -> Layout:
    """Warm every arm up, and cut its blocks by what the warm-up showed."""
    first = Granularity.AGENT if granularity == "agent" else Granularity.CHUNK
    seen = {arm.name: _warm_up(executor, plan, arm, arm.pipeline or pipeline, first) for arm in plan.arms}
    costs = executor.costs
    blocks = {arm: [len(block) for block in plan.blocks if block.arm == arm] for arm in seen}
    closed = [arm.name for arm in plan.arms if arm.arrivals is None]
    predictions = {arm: predict(each, costs, blocks[arm]) for arm in closed if (each := seen[arm]) is not None}
    if granularity == "auto":
        widest = max(plan.arms, key=lambda arm: (arm.strategy is Strategy.PARALLEL, arm.in_flight))
        needed = _resources([arm.pipeline or pipeline for arm in plan.arms])
        chosen = choose(predictions.get(widest.name), needed, is_open=widest.arrivals is not None)
    else:
        chosen = Choice(Granularity(granularity), f"asked for by --granularity {granularity}")
    sizes = {arm.name: _chunk_size(arm, seen[arm.name], costs, min(blocks[arm.name])) for arm in plan.arms}
    settings = {arm.name: Setting(chosen.granularity, _alike(arm, plan, sizes)) for arm in plan.arms}
    return Layout(settings, chosen.granularity, chosen.reason, predictions)


def _chunk_size(arm: Arm, seen: Calibration | None, costs: Costs, shortest: int) -> int:
    if arm.arrivals is not None:
        return open_chunk_size(arm.arrivals.mean_rate_per_s, costs, arm.in_flight)
    return chunk_size(None if seen is None else seen.latency_s, arm.in_flight, costs, shortest)


def _alike(arm: Arm, plan: Plan, sizes: Mapping[str, int]) -> int:
    """The chunk size of an arm: arms that run in the same way are cut alike, so that they differ in nothing else."""
    how = (arm.strategy, arm.in_flight, arm.arrivals)
    alike = (each for each in plan.arms if (each.strategy, each.in_flight, each.arrivals) == how)
    return min(sizes[each.name] for each in alike)


def _resources(pipelines: Sequence[Pipeline]) -> dict[str, str]:
    """The Dask resources that agents need, told by agent."""
    wanted = {agent.name: agent.resources for each in pipelines for agent in each.agents if agent.resources}
    return {agent: ", ".join(f"{name}={n:g}" for name, n in needed.items()) for agent, needed in wanted.items()}


def _warm_up(
    executor: Executor, plan: Plan, arm: Arm, pipeline: Pipeline, granularity: Granularity
) -> Calibration | None:
    """Trials that are recorded nowhere; None where there are none.

    The first half makes connections and fills caches; only the second is measured.
    """
    if plan.warmup == 0:
        return None
    half = plan.warmup // 2
    setting = Setting(granularity, max(1, half // (2 * executor.costs.takers(arm.at_first.in_flight))))
    if half:
        list(executor.run(Block(-1, arm.name, -1, 0, half), setting))
    before = executor.consumption()
    batches = list(executor.run(Block(-1, arm.name, -1, half, plan.warmup), setting))
    after = executor.consumption()
    same = before.processes == after.processes
    cpu_s = (after.cpu_s - before.cpu_s) / (plan.warmup - half) if same else 0.0
    return _calibrate(batches, arm, pipeline, cpu_s)


def _calibrate(batches: Sequence[Batch], arm: Arm, pipeline: Pipeline, cpu_s: float) -> Calibration:
    def column(name: str) -> list[float]:
        return list(chain.from_iterable(batch.records[name] for batch in batches))

    parallel = arm.strategy is Strategy.PARALLEL
    return Calibration(
        latency_s=median(column("latency_s")),
        paths_s=column("critical_path_s" if parallel else "work_s"),
        apart=_apart(batches, pipeline),
        cpu_s=min(cpu_s, fmean(column("work_s"))),  # what is beyond the agents' own time is no agent's
        levels=pipeline.levels if parallel else 0,
        calls=len(pipeline.steps) if parallel else 0,
        in_flight=arm.at_first.in_flight,
    )


def _apart(batches: Sequence[Batch], pipeline: Pipeline) -> float:
    """The share of the critical path that is left where agents that declare CPU work do not share an interpreter.

    Those that burn side by side in one process take turns, so each seems to last as long as all of them: together
    they need what the longest path through them took, not the sum.
    """
    spent_s: defaultdict[str, float] = defaultdict(float)
    for batch in batches:
        spans = batch.spans
        for agent, start_s, end_s in zip(spans["agent"], spans["start_s"], spans["end_s"], strict=True):
            spent_s[agent] += end_s - start_s
    shared_s = [spent_s[agent.name] for agent in pipeline.agents]
    burning_s = [spent_s[agent.name] if agent.cpu else 0.0 for agent in pipeline.agents]
    if not any(burning_s):
        return 1.0
    share = longest_path(burning_s, pipeline.needs) / sum(burning_s)
    alone_s = [spent_s[agent.name] * (share if agent.cpu else 1.0) for agent in pipeline.agents]
    return longest_path(alone_s, pipeline.needs) / longest_path(shared_s, pipeline.needs)
