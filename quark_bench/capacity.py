"""Capacity: what a pipeline would do on so many workers with so many prompts in flight, and what holds it back. Pure.

Throughput and latencies are simulated. The walls are the bounds that each resource sets by itself (Little 1961; Denning
and Buzen 1978, "The operational analysis of queueing network models"): the lowest is what to change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby

import numpy as np

from quark_bench.arm_run import ArmRun, Overheads, agent_named
from quark_bench.critical_path import Layout
from quark_bench.demand import Demand, draw
from quark_bench.errors import UsageError
from quark_bench.plan import Granularity
from quark_bench.simulation import Limit, Place, simulate, speed_of
from quark_bench.slo import nearest
from quark_bench.stats import Floats
from quark_bench.trials import Trials

CHUNK = 2_000
"""Prompts of the largest chunk: so seldom, at best, the scheduler hears of a prompt."""
MOST_PROMPTS = 20_000
"""Simulated for a point of the table; more would change little."""
MOST = 100_000
"""Workers, or prompts in flight, that can be asked for."""
ROUNDS, FEWEST_ROUNDS = 20, 5
"""Prompts for each one in flight: fill and drain are a small part then; where that would be too many, at least five."""


class WallName(Enum):
    """What holds throughput back."""

    PATH = "critical path"
    IN_FLIGHT = "prompts in flight"
    WORKERS = "workers"
    SCHEDULER = "scheduler"
    RATE = "rate limit"
    TAIL = "tail"


@dataclass(frozen=True, slots=True)
class Point:
    """What comes of so many workers and prompts in flight.

    `throughput_per_s` is prompts over the time from the first admission to the last end; latencies are seconds;
    `bounds` has the most that each wall allows, completions a second.
    """

    workers: int
    in_flight: int
    throughput_per_s: float
    mean_latency_s: float
    p50_latency_s: float
    p95_latency_s: float
    cost_usd_per_h: float
    bounds: Mapping[WallName, float]

    @property
    def wall(self) -> WallName:
        """The lowest of the bounds."""
        return min(self.bounds, key=lambda name: self.bounds[name])


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be simulated: each number of workers with each of prompts in flight, in places like this one, with
    agents' durations multiplied by `factors`."""

    workers: tuple[int, ...]
    in_flight: tuple[int, ...]
    place: Place
    factors: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What comes of every number of workers with every number of prompts in flight, in this order of `points`.

    `arm` is the one whose records the prompts were drawn from, `factors` what its agents' durations were multiplied by.
    `place` is that of the first point: the others differ in their workers. `overheads` are those of the run's cluster;
    `cpu_s` is the CPU time of a prompt, None where it was not measured.
    """

    arm: str
    factors: Mapping[str, float]
    place: Place
    overheads: Overheads
    cpu_s: float | None
    points: tuple[Point, ...]

    @property
    def by_in_flight(self) -> dict[int, tuple[Point, ...]]:
        """The points with equally many prompts in flight, by workers, ascending."""
        key = _in_flight_of
        return {many: tuple(points) for many, points in groupby(sorted(self.points, key=key), key)}

    def walls(self, in_flight: int) -> Iterator[tuple[WallName, int]]:
        """Which wall begins at how many workers."""
        points = sorted(self.by_in_flight[in_flight], key=lambda point: point.workers)
        for wall, begun in groupby(points, lambda point: point.wall):
            yield wall, next(begun).workers


def _in_flight_of(point: Point) -> int:
    return point.in_flight


def place_of(layout: Layout, granularity: str, cores: float, rates: Mapping[str, float]) -> Place:
    """One worker of that kind. Raises UsageError for what there is not, with the nearest, and for numbers below 0."""
    kinds = [each.value for each in Granularity]
    if granularity not in kinds:
        raise UsageError(f"granularity {granularity!r}: there is none{nearest(granularity, kinds)}")
    if not 0 < cores < math.inf:
        raise UsageError(f"{cores:g} cores a worker; give a number above 0, as 1, or 0.5 where two share one")
    names = [name for name, _ in layout]
    limits = []
    for agents, per_s in rates.items():
        if not 0 < per_s < math.inf:
            raise UsageError(f"{agents}={per_s:g}: give calls a second, above 0")
        limited = (agent_named(agent.strip(), layout) for agent in agents.split(","))
        limits.append(Limit(frozenset(map(names.index, limited)), per_s))
    by_agent = granularity == Granularity.AGENT.value
    return Place(1, cores, by_agent=by_agent, limits=tuple(limits))


def counts(what: str, given: Sequence[int]) -> tuple[int, ...]:
    """The numbers without repetition, ascending. Raises UsageError for none, and for those out of reach."""
    found = sorted(set(given))
    if not found or found[0] < 1 or found[-1] > MOST:
        raise UsageError(f"{what} {', '.join(map(str, given)) or 'of none'}: give numbers from 1 to {MOST:,}")
    return tuple(found)


def prompts_for(in_flight: int, recorded: int) -> int:
    """How many prompts are simulated: those of the run, but enough to fill the lanes again and again."""
    return max(FEWEST_ROUNDS * in_flight, min(MOST_PROMPTS, max(recorded, ROUNDS * in_flight)))


def capacity(
    trials: Trials, arm: ArmRun, layout: Layout, asked: Asked, tasks: Overheads, random: np.random.Generator
) -> Capacity:
    """Simulate all that was asked with prompts drawn from the arm's records. Raises UsageError for an arm without."""
    recorded = trials.records(["prompt_id"], arm.name)["prompt_id"].nunique()
    demand = draw(trials, arm, layout, asked.factors, prompts_for(max(asked.in_flight), recorded), random)
    place = replace(asked.place, workers=asked.workers[0], hop_s=tasks.hop_s, task_s=tasks.task_s)
    found = tuple(points(demand, place, asked.workers, asked.in_flight, recorded))
    return Capacity(arm.name, dict(asked.factors), place, tasks, arm.cpu_s, found)


def points(
    demand: Demand, place: Place, workers: Sequence[int], in_flight: Sequence[int], recorded: int
) -> Iterator[Point]:
    """Each number of workers with each number of prompts in flight, all with the same prompts in the same order.

    `recorded` is the number of prompts of the run; `demand` has `prompts_for` the largest number in flight.
    """
    for many in in_flight:
        prompts = demand[: prompts_for(many, recorded)]
        for count in workers:
            yield point(prompts, replace(place, workers=count), many)


def point(demand: Demand, place: Place, in_flight: int) -> Point:
    """What comes of all these prompts, simulated."""
    latencies_s, makespan_s = simulate(demand, place, in_flight)
    rate = len(demand) / makespan_s if makespan_s > 0 else math.inf
    return Point(
        workers=place.workers,
        in_flight=in_flight,
        throughput_per_s=rate,
        mean_latency_s=float(latencies_s.mean()),
        p50_latency_s=float(np.quantile(latencies_s, 0.50)),
        p95_latency_s=float(np.quantile(latencies_s, 0.95)),
        cost_usd_per_h=demand.cost_usd * rate * 3_600 if demand.cost_usd else 0.0,
        bounds=bounds(demand, place, in_flight),
    )


def alone_s(demand: Demand, place: Place) -> Floats:
    """How long each prompt takes with nothing beside it: its critical path, hops and overhead; seconds."""
    longer = 1 / speed_of(place)[1] - 1
    ends_s = demand.durations_s * (1 + demand.cpu_share * longer)
    if place.by_agent:
        ends_s += np.where(demand.durations_s.any(axis=0), place.hop_s + place.task_s, 0.0)
    for agent, needed in enumerate(demand.needs):
        if needed:
            ends_s[:, agent] += ends_s[:, list(needed)].max(axis=1)
    alone: Floats = ends_s.max(axis=1, initial=0.0) + np.maximum(demand.overhead_s, demand.overhead_cpu_s)
    return alone + demand.overhead_cpu_s * longer


def bounds(demand: Demand, place: Place, in_flight: int) -> dict[WallName, float]:
    """The most completions a second that each wall allows by itself.

    In flight / latency alone (Little's law); cores / CPU time, and threads / work; tasks a second of the scheduler;
    calls a second of each limit; and prompts / the longest one: the last to end keeps all others waiting.
    """
    alone = alone_s(demand, place)
    work_s = float(demand.durations_s.sum(axis=1).mean())
    slots = place.workers * place.threads if place.by_agent and place.threads else math.inf
    busy = place.workers if place.by_agent else min(place.workers, in_flight)
    called = (demand.durations_s > 0).mean(axis=0)
    tasks = np.count_nonzero(called) if place.by_agent else 1 / CHUNK
    found = {
        WallName.PATH if in_flight == 1 else WallName.IN_FLIGHT: _over(in_flight, float(alone.mean())),
        WallName.WORKERS: min(_over(busy * place.cores, demand.cpu_s), _over(slots, work_s)),
        WallName.SCHEDULER: _over(1, tasks * place.task_s),
        WallName.RATE: min(
            (_over(limit.per_s, float(called[list(limit.agents)].sum())) for limit in place.limits), default=math.inf
        ),
    }
    if in_flight > 1:
        found[WallName.TAIL] = _over(len(demand), float(alone.max()))
    return found


def _over(above: float, below: float) -> float:
    return float(above) / float(below) if below > 0 else math.inf
