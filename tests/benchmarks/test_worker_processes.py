"""What more processes give: all cores to agents that burn CPU; to agents that wait nothing, prompts in flight do."""

import time

import pytest
from bars import Beside, Row, at_least
from work import WAITS, makespan_s, rate, texts

from ..clusters import dask_processes

pytestmark = pytest.mark.scale

PROCESSES = (1, 2, 4, 8)
IN_FLIGHT = (64, 512)
ROUNDS = 3


def test_two_processes_burn_cpu_almost_twice_as_fast_as_one(run_on, compare):
    prompts = texts(120)  # of fewer, the last ones, which one process ends while the other idles, would tell

    def rate_of(workers):
        return rate(run_on("local", prompts, "burns", workers=workers))

    beside = {"one process": Beside(lambda: rate_of(1), at_least(1.8))}
    compare("agents that burn 20 ms of CPU each, 2 processes", "prompts/s", lambda: rate_of(2), beside)


def test_throughput_grows_with_prompts_in_flight_and_not_with_processes(run_on, tell, benchmark, tmp_path):
    rates = {(in_flight, count): [] for in_flight in IN_FLIGHT for count in PROCESSES}
    loads = {count: [] for count in PROCESSES}

    def measure(cluster, client, in_flight, count):
        before_s = client.run_on_scheduler(time.process_time)
        run = run_on(cluster.address, texts(10 * in_flight), "waits", in_flight=in_flight, granularity="chunk")
        rates[in_flight, count].append(rate(run))
        if in_flight == max(IN_FLIGHT):  # connecting and warming up are counted in: the load is no more than this
            loads[count].append((client.run_on_scheduler(time.process_time) - before_s) / makespan_s(run))

    def on_ever_more_processes():
        with dask_processes(tmp_path / "cluster") as cluster, cluster.client() as client:
            for count in PROCESSES:
                for _ in range(count - len(cluster.workers)):
                    cluster.worker("--no-nanny")
                client.wait_for_workers(count)
                for in_flight in IN_FLIGHT * ROUNDS:
                    measure(cluster, client, in_flight, count)

    benchmark.pedantic(on_ever_more_processes, rounds=1)
    for (in_flight, count), ours in rates.items():
        case = f"agents that wait, {in_flight} in flight, by number of processes"
        ideal = [in_flight / WAITS.critical_path_s] * ROUNDS
        tell(Row.of_pairs(case, "prompts/s", ours, f"ideal on {count}", ideal, at_least(0.85)))
    load = f"of a core for the scheduler, {max(IN_FLIGHT)} in flight"
    for count, ours in loads.items():
        tell(Row.of_values(load, "share", ours, f"on {count}"))
