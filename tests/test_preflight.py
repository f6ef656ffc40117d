"""The preflight against real processes that differ, lack quark-bench, or say nothing."""

import io
import os
import signal

import pytest
from distributed import Client
from rich.console import Console

from quark_bench.errors import ClusterError
from quark_bench.execute import preflight
from quark_bench.execute.preflight import allowed_failures, ask_versions, check_versions, listening
from quark_bench.report.tables import run_table

from .conftest import Way


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(preflight, "ANSWER_S", 2.0)


def test_processes_of_one_environment_have_no_differences(cluster):
    with Client(cluster, set_as_default=False) as client:
        check_versions(client)
        versions = ask_versions(client)
    assert len(versions.workers) == 2
    assert all(found == versions.client for found in (versions.scheduler, *versions.workers.values()))
    assert None not in versions.client.values()


def test_a_worker_of_other_versions_is_refused_before_the_first_prompt(elsewhere, with_versions, run_with, tmp_path):
    address = elsewhere.scheduler().address
    elsewhere.worker("--no-nanny")
    elsewhere.worker("--no-nanny", **with_versions(cloudpickle="1.2.3", msgpack="0.6.1"))
    alike, other = _by_version(address, elsewhere.wait_for_workers(2).workers)
    with pytest.raises(ClusterError) as refused:
        run_with(Way(address, "chunk"), 3, "waits.py:short", arms=["async"])
    told = str(refused.value)
    assert f"worker {other}: cloudpickle 1.2.3 (here " in told
    assert "msgpack 0.6.1 (here " in told
    assert "pip install cloudpickle==" in told
    assert alike not in told
    assert not list(tmp_path.glob("*/manifest.json")), "nothing was run"


def _by_version(scheduler, workers):
    """The worker whose cloudpickle is ours, and the one whose is not."""
    with Client(scheduler, set_as_default=False) as client:
        versions = ask_versions(client)
    return sorted(workers, key=lambda address: versions.workers[address] != versions.client)


def test_a_worker_without_quark_bench_is_named(elsewhere, without_quark_bench, run_with):
    address = elsewhere.scheduler().address
    elsewhere.worker("--no-nanny", **without_quark_bench)
    (worker,) = elsewhere.wait_for_workers(1).workers
    with pytest.raises(ClusterError, match="quark-bench missing") as refused:
        run_with(Way(address, "chunk"), 3, "waits.py:short", arms=["async"])
    assert worker in str(refused.value)
    assert "pip install quark-bench==" in str(refused.value)
    assert elsewhere.workers == [worker], "asking did it no harm"


def test_a_silent_worker_is_named_in_bounded_time(elsewhere, impatient):
    address = elsewhere.scheduler().address
    elsewhere.worker("--no-nanny")
    silent = elsewhere.worker("--no-nanny", host="127.0.0.4")
    elsewhere.wait_for_workers(2)
    with Client(address, set_as_default=False) as client:
        os.kill(silent.pid, signal.SIGSTOP)
        with pytest.raises(ClusterError, match=r"worker tcp://127\.0\.0\.4:\d+ did not answer within 2 s"):
            check_versions(client)
        os.kill(silent.pid, signal.SIGCONT)
        check_versions(client)


def test_a_silent_scheduler_is_named_in_bounded_time(elsewhere, impatient):
    address = elsewhere.scheduler().address
    with Client(address, set_as_default=False) as client:
        os.kill(elsewhere.started[0].pid, signal.SIGSTOP)
        for question in (check_versions, allowed_failures, listening):
            with pytest.raises(ClusterError, match=f"the scheduler at {address} did not answer within"):
                question(client)
        os.kill(elsewhere.started[0].pid, signal.SIGCONT)


def test_how_often_dask_tries_a_crashing_prompt_is_read_from_the_scheduler_and_told(elsewhere, run_with, tmp_path):
    address = elsewhere.scheduler(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="7").address
    elsewhere.worker("--no-nanny")
    run = run_with(Way(address, "chunk"), 2, "waits.py:short", arms=["async"])
    assert run.manifest["cluster"]["allowed_failures"] == 7
    assert "tried by Dask itself on 7 more" in in_terminal(run)


def test_a_cluster_of_ours_never_tries_again(run_with):
    run = run_with(Way("local", "chunk"), 2, "waits.py:short", arms=["async"], workers=1)
    assert run.manifest["cluster"]["allowed_failures"] == 0
    assert "tried by Dask itself" not in in_terminal(run)


def in_terminal(run):
    """What a person reads at the end of the run, on one line."""
    console = Console(width=200, file=io.StringIO())
    console.print(run_table(run.findings))
    return console.file.getvalue()


def test_a_schedulers_ports_are_told(elsewhere):
    address = elsewhere.scheduler().address
    with Client(address, set_as_default=False) as client:
        found = listening(client)
        dashboard = client.scheduler_info()["services"]["dashboard"]
    assert ("127.0.0.2", int(address.rpartition(":")[2])) in found
    assert ("127.0.0.2", dashboard) in found
