"""Demand: what prompts ask for, drawn from the records of a run, whole prompts at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quark_bench.arm_run import ArmRun
from quark_bench.critical_path import Layout, earliest_ends, positions
from quark_bench.durations import durations, prompt_numbers
from quark_bench.errors import UsageError
from quark_bench.stats import Floats
from quark_bench.trials import Positions, Trials, numbers


@dataclass(frozen=True, slots=True)
class Demand:
    """What prompts ask for, one row each, in the order in which they come.

    `durations_s` by agent, 0 where it is not called; `overhead_s` is what the prompt takes beyond its agents.
    `cpu_share` is the share of an agent's time that a core is busy with it, `overhead_cpu_s` that part of the overhead,
    `cost_usd` what a prompt costs. `needs` holds, for each agent, the positions of those it needs, all before it.
    """

    durations_s: Floats
    overhead_s: Floats
    needs: Sequence[Sequence[int]]
    cpu_share: float = 0.0
    overhead_cpu_s: float = 0.0
    cost_usd: float = 0.0

    def __len__(self) -> int:
        return len(self.durations_s)

    def __getitem__(self, first: slice) -> Demand:
        """Some of the prompts."""
        rows = (self.durations_s[first], self.overhead_s[first])
        return Demand(*rows, self.needs, self.cpu_share, self.overhead_cpu_s, self.cost_usd)

    @property
    def cpu_s(self) -> float:
        """CPU time of a prompt, in the mean."""
        return self.cpu_share * float(self.durations_s.sum(axis=1).mean()) + self.overhead_cpu_s


def draw(
    trials: Trials, arm: ArmRun, layout: Layout, factors: Mapping[str, float], prompts: int, random: np.random.Generator
) -> Demand:
    """So many prompts from the arm's records, all once in random order before any comes again; of a prompt that was
    repeated, one record by chance.

    `factors` multiply agents' durations, by name. What a record took beyond its agents is kept, but for an arm whose
    calls were tasks: there it was hops, which are a matter of the place. Raises UsageError for an arm without records.
    """
    latency_s = numbers(trials.records(["latency_s"], arm.name), "latency_s")
    timed = np.flatnonzero(np.isfinite(latency_s))
    if not len(timed):
        raise UsageError(f"arm {arm.name!r} has no records to draw from; run it, or take another with --arm")
    drawn = _rows(prompt_numbers(trials, arm.name)[timed], prompts, random)
    rows, place = np.unique(timed[drawn], return_inverse=True)
    recorded_s = _of_rows(trials, arm, layout, rows)
    path_s = recorded_s.sum(axis=1) if arm.one_by_one else earliest_ends(recorded_s, layout).max(axis=1, initial=0.0)
    overhead_s = np.zeros(len(rows)) if arm.by_agent else np.maximum(latency_s[rows] - path_s, 0.0)
    work_s = float(recorded_s.sum(axis=1).mean())
    agents_cpu_s = min(arm.cpu_s or 0.0, work_s)
    return Demand(
        durations_s=(recorded_s * [factors.get(name, 1.0) for name, _ in layout])[place],
        overhead_s=overhead_s[place],
        needs=positions(layout),
        cpu_share=agents_cpu_s / work_s if work_s > 0 else 0.0,
        overhead_cpu_s=min((arm.cpu_s or 0.0) - agents_cpu_s, float(overhead_s.mean())),
        cost_usd=float(np.nanmean(numbers(trials.records(["cost_usd"], arm.name, rows), "cost_usd"))),
    )


def _rows(prompt: Positions, count: int, random: np.random.Generator) -> Positions:
    """Positions of records, given the number of each one's prompt."""
    order = np.argsort(prompt, kind="stable")
    starts = np.searchsorted(prompt[order], np.unique(prompt))
    sizes = np.diff([*starts, len(prompt)])
    rounds = -(-count // len(starts))
    drawn = np.concatenate([random.permutation(len(starts)) for _ in range(rounds)])[:count]
    found: Positions = order[starts[drawn] + random.integers(0, sizes[drawn])]
    return found


def _of_rows(trials: Trials, arm: ArmRun, layout: Layout, rows: Positions) -> Floats:
    """Durations of these records, which are in ascending order."""
    found = np.zeros((len(rows), len(layout)))
    for part in durations(trials, arm.name, layout):
        place = np.minimum(np.searchsorted(rows, part.rows), len(rows) - 1)
        wanted = rows[place] == part.rows
        found[place[wanted]] = part.by_agent_s[wanted]
    return found
