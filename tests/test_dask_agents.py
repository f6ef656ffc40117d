"""Agents' calls as tasks of a real Dask cluster: where they are made, what is lost with a worker, and how it ends."""

import asyncio
import contextlib
import os
import signal
from contextlib import asynccontextmanager

import psutil
import pytest
from distributed import Client, LocalCluster

from quark_bench.errors import ClusterError, ExecutionError
from quark_bench.execute.cluster_spec import read_spec
from quark_bench.execute.dask_agents import DaskAgents
from quark_bench.execute.process import this_process

from .clusters import forked_processes, until
from .places import Trials, moved_to, shipped


@asynccontextmanager
async def trials_on(place, pipeline, workers=2):
    """Trials whose agents are called on a cluster: its address, a client, or `local`."""
    named, shipment = shipped(pipeline)
    agents = DaskAgents(read_spec(place) if isinstance(place, str) else place, shipment, workers)
    async with moved_to(agents, named) as moved:
        await agents.open()
        yield Trials(moved)


def tried(place, pipeline, scenario):
    """What `scenario(trials)` returns."""

    async def run():
        async with trials_on(place, pipeline) as trials:
            return await scenario(trials)

    return asyncio.run(run())


def answers(trials):
    return [record.answer for record, _ in trials]


@pytest.fixture
def own_cluster(tmp_path):
    """`own_cluster(workers, ...)`: a LocalCluster as any team's, with nannies and Dask's own settings."""
    opened = []

    def started(workers=2, **options):
        settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        cluster = LocalCluster(n_workers=workers, local_directory=tmp_path, **settings | options)
        opened.append(cluster)
        return cluster

    yield started
    for cluster in opened:
        cluster.close(timeout=10)


def test_calls_are_made_by_all_workers(cluster):
    async def scenario(trials):
        return await trials.all(["0.2"] * 8)

    with Client(cluster, set_as_default=False) as client:
        workers = {str(pid) for pid in client.run(os.getpid).values()}
    assert set(answers(tried(cluster, "placed.py:staying", scenario))) == workers


def test_a_client_of_somebody_else_is_enough_and_stays_open(cluster):
    async def scenario(trials):
        return await trials("hello")

    with Client(cluster, set_as_default=False) as client:
        record, _ = tried(client, "told.py:echo", scenario)
        assert record.answer == "hello"
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_client_that_lives_on_the_same_loop_is_enough(cluster):
    async def run():
        async with Client(cluster, asynchronous=True, set_as_default=False) as client:
            async with trials_on(client, "told.py:echo") as trials:
                record, _ = await trials("hello")
            return record.answer, await client.submit(sum, [1, 2])

    assert asyncio.run(run()) == ("hello", 3)


def test_a_local_cluster_is_started_and_leaves_no_process():
    async def scenario(trials):
        return await trials("hello")

    before = dasks()
    record, _ = tried("local", "told.py:echo", scenario)
    assert record.answer == "hello"
    until(lambda: dasks() <= before)


def dasks():
    """The processes below this one that are Dask's."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "dask" in " ".join(process.cmdline()):
                found.add(process)
    return found


def test_calls_that_wait_hold_no_threads_of_their_worker(own_cluster):
    async def scenario(trials):
        return await trials.all(["12"] * 12)

    ended = tried(own_cluster(1, threads_per_worker=1).scheduler_address, "placed.py:meeting", scenario)
    assert {record.status for record, _ in ended} == {"ok"}


def test_agents_take_turns_at_a_resource(own_cluster):
    async def scenario(trials):
        return await trials.all(["any"] * 6)

    cluster = own_cluster(1, threads_per_worker=4, resources={"GPU": 2})
    assert max(map(int, answers(tried(cluster.scheduler_address, "placed.py:bounded", scenario)))) == 2


def test_a_resource_that_no_worker_offers_is_told_at_once(cluster):
    with pytest.raises(ClusterError, match="agent 'costly' needs GPU=1, which no worker offers"):
        tried(cluster, "deadly.py:resourceful", lambda trials: trials())


def test_a_set_up_that_fails_on_a_worker_is_told_at_once(cluster):
    with pytest.raises(ExecutionError, match="'unready' failed: FileNotFoundError: no index"):
        tried(cluster, "told.py:never_ready", lambda trials: trials())


def test_a_set_up_runs_once_in_a_worker(cluster):
    async def scenario(trials):
        return await trials.all(["any"] * 8)

    assert len(set(answers(tried(cluster, "told.py:ready", scenario)))) == 2


def test_a_worker_that_was_never_given_the_pipeline_gets_it_with_the_call(cluster):
    async def scenario(trials):
        with Client(cluster, set_as_default=False) as client:
            await asyncio.to_thread(client.run, forget_pipelines)
        return await trials.all(["one", "two", "three"])

    assert answers(tried(cluster, "told.py:echo", scenario)) == ["one", "two", "three"]


def forget_pipelines():
    this_process()._wired.clear()


def test_a_worker_that_joins_late_takes_part(tmp_path):
    with forked_processes(tmp_path / "cluster", 1) as processes:

        async def scenario(trials):
            processes.worker("--no-nanny")
            seen = set()
            while len(seen) < 2:
                seen |= set(answers(await trials.all(["0.05"] * 4)))
            return seen

        tried(processes.address, "placed.py:staying", scenario)


def test_a_lost_worker_costs_the_calls_that_were_under_way_on_it(own_cluster):
    async def scenario(trials):
        return await trials.all(["die", "one", "two", "three"])

    address = own_cluster().scheduler_address
    with_retries = tried(address, "placed.py:retried", scenario)
    assert answers(with_retries) == ["DIE", "ONE", "TWO", "THREE"]
    _, spans = with_retries[0]
    assert [span.status for span in spans] == ["failed", "ok"]
    assert spans[0].error.startswith("LostCallError: worker tcp://127.0.0.1:")
    assert "was lost while it made the call" in spans[0].error


def test_a_call_that_kills_its_worker_is_not_made_again_unasked(own_cluster):
    async def scenario(trials):
        return await trials("exit")

    cluster = own_cluster(3)
    with Client(cluster, set_as_default=False) as client:
        before = set(client.run(os.getpid).values())
        record, _ = tried(cluster.scheduler_address, "deadly.py:pipeline", scenario)
        assert record.error.startswith("LostCallError")
        client.wait_for_workers(3, timeout=30)
        assert len(before & set(client.run(os.getpid).values())) == 2


def test_without_a_scheduler_calls_fail_at_once_and_say_why(tmp_path):
    with forked_processes(tmp_path / "cluster", 1) as processes:

        async def scenario(trials):
            under_way = asyncio.create_task(trials("3600"))
            await asyncio.sleep(0.5)
            processes.scheduler_process.send_signal(signal.SIGKILL)
            return (await under_way)[0], (await trials("0"))[0]

        lost, refused = tried(processes.address, "placed.py:staying", scenario)
    assert lost.error.startswith("ClusterError: the scheduler was lost")
    assert refused.error.startswith("ClusterError: the connection to the scheduler is lost")


def test_a_call_that_nobody_waits_for_is_given_up(own_cluster):
    async def scenario(trials):
        under_way = [asyncio.create_task(trials("30")) for _ in range(3)]
        await asyncio.sleep(0.5)
        with Client(cluster, set_as_default=False) as client:
            assert len(await asyncio.to_thread(client.run_on_scheduler, wanted_tasks)) == 3
            for trial in under_way:
                trial.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await asyncio.to_thread(until, lambda: not client.run_on_scheduler(wanted_tasks))

    cluster = own_cluster(1).scheduler_address
    tried(cluster, "placed.py:staying", scenario)


def wanted_tasks(dask_scheduler):
    return [str(task.key) for task in dask_scheduler.tasks.values() if task.who_wants]


def test_an_address_where_nobody_answers_is_a_cluster_error(monkeypatch):
    monkeypatch.setattr("quark_bench.execute.cluster.CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        tried("tcp://127.0.0.1:1", "told.py:echo", lambda trials: trials())
