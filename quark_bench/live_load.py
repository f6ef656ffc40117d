"""Live load: an orchestrator's statistics as one plain-data answer, with the wall, the targets and the warnings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from quark_bench.live_stats import LiveStatistics
from quark_bench.pipeline import Pipeline
from quark_bench.walls import Load, find_wall, targets, warnings


@dataclass(slots=True)
class Consumption:
    """What this process uses: CPU seconds while any prompt was under way, resident memory now."""

    _process: psutil.Process = field(default_factory=psutil.Process)
    _memory_bytes: int = field(default_factory=lambda: int(psutil.virtual_memory().total))
    _cpu_s: float = 0.0
    _since_s: float | None = None

    def under_way(self, prompts: int) -> None:
        """So many prompts are under way from now on."""
        now_s = time.process_time()
        if self._since_s is not None:
            self._cpu_s += now_s - self._since_s
        self._since_s = now_s if prompts else None

    def cpu_s(self) -> float:
        return self._cpu_s + (0.0 if self._since_s is None else time.process_time() - self._since_s)

    def memory_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def memory_share(self) -> float:
        """Of the machine's memory."""
        return self.memory_bytes() / self._memory_bytes


def load_of(
    statistics: LiveStatistics, pipeline: Pipeline, max_workers: int, consumption: Consumption, now_s: float
) -> Load:
    """What the orchestrator does, as `walls` weighs it."""
    busy_s, agents = statistics.busy_s(now_s), statistics.agents
    calls = sum(agent.calls for agent in agents.values())
    worst = max(agents, key=lambda name: agents[name].failed)
    latencies_s = statistics.latencies_s
    return Load(
        max_workers=max_workers,
        throughput_per_s=statistics.throughput_per_s(now_s),
        in_flight=statistics.lifetime_s / busy_s if busy_s > 0 else 0.0,
        work_s=statistics.mean(statistics.work_s),
        critical_path_s=statistics.mean(statistics.critical_path_s),
        answer_path_s=statistics.mean(statistics.answer_path_s),
        queue_s=statistics.mean(statistics.queue_s),
        latency_s=sum(latencies_s) / len(latencies_s) if latencies_s else 0.0,
        lifetime_s=statistics.mean(statistics.lifetime_s),
        cpu_share=consumption.cpu_s() / busy_s if busy_s > 0 else 0.0,
        refused_share=sum(agent.refused for agent in agents.values()) / calls if calls else 0.0,
        failed_share=statistics.mean(statistics.statuses["failed"]),
        memory_share=consumption.memory_share(),
        memory_bytes=consumption.memory_bytes(),
        concurrent_agents=statistics.within.peak,
        parallel_rate=statistics.within.shared_share,
        ideal_parallel_rate=statistics.ideal.shared_share,
        width=pipeline.width,
        longest_agent=statistics.longest_agent(),
        worst_agent=worst if agents[worst].failed else None,
        worst_error=agents[worst].last_error,
    )


def performance_stats(statistics: LiveStatistics, load: Load, now_s: float) -> dict[str, Any]:
    """What the statistics tell by themselves; the orchestrator adds what it alone knows."""
    wall = find_wall(load)
    return {
        "performance_metrics": statistics.performance_metrics(now_s),
        "execution_stats": statistics.execution_stats(),
        "agents": {name: agent.as_data() for name, agent in statistics.agents.items()},
        "routes": {category: _route(counts) for category, counts in statistics.routes.items()},
        "wall": None if wall is None else wall.as_data(),
        "targets": [target.as_data() for target in targets(load)],
        "warnings": list(warnings(load)),
        "cpu_share": load.cpu_share,
        "memory_bytes": load.memory_bytes,
    }


def _route(counts: Mapping[str, int]) -> dict[str, Any]:
    """How many prompts of a category came, and how many calls of each agent they led to."""
    return {"prompts": counts["prompts"], "agents": {n: count for n, count in counts.items() if n != "prompts"}}
