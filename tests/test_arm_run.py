from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from quark_bench.arm_run import ArmRun, agent_named, arm_run, factors_of, least_busy, overheads, threads
from quark_bench.errors import UsageError
from quark_bench.measures import Measure
from quark_bench.trials import FrameTrials
from quark_bench.units import PER_SECOND, Direction

LAYOUT = (("look_up", ()), ("answer", ("look_up",)))


def arm(name: str, in_flight: int, strategy: str = "parallel", key: str = "k") -> dict[str, Any]:
    return {"name": name, "strategy": strategy, "in_flight": in_flight, "pipeline_key": key}


def manifest(*arms: dict[str, Any], choice: str = "chunk", **cluster: Any) -> dict[str, Any]:
    return {
        "run_id": "r",
        "arms": list(arms) or [arm("sync", 1, "sequential"), arm("parallel", 1), arm("async", 8)],
        "granularity": {"choice": choice},
        "cluster": cluster,
        "provenance": {"cores": "2"},
        "usage": [{"block": 0, "arm": "sync", "cpu_s": 0.2}],
    }


def of(name: str, told: dict[str, Any]) -> ArmRun:
    throughput = Measure("throughput_per_s", 25.0, PER_SECOND, Direction.HIGHER, 24.0, 26.0)
    row = {"session": 0, "arm": "sync", "block": 0, "due_s": 0.0, "start_s": 0.0, "latency_s": 1.0}
    measures = {each["name"]: {"throughput_per_s": throughput} for each in told["arms"]}
    return arm_run(told, measures, FrameTrials(pd.DataFrame([row]), pd.DataFrame()), name)


def test_an_arm_is_as_it_was_run() -> None:
    found = of("async", manifest(workers=4))
    assert (found.in_flight, found.one_by_one, found.by_agent, found.cores) == (8, False, False, 2)
    assert (found.throughput_per_s.low, found.cpu_s) == (24.0, pytest.approx(0.2))


def test_agents_one_after_another_are_never_tasks() -> None:
    assert of("sync", manifest(choice="agent")).one_by_one
    assert not of("sync", manifest(choice="agent")).by_agent
    assert of("async", manifest(choice="agent")).by_agent


def test_a_process_computes_on_one_core() -> None:
    assert of("async", manifest(workers=1)).cores == 1
    assert of("async", manifest(workers=64, cores=32)).cores == 32


@pytest.mark.parametrize("told", [-3, True, "²", "9" * 5_000, None, [1], -0.5])
def test_a_manifest_that_tells_nonsense_is_one_process_on_one_core(told: Any) -> None:
    nonsense = manifest(workers=told, threads=told, hop_s=told, task_s=told) | {"provenance": {"cores": told}}
    assert of("async", nonsense).cores == 1
    assert threads(nonsense) is None
    assert not overheads(nonsense).measured


def test_an_unknown_arm_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no arm 'asink'; did you mean 'async'"):
        of("asink", manifest())


def test_prompts_are_drawn_from_where_calls_were_least_in_each_others_way() -> None:
    assert least_busy(manifest()) == "sync"
    assert least_busy(manifest(arm("one", 1, key="other"), arm("two", 8), arm("three", 4))) == "three"


def test_what_was_not_measured_is_assumed_and_said() -> None:
    assert overheads(manifest(hop_s=0.02, task_s=0.001)).measured
    assert not overheads(manifest()).measured
    assert overheads(manifest()).task_s == pytest.approx(1 / 4_000)


def test_threads_are_counted_by_worker() -> None:
    assert threads(manifest(workers=2, threads=128)) == 64
    assert threads(manifest(workers=1)) is None


def test_agents_names_compare_without_case_and_underscores() -> None:
    assert agent_named("LookUp", LAYOUT) == "look_up"
    assert factors_of(LAYOUT, "answer", {"ANSWER": 0.5}, ["lookup"]) == {"answer": 0.5, "look_up": 0.0}
