"""Layout: how the blocks of every arm are cut and submitted, by what the warm-up shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.execute import Executor, Setting
from quark_bench.execute.decide import Calibration, choose_granularity, chunk_size, least_chunk
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Block, Chunk, Granularity, Plan, Strategy


@dataclass(frozen=True, slots=True)
class Layout:
    """How the blocks of every arm are cut, and why."""

    settings: Mapping[str, Setting]
    choice: Granularity
    reason: str

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Layout:
        """The layout that `as_data` wrote."""
        choice = Granularity(data["choice"])
        settings = {
            arm: Setting(choice, size, data["takers"][arm], data["least_chunk"][arm])
            for arm, size in data["chunk_size"].items()
        }
        return cls(settings, choice, data["reason"])

    def chunks(self, plan: Plan) -> Iterator[Chunk]:
        """All chunks of a plan, in order."""
        for block in plan.blocks:
            yield from self.settings[block.arm].chunks(block)

    def as_data(self) -> dict[str, Any]:
        return {
            "choice": self.choice.value,
            "reason": self.reason,
            "chunk_size": {arm: setting.chunk_size for arm, setting in self.settings.items()},
            "takers": {arm: setting.takers for arm, setting in self.settings.items()},
            "least_chunk": {arm: setting.least for arm, setting in self.settings.items()},
        }


def lay_out(executor: Executor, plan: Plan, pipeline: Pipeline, granularity: str) -> Layout:
    """Warm every arm up, and cut its blocks by what the warm-up showed."""
    first = Granularity.AGENT if granularity == "agent" else Granularity.CHUNK
    seen = {arm.name: _warm_up(executor, plan, arm, pipeline, first) for arm in plan.arms}
    widest = max(plan.arms, key=lambda arm: (arm.strategy is Strategy.PARALLEL, arm.in_flight))
    if granularity == "auto":
        chosen = choose_granularity(seen[widest.name], executor.hop_s, _declared(pipeline))
        choice, reason = Granularity.AGENT if chosen.agent else Granularity.CHUNK, chosen.reason
    else:
        choice, reason = Granularity(granularity), f"asked for by --granularity {granularity}"
    settings = {}
    for arm in plan.arms:
        calibration = seen[arm.name]
        takers = executor.takers(arm.in_flight)
        latency_s, lanes = calibration.latency_s if calibration else None, -(-arm.in_flight // takers)
        least = least_chunk(latency_s, lanes, executor.hop_s)
        settings[arm.name] = Setting(choice, chunk_size(latency_s, lanes), takers, least)
    return Layout(settings, choice, reason)


def _declared(pipeline: Pipeline) -> dict[str, str]:
    """Agents that only the scheduler can place, and why."""
    declared = {}
    for agent in pipeline.agents:
        wants = (["cpu"] if agent.cpu else []) + [f"{name}={n:g}" for name, n in agent.resources.items()]
        if wants:
            declared[agent.name] = ", ".join(wants)
    return declared


def _warm_up(
    executor: Executor, plan: Plan, arm: Arm, pipeline: Pipeline, granularity: Granularity
) -> Calibration | None:
    """Trials that are recorded nowhere; None where there are none."""
    if plan.warmup == 0:
        return None
    block = Block(-1, arm.name, -1, 0, plan.warmup)
    takers = executor.takers(arm.in_flight)
    setting = Setting(granularity, max(1, plan.warmup // (2 * takers)), takers)
    batches = list(executor.run(block, setting))
    latencies = [value for batch in batches for value in batch.records["latency_s"]]
    paths = [value for batch in batches for value in batch.records["critical_path_s"]]
    return Calibration(_median(latencies), _median(paths), pipeline.levels, len(pipeline.steps), arm.in_flight)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
