"""Arm run: how an arm was run and on what, as predictions need it; from a run's manifest and measures."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import canonical
from quark_bench.arrivals import arrivals_of
from quark_bench.cpu import cpu_of_prompt
from quark_bench.critical_path import Layout
from quark_bench.errors import UsageError
from quark_bench.measures import Measure
from quark_bench.plan import Granularity, Strategy
from quark_bench.slo import nearest
from quark_bench.stats import Interval
from quark_bench.trials import Trials

Measures = Mapping[str, Mapping[str, Measure]]
"""By arm and name."""
HOP_S = 0.010
TASK_S = 1 / 4_000
"""Of a run that measured none: a hop as seen on loopback, and for one scheduler the tasks a second that Dask's
documentation gives (docs/source/actors.rst)."""


@dataclass(frozen=True, slots=True)
class ArmRun:
    """An arm as it was run.

    `one_by_one`: agents of a prompt ran one after another; `by_agent`: each of their calls was a Dask task.
    `throughput_per_s` is what was measured, with its interval; `cpu_s` the CPU time of a prompt, None where it was not
    measured, and `cores` how many could be busy at once. `is_open`: a schedule set its throughput.
    """

    name: str
    one_by_one: bool
    by_agent: bool
    in_flight: int
    throughput_per_s: Interval
    cpu_s: float | None
    cores: int
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Overheads:
    """What tasks cost: seconds from submitting an empty one to its result, and of the one scheduler's time for each.

    `measured` tells whether by the run itself.
    """

    hop_s: float
    task_s: float
    measured: bool


def arm_run(manifest: Mapping[str, Any], measures: Measures, trials: Trials, name: str) -> ArmRun:
    """An arm by its name. CPU time is that of the same pipeline in all arms.

    Raises UsageError, naming the nearest, for an arm that the run does not have.
    """
    arms = {arm["name"]: arm for arm in manifest["arms"]}
    if name not in arms:
        raise UsageError(f"run {manifest['run_id']} has no arm {name!r}{nearest(name, arms)}")
    arm, throughput = arms[name], measures[name]["throughput_per_s"]
    alike = [each["name"] for each in arms.values() if each["pipeline_key"] == arm["pipeline_key"]]
    one_by_one = arm["strategy"] == Strategy.SEQUENTIAL.value
    return ArmRun(
        name=name,
        one_by_one=one_by_one,
        by_agent=not one_by_one and manifest["granularity"]["choice"] == Granularity.AGENT.value,
        in_flight=arm["in_flight"],
        throughput_per_s=Interval(throughput.value, throughput.low, throughput.high, 0, throughput.note),
        cpu_s=cpu_of_prompt(trials, alike, manifest["usage"]),
        cores=_cores(manifest),
        is_open=arrivals_of(arm) is not None,
    )


def _cores(manifest: Mapping[str, Any]) -> int:
    """A process computes on one core at a time, as Python does; workers of this machine share its cores."""
    told = manifest["cluster"].get("cores") or manifest["provenance"].get("cores")
    text = str(told)
    return max(1, min(workers_of(manifest), int(text) if text.isdecimal() and len(text) < 10 else 1))


def workers_of(manifest: Mapping[str, Any]) -> int:
    """How many carried out the run; 1 where that is not known."""
    workers = manifest["cluster"].get("workers")
    return workers if type(workers) is int and workers > 0 else 1


def overheads(manifest: Mapping[str, Any]) -> Overheads:
    """Of the cluster that the run was made on."""
    hop_s, task_s = (manifest["cluster"].get(name) for name in ("hop_s", "task_s"))
    if isinstance(hop_s, float) and isinstance(task_s, float) and 0 < hop_s < math.inf and 0 < task_s < math.inf:
        return Overheads(hop_s, task_s, measured=True)
    return Overheads(HOP_S, TASK_S, measured=False)


def threads(manifest: Mapping[str, Any]) -> int | None:
    """Of a worker, which are tasks under way at once; None where there are no tasks."""
    all_threads = manifest["cluster"].get("threads")
    known = type(all_threads) is int and all_threads >= workers_of(manifest)
    return all_threads // workers_of(manifest) if known else None


def least_busy(manifest: Mapping[str, Any]) -> str:
    """Of the arms with the last one's pipeline, the one with the fewest prompts in flight: calls were least in each
    other's way there."""
    alike = [arm for arm in manifest["arms"] if arm["pipeline_key"] == manifest["arms"][-1]["pipeline_key"]]
    return str(min(alike, key=lambda arm: int(arm["in_flight"]))["name"])


def agent_named(name: str, layout: Layout) -> str:
    """The agent of that name, compared without case and underscores. Raises UsageError with the nearest."""
    known = {canonical(each): each for each, _ in layout}
    if canonical(name) not in known:
        raise UsageError(f"no agent {name!r} here{nearest(name, known.values())}")
    return known[canonical(name)]


def factors_of(layout: Layout, answer: str, agents: Mapping[str, float], drop: Collection[str]) -> dict[str, float]:
    """What the durations of each changed agent are multiplied by, by its name in the layout: 0 for those to drop.

    Raises UsageError for an unknown agent, a factor that is no positive number, one agent named twice, and where the
    answering agent is dropped.
    """
    factors: dict[str, float] = {}
    for name, factor in [*agents.items(), *((name, 0.0) for name in drop)]:
        agent = agent_named(name, layout)
        if agent in factors:
            raise UsageError(f"agent {agent!r} is changed twice; name it once")
        if name in agents and not 0 < factor < 1e6:
            raise UsageError(f"{name}={factor:g}: give what durations are multiplied by, above 0, as in {name}=0.5")
        factors[agent] = factor
    if factors.get(answer) == 0.0:
        raise UsageError(f"agent {answer!r} gives the answer: it cannot be dropped; make it faster, {answer}=0.5")
    return factors
