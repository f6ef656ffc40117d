"""Live load: an orchestrator's statistics as one plain-data answer, with the wall, the targets and the warnings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from quark_bench.live_stats import LiveStatistics
from quark_bench.walls import Load, find_wall, targets, warnings


@dataclass(frozen=True, slots=True)
class Resident:
    """How much memory this process holds."""

    _process: psutil.Process = field(default_factory=psutil.Process)
    _machine_bytes: int = field(default_factory=lambda: int(psutil.virtual_memory().total))

    def memory_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def memory_share(self) -> float:
        """Of the machine's memory."""
        return self.memory_bytes() / self._machine_bytes


def load_of(statistics: LiveStatistics, max_workers: int, resident: Resident, now_s: float) -> Load:
    """What the orchestrator does, as `walls` weighs it."""
    busy_s, agents = statistics.busy_s(now_s), statistics.agents
    calls = sum(agent.calls for agent in agents.values())
    worst = max(agents, key=lambda name: agents[name].prompts_failed)
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
        cpu_share=statistics.busy_cpu_s(time.process_time()) / busy_s if busy_s > 0 else 0.0,
        refused_share=sum(agent.refused for agent in agents.values()) / calls if calls else 0.0,
        failed_share=statistics.mean(statistics.statuses["failed"]),
        memory_share=resident.memory_share(),
        memory_bytes=resident.memory_bytes(),
        concurrent_agents=statistics.within.peak,
        parallel_rate=statistics.within.shared_share,
        ideal_parallel_rate=statistics.ideal.shared_share,
        width=statistics.width,
        longest_agent=statistics.longest_agent(),
        worst_agent=worst if agents[worst].prompts_failed else None,
        worst_error=agents[worst].last_error,
    )


def performance_stats(statistics: LiveStatistics, load: Load, now_s: float) -> dict[str, Any]:
    """What the statistics tell by themselves; the orchestrator adds what it alone knows."""
    wall = find_wall(load)
    return {
        "performance_metrics": statistics.performance_metrics(now_s),
        "execution_stats": statistics.execution_stats(),
        "agents": {name: agent.as_data() for name, agent in statistics.agents.items()},
        "routes": {category: route.as_data() for category, route in statistics.routes.items()},
        "wall": None if wall is None else wall.as_data(),
        "targets": [target.as_data() for target in targets(load)],
        "warnings": list(warnings(load)),
        "cpu_share": load.cpu_share,
        "memory_bytes": load.memory_bytes,
    }
