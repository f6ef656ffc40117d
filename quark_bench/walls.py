"""Walls: what holds throughput back, which targets a pipeline can reach at all, and what to change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quark_bench.units import BYTES, COUNT, PER_SECOND, SECONDS, SHARE

ALONE = 1.05
"""Mean number of prompts under way up to which they came one at a time."""
MUCH = 0.05
"""Share of calls from which refusals, and failures, are worth a word: a twentieth."""
FULL_MEMORY = 0.8
"""Share of the machine's memory from which a program had better take less."""
SLOW_S = 3.0
"""Mean execution time from which the design document calls a pipeline slow."""
NOTICEABLE_S = 0.1
"""Below this, a person takes an answer for immediate (Nielsen 1993, "Usability Engineering", ch. 5)."""
WAITING = 0.2
"""Share of the prompts' time spent in line for a worker that more workers would do something about."""


@dataclass(frozen=True, slots=True)
class Load:
    """What an orchestrator does, as means over its prompts: seconds of work (agent calls), of the critical path and of
    the path to the answer, of waiting in line, from asking to answer (`latency_s`) and to the last agent's end.

    `cpu_share` is the share of one core that this process used while any prompt was under way; the event loop has no
    second one. `refused_share` is of all calls.
    """

    max_workers: int
    throughput_per_s: float
    in_flight: float
    work_s: float
    critical_path_s: float
    answer_path_s: float
    queue_s: float
    latency_s: float
    lifetime_s: float
    cpu_share: float
    refused_share: float = 0.0
    failed_share: float = 0.0
    memory_share: float = 0.0
    memory_bytes: int = 0
    concurrent_agents: int = 0
    parallel_rate: float | None = None
    ideal_parallel_rate: float | None = None
    width: int = 1
    longest_agent: str | None = None
    worst_agent: str | None = None
    worst_error: str | None = None


@dataclass(frozen=True, slots=True)
class Wall:
    """What holds throughput back: `bound_per_s` is the most it allows."""

    name: str
    bound_per_s: float
    advice: str

    def as_data(self) -> dict[str, Any]:
        return {"name": self.name, "bound_per_s": self.bound_per_s, "advice": self.advice}


@dataclass(frozen=True, slots=True)
class Target:
    """A target of the design document. `bound` is the best that the pipeline and the workers allow; `reachable` whether
    that is good enough."""

    text: str
    value: float | None
    met: bool | None
    bound: float | None
    reachable: bool | None
    told: str

    def as_data(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def find_wall(load: Load) -> Wall | None:
    """The lowest of the bounds on throughput; None before anything has ended.

    Workers allow max_workers / work; prompts in flight, by Little's law (1961), that number / critical path; one core
    for the event loop what was reached / the share of it in use.
    """
    if load.critical_path_s <= 0 or load.throughput_per_s <= 0:
        return None
    if load.refused_share > MUCH:
        advice = f"a circuit breaker refuses {SHARE.format(load.refused_share)} of the calls; see breakers in the stats"
        return Wall("a limit", load.throughput_per_s, advice)
    alone = load.in_flight <= ALONE
    by_prompts = Wall(
        "critical path" if alone else "prompts in flight",
        max(load.in_flight, 1.0) / load.critical_path_s,
        f"a prompt takes {SECONDS.format(load.critical_path_s)} and "
        + ("they come one at a time" if alone else f"{COUNT.format(round(load.in_flight, 1))} are under way at once")
        + f"; ask more at once, or make {load.longest_agent or 'the longest agent'} faster",
    )
    by_workers = Wall(
        "workers",
        load.max_workers / load.work_s,
        f"max_workers={load.max_workers} calls at once, and a prompt needs {SECONDS.format(load.work_s)} of them; "
        f"raise --max-workers to {more_workers(load)}",
    )
    walls = [by_prompts, by_workers]
    if load.cpu_share > 0:
        advice = "the event loop's core is busy; give agents that compute cpu=True, or use executor='dask'"
        walls.append(Wall("this process's CPU", load.throughput_per_s / min(load.cpu_share, 1.0), advice))
    return min(walls, key=lambda wall: wall.bound_per_s)


def more_workers(load: Load) -> int:
    """As many workers as all prompts in flight could use at once: in flight x work / critical path."""
    return max(load.max_workers + 1, round(load.in_flight * load.work_s / load.critical_path_s))


def targets(load: Load) -> list[Target]:
    """The design document's four targets, with what the DAG and the workers allow at best."""
    if load.critical_path_s <= 0:
        return []
    by_workers = load.max_workers / load.work_s
    at_once = min(load.width, load.max_workers)
    by_branches = 0.0 if load.max_workers == 1 else load.ideal_parallel_rate
    return [
        _at_least("throughput > 10 req/s", 10.0, load.throughput_per_s, by_workers, PER_SECOND.format),
        _at_most("latency, mean < 2 s", 2.0, load.latency_s, load.answer_path_s),
        _at_least("3 agents at once", 3 - 0.5, load.concurrent_agents, at_once, COUNT.format),
        _at_least("parallel rate > 60 %", 0.6, load.parallel_rate, by_branches, SHARE.format),
    ]


def _at_least(text: str, limit: float, value: float | None, bound: float | None, write: Any) -> Target:
    met = None if value is None else value > limit
    reachable = None if bound is None else bound > limit
    return Target(text, value, met, bound, reachable, _told(met, reachable, f"at most {write(bound)}"))


def _at_most(text: str, limit: float, value: float, bound: float) -> Target:
    met, reachable = value < limit, bound < limit
    return Target(text, value, met, bound, reachable, _told(met, reachable, f"at least {SECONDS.format(bound)}"))


def _told(met: bool | None, reachable: bool | None, bound: str) -> str:
    if met is None:
        return "not measured yet"
    if met:
        return "met"
    return "missed" if reachable else f"out of reach: the agents, as they are wired, and the workers allow {bound}"


def warnings(load: Load) -> Iterator[str]:
    """What the design document's troubleshooting advises, where it applies; each names the option to change."""
    if load.memory_share > FULL_MEMORY:
        yield (
            f"memory: this process holds {BYTES.format(load.memory_bytes)}, {SHARE.format(load.memory_share)} of the "
            f"machine's; lower --max-workers to {max(1, load.max_workers // 2)}"
        )
    if load.queue_s > max(NOTICEABLE_S, WAITING * load.work_s):
        yield (
            f"slow: calls of a prompt wait {SECONDS.format(load.queue_s)} for a worker; raise --max-workers to "
            f"{more_workers(load)}"
        )
    elif load.lifetime_s > SLOW_S:
        yield (
            f"slow: a prompt takes {SECONDS.format(load.lifetime_s)}, mostly {load.longest_agent}; make that faster, "
            "or leave agents out with --routes FILE.toml"
        )
    if load.failed_share > MUCH:
        yield (
            f"failures: {SHARE.format(load.failed_share)} of the prompts failed, mostly by {load.worst_agent}: "
            f"{load.worst_error}; see --log FILE, and give that agent retries=, fallback= or breaker="
        )
