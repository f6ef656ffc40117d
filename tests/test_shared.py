"""Breakers that all workers of a real cluster share."""

import time
from collections import Counter

import pytest
from distributed import Client

from quark_bench import Dataset
from quark_bench.execute.breakers import Guard
from quark_bench.execute.process import this_process
from quark_bench.execute.shared import SharedBreakers, flush_breakers, link_breakers, share_breakers, shared_histories
from quark_bench.plan import Arm, Strategy
from quark_bench.policy import Breaker

from .conftest import Way
from .pipelines import policies

GUARD = Guard("openai", Breaker(failures=3, reset_s=1.5), 60.0)
LEARNT_S = 3.0
"""Bounds a wait on a busy machine; what is asked for is a fraction of a second."""


@pytest.fixture
def workers(cluster):
    """A client, and the addresses of two workers that share their breakers."""
    with Client(cluster, set_as_default=False) as client:
        share_breakers(client, "shared")
        client.run(link_here)
        yield client, list(client.scheduler_info(n_workers=-1)["workers"])
        client.run(unlink_here)


def link_here(dask_worker):
    link_breakers(this_process(), dask_worker)


def unlink_here():
    this_process().bench.breakers.link(None)


def on_loop(made):
    """Run a coroutine on this worker's own loop, from the thread of a task."""
    return this_process().submit(made).result(30)


def admitted(key):
    return on_loop(this_process().bench.breakers.admit(key, GUARD))


def ended(key, succeeded, probe):
    async def settle():
        this_process().bench.breakers.settle(key, GUARD, succeeded, probe)

    on_loop(settle())


def ask(client, worker, function, *arguments):
    return client.submit(function, *arguments, workers=[worker], pure=False).result(30)


def learnt(client, worker, key, wanted):
    """Ask until a worker's answer is as wanted, as its agents would find it."""
    deadline_s = time.monotonic() + LEARNT_S
    while not wanted(found := ask(client, worker, admitted, key)):
        assert time.monotonic() < deadline_s, found
        time.sleep(0.02)
    return found


def test_failures_on_one_worker_open_the_breaker_for_the_other_and_a_probe_there_closes_it_for_both(workers):
    client, (one, other) = workers
    key = ("shared-async", False, "openai")
    for worker in (one, other):
        assert ask(client, worker, admitted, key).refused is None
    for _ in range(GUARD.breaker.failures):
        ask(client, one, ended, key, False, 0)
    learnt(client, other, key, lambda found: found.refused is not None)
    assert ask(client, one, admitted, key).refused is not None
    time.sleep(GUARD.breaker.reset_s)
    assert learnt(client, other, key, lambda found: found.refused is None).probe == 1
    assert "waits for its probe" in ask(client, one, admitted, key).refused
    ask(client, other, ended, key, True, 1)
    learnt(client, one, key, lambda found: found == (0, None))
    client.run(flush_breakers)
    (told,) = shared_histories(client, "shared", {"async": ["openai"]}, time.perf_counter() - 100)
    assert [phase for _, phase in told["transitions"]] == ["open", "half-open", "closed"]
    assert all(80 < at_s <= 100 for at_s, _ in told["transitions"])
    assert (told["opened"], told["probes"], told["state"]) == (1, 1, "closed")
    assert told["refused"] >= 3


def test_a_session_begins_with_closed_breakers_also_where_the_plug_in_is_there_already(workers):
    client, (one, _) = workers
    key = ("again-async", False, "openai")
    for _ in range(GUARD.breaker.failures):
        ask(client, one, ended, key, False, 0)
    learnt(client, one, key, lambda found: found.refused is not None)
    share_breakers(client, "again")
    (told,) = shared_histories(client, "again", {"async": ["openai"]}, 0.0)
    assert (told["opened"], told["state"]) == (0, "closed")


def test_messages_are_plain_data():
    hub = SharedBreakers()
    (answer,) = hub.exchange([[["run-async", False, "openai"], 3, 10.0, 0, [[False, 3, 0]], None]])
    assert {type(part) for part in answer} <= {str, int, float, type(None)}
    assert answer[0] == "open"


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_all_workers_together_call_a_provider_that_is_down_only_a_few_times(cluster, run_with, granularity):
    arm = Arm("wide", Strategy.PARALLEL, 4)
    run = run_with(Way(cluster, granularity), 200, "policies.py:guarded", arms=[arm])
    spans = run.spans[run.spans["agent"] == "fragile"]
    why = Counter(error.partition(":")[0] for error in spans["error"].dropna())
    # Each worker makes the calls under way, and what it makes until it hears of the other's failures.
    assert policies.FAILURES <= why["ConnectionError"] <= 60
    assert why["ConnectionError"] + why["CircuitOpenError"] == 200
    (told,) = run.manifest["breakers"]
    assert (told["opened"], told["state"], told["breaker"], told["arm"]) == (1, "open", "openai", "wide")
    assert told["refused"] == why["CircuitOpenError"]
    assert run.records["worker"].nunique() == 2
    refused = spans[spans["error"].str.startswith("CircuitOpenError", na=False)]
    assert set(refused["worker"]) == set(run.records["worker"])


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_a_provider_that_comes_back_is_found_by_a_probe(cluster, run_with, granularity):
    prompts = Dataset.of(["down"] * 2 + ["up"] * 300)
    run = run_with(Way(cluster, granularity), prompts, "policies.py:recovers", arms=[Arm("a", Strategy.PARALLEL, 4)])
    (told,) = run.manifest["breakers"]
    phases = [phase for _, phase in told["transitions"]]
    assert phases[:1] == ["open"]
    assert phases[-2:] == ["half-open", "closed"]
    assert told["refused"] == run.measures["a"]["refused_calls"].value > 0
    late = run.records.sort_values("start_s").tail(20)
    assert set(late["status"]) == {"ok"}


def test_a_run_without_breakers_shares_nothing(cluster, run_with):
    run = run_with(Way(cluster, "chunk"), 4, "policies.py:by_value", arms=["async"])
    assert run.manifest["breakers"] == []
