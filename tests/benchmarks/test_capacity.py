"""Capacity, simulated from a small run, beside what more workers and prompts in flight really gave."""

import os

import pytest
from bars import Bar, Row
from work import rate, texts

from quark_bench.arm_run import arm_run
from quark_bench.capacity import point
from quark_bench.demand import draw
from quark_bench.simulation import Place

np = pytest.importorskip("numpy")

pytestmark = pytest.mark.scale

WORKERS = (1, 2, 4)
WITHIN = 0.15
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cores_each(workers):
    """A worker computes on one core, or on its share of those there are."""
    return min(1.0, CORES / workers)


def simulated(run, prompts, workers, in_flight, granularity):
    """Prompts a second by the records of the run's first arm."""
    arm = arm_run(run.manifest, run.measures, run.arms[0])
    demand = draw(run.trials, arm, run.layout, {}, prompts, np.random.default_rng(0))
    tasks = {name: run.manifest["cluster"][name] for name in ("hop_s", "task_s")}
    place = Place(workers, cores_each(workers), granularity == "agent", **tasks)
    return point(demand, place, in_flight).throughput_per_s


@pytest.mark.parametrize(
    ("pipeline", "arm", "prompts", "in_flight", "granularity"),
    [
        pytest.param("waits", "parallel", 640, 64, "chunk", id="waiting, chunks"),
        pytest.param("waits", "parallel", 160, 8, "agent", id="waiting, tasks"),
        pytest.param("burns", "sync", 80, 8, "chunk", id="computing, chunks"),
    ],
)
def test_simulated_is_what_one_two_and_four_workers_measure(
    run_on, tell, benchmark, pipeline, arm, prompts, in_flight, granularity
):
    found = {}

    def measure():
        small = run_on("local", texts(24), pipeline, arm=arm, workers=1)
        for workers in WORKERS:
            run = run_on(
                "local", texts(prompts), pipeline, workers=workers, in_flight=in_flight, granularity=granularity
            )
            expected = simulated(small, prompts, workers, in_flight, granularity)
            found[workers] = (expected, rate(run))

    benchmark.pedantic(measure, rounds=1)
    missed = []
    for workers, (expected, measured) in found.items():
        case = f"{pipeline}, {in_flight} in flight, {granularity} granularity, simulated"
        row = Row.of_pairs(
            case, "prompts/s", [expected], f"measured on {workers}", [measured], Bar(1 + WITHIN, at_least=False)
        )
        tell(row)
        if abs(row.ratio - 1) > WITHIN:
            missed.append(f"{row.case}, {row.beside}: {row.ratio:.3f}")
    assert not missed
