"""Capacity, simulated from a small run, beside what more workers and prompts in flight really gave."""

import subprocess
import sys
from typing import NamedTuple

import pytest
from bars import Bar, Row
from work import rate, texts

from ..clusters import dask_processes

pytestmark = pytest.mark.scale

WORKERS = (1, 2, 4)
WITHIN = 0.15
BURN = "import time; end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time())"
"""A second of computing; prints the CPU time that was to be had for it."""


class Case(NamedTuple):
    """What is run on every number of workers; a pipeline of pipelines.py."""

    pipeline: str
    prompts: int
    in_flight: int
    granularity: str

    def __str__(self):
        return f"{self.pipeline}, {self.in_flight} in flight, {self.granularity} granularity: simulated"


CASES = (
    Case("waits", 1_280, 64, "chunk"),
    Case("waits", 160, 8, "agent"),
    Case("burns", 80, 8, "chunk"),
)


def cores_to_be_had(count):
    """Of a machine that may have other work: what so many processes get together, each at most one."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE) for _ in range(count)]
    return sum(min(1.0, float(each.communicate()[0])) for each in burning)


def test_simulated_is_what_one_two_and_four_workers_measure(run_on, tell, benchmark, tmp_path):
    measured, cores, small = {}, {}, {}

    def on_ever_more_workers():
        with dask_processes(tmp_path / "cluster") as cluster, cluster.client() as client:
            for count in WORKERS:
                for _ in range(count - len(cluster.workers)):
                    cluster.worker("--no-nanny")
                client.wait_for_workers(count)
                for case in CASES:
                    if count == 1 and case.pipeline not in small:
                        small[case.pipeline] = run_on(
                            cluster.address, texts(24), case.pipeline, arms=["sync", "async"], granularity="chunk"
                        )
                    options = {"in_flight": case.in_flight, "granularity": case.granularity}
                    before = cores_to_be_had(count)
                    run = run_on(cluster.address, texts(case.prompts), case.pipeline, **options)
                    measured[case, count] = rate(run)
                    cores[case, count] = (before + cores_to_be_had(count)) / 2

    benchmark.pedantic(on_ever_more_workers, rounds=1)
    missed = []
    for (case, count), ours in measured.items():
        found = small[case.pipeline].capacity(
            [count], [case.in_flight], granularity=case.granularity, cores=cores[case, count] / count
        )
        expected = found.points[0].throughput_per_s
        bar = Bar(1 + WITHIN, at_least=False)
        row = Row.of_pairs(str(case), "prompts/s", [expected], f"measured on {count}", [ours], bar)
        tell(row)
        if abs(row.ratio - 1) > WITHIN:
            missed.append(f"{row.case}, {row.beside}: {row.ratio:.3f}")
    assert not missed
