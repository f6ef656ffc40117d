"""Capacity: what an arm's pipeline would do on so many workers with so many prompts in flight. Pure: a simulation.

Prompts go through their agents in virtual time, as `schedule` has it, and wait where real ones would: for a lane, for
the one scheduler, for a rate limit, for a core. The walls are the bounds that each of these sets by itself (Little
1961; Denning and Buzen 1978, "The operational analysis of queueing network models"): the lowest is what to change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

import numpy as np

from quark_bench.stats import Floats

CHUNK = 2_000
"""Prompts of the largest chunk: so seldom, at best, the scheduler hears of a prompt."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What prompts ask for, one row each, in the order in which they come.

    `durations_s` by agent, 0 where it is not called; `overhead_s` is what the prompt takes beyond its agents.
    `cpu_share` is the share of an agent's time that a core is busy with it; `cost_usd` that of a prompt. `needs`
    holds, for each agent, the positions of those it needs, all before it.
    """

    durations_s: Floats
    overhead_s: Floats
    needs: Sequence[Sequence[int]]
    cpu_share: float = 0.0
    cost_usd: float = 0.0

    def __len__(self) -> int:
        return len(self.durations_s)

    def first(self, prompts: int) -> Demand:
        """Of so many prompts, from the beginning again where there are fewer."""
        rows = np.arange(prompts) % len(self)
        return Demand(self.durations_s[rows], self.overhead_s[rows], self.needs, self.cpu_share, self.cost_usd)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many calls a second of these agents together, by their positions."""

    agents: frozenset[int]
    per_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where prompts are carried out.

    `cores` are those of one worker; two that share one have 0.5 each. With `by_agent`, each call is a task: it waits
    `hop_s` and takes `task_s` of the one scheduler; otherwise a chunk of prompts is one task.
    """

    workers: int
    cores: float = 1.0
    by_agent: bool = False
    hop_s: float = 0.0
    task_s: float = 0.0
    limits: tuple[Limit, ...] = ()


class WallName(Enum):
    """What holds throughput back."""

    PATH = "critical path"
    IN_FLIGHT = "in flight"
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


def simulate(demand: Demand, place: Place, in_flight: int) -> Point:
    """Carry out all of these prompts, `in_flight` at once. Raises ValueError for no workers, prompts or lanes."""
    if min(place.workers, len(demand), in_flight) < 1 or place.cores <= 0:
        raise ValueError("workers, prompts, prompts in flight and cores must be above 0")
    latencies_s, makespan_s = _Simulation(demand, place, in_flight).run()
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
    ends_s = demand.durations_s * (1 + demand.cpu_share * (1 / min(1.0, place.cores) - 1))
    if place.by_agent:
        ends_s = ends_s + place.hop_s + place.task_s
    for agent, needed in enumerate(demand.needs):
        if needed:
            ends_s[:, agent] += ends_s[:, list(needed)].max(axis=1)
    alone: Floats = ends_s.max(axis=1, initial=0.0) + demand.overhead_s
    return alone


def bounds(demand: Demand, place: Place, in_flight: int) -> dict[WallName, float]:
    """The most completions a second that each wall allows by itself.

    In flight / latency alone (Little's law); cores / CPU time; tasks a second of the scheduler; calls a second of each
    limit; and prompts / the longest one: the last to end keeps all others waiting.
    """
    alone = alone_s(demand, place)
    agents = len(demand.needs)
    cpu_s = demand.cpu_share * float(demand.durations_s.sum(axis=1).mean())
    busy = place.workers if place.by_agent else min(place.workers, in_flight)
    tasks = agents if place.by_agent else 1 / CHUNK
    called = (demand.durations_s > 0).mean(axis=0)
    found = {
        WallName.PATH if in_flight == 1 else WallName.IN_FLIGHT: _over(in_flight, float(alone.mean())),
        WallName.WORKERS: _over(busy * place.cores, cpu_s),
        WallName.SCHEDULER: _over(1, tasks * place.task_s),
        WallName.RATE: min(
            (_over(limit.per_s, float(called[list(limit.agents)].sum())) for limit in place.limits), default=math.inf
        ),
    }
    if in_flight > 1:
        found[WallName.TAIL] = _over(len(demand), float(alone.max()))
    return found


def _over(above: float, below: float) -> float:
    return above / below if below > 0 else math.inf


class _Stage(IntEnum):
    """Where a call is: before the scheduler, a rate limit, a core; at its end. Or a prompt is to be admitted."""

    SCHEDULE = 0
    RATE = 1
    CORE = 2
    END = 3
    ADMIT = 4


class _Event(NamedTuple):
    """At equal times, what came first goes first."""

    at_s: float
    number: int
    stage: _Stage
    prompt: int
    agent: int


class _Simulation:
    """All prompts through one place. A lane takes the next prompt as the one before ends; a chunk's lanes are a
    worker's, so its agents share that worker's cores; tasks take the core that is free first, of any worker."""

    def __init__(self, demand: Demand, place: Place, in_flight: int) -> None:
        self.demand, self.place = demand, place
        self.durations_s = demand.durations_s.tolist()
        self.overhead_s = demand.overhead_s.tolist()
        agents = len(demand.needs)
        self.feeds = [[other for other in range(agents) if agent in demand.needs[other]] for agent in range(agents)]
        self.missing = [[len(needed) for needed in demand.needs] for _ in range(min(in_flight, len(demand)))]
        self.lane_of = [0] * len(demand)
        self.left = [0] * len(self.missing)
        takers = 1 if place.by_agent else min(in_flight, place.workers)
        each = max(1, math.ceil(place.cores * (place.workers if place.by_agent else 1)))
        self.speed = place.cores * (place.workers if place.by_agent else 1) / each
        self.cores = [[0.0] * each for _ in range(takers)]
        self.scheduler_s = 0.0
        self.limits = {agent: [n for n, x in enumerate(place.limits) if agent in x.agents] for agent in range(agents)}
        self.limit_s = [0.0] * len(place.limits)
        self.admitted_s = [0.0] * len(demand)
        self.latencies_s = np.zeros(len(demand))
        self.next = 0
        self.events: list[_Event] = []
        self.numbered = 0

    def run(self) -> tuple[Floats, float]:
        """Latencies by prompt, and the time until the last end; seconds."""
        last_s = 0.0
        for lane in range(len(self.missing)):
            self._admit(lane, 0.0)
        steps = {
            _Stage.SCHEDULE: self._schedule,
            _Stage.RATE: self._rate,
            _Stage.CORE: self._core,
            _Stage.END: self._end,
        }
        while self.events:
            event = heappop(self.events)
            if event.stage is _Stage.ADMIT:
                last_s = max(last_s, event.at_s)
                self._admit(self.lane_of[event.prompt], event.at_s)
            else:
                steps[event.stage](event)
        return self.latencies_s, last_s

    def _push(self, at_s: float, stage: _Stage, prompt: int, agent: int) -> None:
        self.numbered += 1
        heappush(self.events, _Event(at_s, self.numbered, stage, prompt, agent))

    def _admit(self, lane: int, at_s: float) -> None:
        if self.next == len(self.durations_s):
            return
        prompt, self.next = self.next, self.next + 1
        self.lane_of[prompt], self.admitted_s[prompt] = lane, at_s
        self.missing[lane] = [len(needed) for needed in self.demand.needs]
        self.left[lane] = len(self.demand.needs)
        for agent, missing in enumerate(self.missing[lane]):
            if missing == 0:
                self._push(at_s, _Stage.SCHEDULE if self.place.by_agent else _Stage.RATE, prompt, agent)

    def _schedule(self, event: _Event) -> None:
        self.scheduler_s = max(self.scheduler_s, event.at_s) + self.place.task_s
        self._push(self.scheduler_s + self.place.hop_s, _Stage.RATE, event.prompt, event.agent)

    def _rate(self, event: _Event) -> None:
        at_s = event.at_s
        if self.durations_s[event.prompt][event.agent] > 0:
            for limit in self.limits[event.agent]:
                at_s = max(at_s, self.limit_s[limit])
                self.limit_s[limit] = at_s + 1 / self.place.limits[limit].per_s
        if at_s == event.at_s:
            self._core(event)
        else:
            self._push(at_s, _Stage.CORE, event.prompt, event.agent)

    def _core(self, event: _Event) -> None:
        """A core first, then the wait for what is elsewhere: calls take turns at a core, as on an event loop."""
        duration_s = self.durations_s[event.prompt][event.agent]
        cpu_s, end_s = duration_s * self.demand.cpu_share / self.speed, event.at_s
        if cpu_s > 0:
            cores = self.cores[self.lane_of[event.prompt] % len(self.cores)]
            end_s = max(end_s, cores[0]) + cpu_s
            heapreplace(cores, end_s)
        self._push(end_s + duration_s * (1 - self.demand.cpu_share), _Stage.END, event.prompt, event.agent)

    def _end(self, event: _Event) -> None:
        lane = self.lane_of[event.prompt]
        self.left[lane] -= 1
        missing = self.missing[lane]
        for follower in self.feeds[event.agent]:
            missing[follower] -= 1
            if missing[follower] == 0:
                stage = _Stage.SCHEDULE if self.place.by_agent else _Stage.RATE
                self._push(event.at_s, stage, event.prompt, follower)
        if self.left[lane] == 0:
            end_s = event.at_s + self.overhead_s[event.prompt]
            self.latencies_s[event.prompt] = end_s - self.admitted_s[event.prompt]
            self._push(end_s, _Stage.ADMIT, event.prompt, 0)
