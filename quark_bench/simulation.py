"""Simulation: prompts through their agents in virtual time, as `schedule` has it, waiting where real ones would: for a
lane, for the one scheduler, for a rate limit, for a core. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

import numpy as np

from quark_bench.demand import Demand
from quark_bench.stats import Floats


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many calls a second of these agents together, by their positions."""

    agents: frozenset[int]
    per_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where prompts are carried out.

    `cores` are those of one worker; two that share one have 0.5 each. With `by_agent`, each call is a task: it waits
    `hop_s`, takes `task_s` of the one scheduler, and holds one of the worker's `threads` (None: there are enough);
    otherwise a chunk of prompts is one task.
    """

    workers: int
    cores: float = 1.0
    threads: int | None = None
    by_agent: bool = False
    hop_s: float = 0.0
    task_s: float = 0.0
    limits: tuple[Limit, ...] = ()


def speed_of(place: Place) -> tuple[int, float]:
    """How many calls can compute at once where cores are shared, and at what part of a core's speed."""
    cores = place.cores * (place.workers if place.by_agent else 1)
    at_once = max(1, math.ceil(cores))
    return at_once, cores / at_once


def simulate(demand: Demand, place: Place, in_flight: int) -> tuple[Floats, float]:
    """Carry out all of these prompts, `in_flight` at once: seconds that each took, and from the first admission to the
    last end. Raises ValueError for no workers, cores, prompts or prompts in flight."""
    if min(place.workers, len(demand), in_flight) < 1 or place.cores <= 0:
        raise ValueError("workers, cores, prompts and prompts in flight must be above 0")
    return _Simulation(demand, place, in_flight).run()


class _Stage(IntEnum):
    """Where a call is: before the scheduler, a rate limit, a core; at its end. Or a prompt has ended, and the next
    one is admitted."""

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
    """All prompts through one place.

    A lane takes the next prompt as the one before ends. A chunk's lanes are a worker's, whose cores their agents share;
    tasks take the core that is free first, of any worker. Calls take turns at a core, as they do on an event loop: each
    computes first and waits then for what is elsewhere.
    """

    def __init__(self, demand: Demand, place: Place, in_flight: int) -> None:
        self.demand, self.place = demand, place
        self.durations_s = demand.durations_s.tolist()
        agents = range(len(demand.needs))
        self.feeds = [[other for other in agents if agent in demand.needs[other]] for agent in agents]
        self.tasks = [bool(each) and place.by_agent for each in np.any(demand.durations_s, axis=0).tolist()]
        self.limits = [[n for n, limit in enumerate(place.limits) if agent in limit.agents] for agent in agents]
        lanes = min(in_flight, len(demand))
        self.missing: list[list[int]] = [[]] * lanes
        self.left = [0] * lanes
        self.lane_of = [0] * len(demand)
        self.admitted_s = [0.0] * len(demand)
        self.latencies_s = np.zeros(len(demand))
        at_once, self.speed = speed_of(place)
        self.cores = [[0.0] * at_once for _ in range(1 if place.by_agent else min(in_flight, place.workers))]
        self.scheduler_s = 0.0
        slots = place.threads * place.workers if place.threads and place.by_agent else 0
        self.threads_s = [0.0] * min(slots, max(1, lanes * len(agents)))
        self.limits_s = [0.0] * len(place.limits)
        self.admitted = 0
        self.numbered = 0
        self.events: list[_Event] = []

    def run(self) -> tuple[Floats, float]:
        """Latencies by prompt, and the time until the last end; seconds."""
        last_s = 0.0
        steps = (self._schedule, self._rate, self._core, self._end, self._admit_next)
        for lane in range(len(self.left)):
            self._admit(lane, 0.0)
        while self.events:
            event = heappop(self.events)
            last_s = event.at_s
            steps[event.stage](event)
        return self.latencies_s, last_s

    def _push(self, at_s: float, stage: _Stage, prompt: int, agent: int) -> None:
        self.numbered += 1
        heappush(self.events, _Event(at_s, self.numbered, stage, prompt, agent))

    def _begin(self, at_s: float, prompt: int, agent: int) -> None:
        """All that the agent needs is there."""
        self._push(at_s, _Stage.SCHEDULE if self.tasks[agent] else _Stage.RATE, prompt, agent)

    def _admit(self, lane: int, at_s: float) -> None:
        if self.admitted == len(self.durations_s):
            return
        prompt, self.admitted = self.admitted, self.admitted + 1
        self.lane_of[prompt], self.admitted_s[prompt] = lane, at_s
        self.missing[lane] = [len(needed) for needed in self.demand.needs]
        self.left[lane] = len(self.demand.needs)
        for agent, missing in enumerate(self.missing[lane]):
            if missing == 0:
                self._begin(at_s, prompt, agent)

    def _schedule(self, event: _Event) -> None:
        self.scheduler_s = max(self.scheduler_s, event.at_s) + self.place.task_s
        self._push(self.scheduler_s + self.place.hop_s, _Stage.RATE, event.prompt, event.agent)

    def _rate(self, event: _Event) -> None:
        at_s = event.at_s
        if self.durations_s[event.prompt][event.agent] > 0:
            for limit in self.limits[event.agent]:
                at_s = max(at_s, self.limits_s[limit])
                self.limits_s[limit] = at_s + 1 / self.place.limits[limit].per_s
        if at_s > event.at_s:
            self._push(at_s, _Stage.CORE, event.prompt, event.agent)
        else:
            self._core(event)

    def _core(self, event: _Event) -> None:
        duration_s = self.durations_s[event.prompt][event.agent]
        cpu_s = duration_s * self.demand.cpu_share
        takes_thread = bool(self.threads_s) and self.tasks[event.agent]
        begun_s = max(event.at_s, self.threads_s[0]) if takes_thread else event.at_s
        end_s = self._compute(event.prompt, begun_s, cpu_s) + duration_s - cpu_s
        if takes_thread:
            heapreplace(self.threads_s, end_s)
        self._push(end_s, _Stage.END, event.prompt, event.agent)

    def _compute(self, prompt: int, at_s: float, cpu_s: float) -> float:
        """When this has been computed."""
        if cpu_s <= 0:
            return at_s
        cores = self.cores[self.lane_of[prompt] % len(self.cores)]
        end_s = max(at_s, cores[0]) + cpu_s / self.speed
        heapreplace(cores, end_s)
        return end_s

    def _end(self, event: _Event) -> None:
        lane = self.lane_of[event.prompt]
        missing = self.missing[lane]
        for follower in self.feeds[event.agent]:
            missing[follower] -= 1
            if missing[follower] == 0:
                self._begin(event.at_s, event.prompt, follower)
        self.left[lane] -= 1
        if self.left[lane] == 0:
            self._leave(event)

    def _leave(self, event: _Event) -> None:
        cpu_s = self.demand.overhead_cpu_s
        end_s = self._compute(event.prompt, event.at_s, cpu_s) + max(
            0.0, float(self.demand.overhead_s[event.prompt]) - cpu_s
        )
        self.latencies_s[event.prompt] = end_s - self.admitted_s[event.prompt]
        self._push(end_s, _Stage.ADMIT, event.prompt, event.agent)

    def _admit_next(self, event: _Event) -> None:
        self._admit(self.lane_of[event.prompt], event.at_s)
