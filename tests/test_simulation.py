from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.demand import Demand
from quark_bench.schedule import longest_path, makespan
from quark_bench.simulation import Limit, Place, simulate

NEEDS = ((), (), (0, 1), (2,))


def demand(durations_s: list[list[float]], overhead_s: float = 0.0, **more: float) -> Demand:
    rows = np.array(durations_s, float).reshape(-1, len(NEEDS))
    return Demand(rows, np.full(len(rows), overhead_s), NEEDS, **more)


prompts = st.lists(st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4), min_size=1, max_size=30)
places = st.builds(
    Place,
    workers=st.integers(1, 6),
    cores=st.sampled_from([0.5, 1.0, 2.0]),
    by_agent=st.booleans(),
    threads=st.sampled_from([None, 3]),
    hop_s=st.floats(0, 0.05),
    task_s=st.floats(0, 0.02),
    limits=st.sampled_from([(), (Limit(frozenset({0, 2}), 20.0),)]),
)


@given(prompts, st.integers(1, 8), st.floats(0, 0.1), st.integers(1, 4))
def test_agents_that_only_wait_are_list_scheduled(
    durations_s: list[list[float]], in_flight: int, overhead_s: float, workers: int
) -> None:
    paths_s = [longest_path(each, NEEDS) + overhead_s for each in durations_s]
    latencies_s, last_s = simulate(demand(durations_s, overhead_s), Place(workers), in_flight)
    assert latencies_s == pytest.approx(np.array(paths_s))
    assert last_s == pytest.approx(makespan(paths_s, in_flight))


@given(prompts, places, st.floats(0, 1), st.floats(0, 0.1))
def test_one_prompt_at_a_time_waits_for_no_other(
    durations_s: list[list[float]], place: Place, cpu_share: float, overhead_s: float
) -> None:
    place = replace(place, limits=())
    latencies_s, last_s = simulate(demand(durations_s, overhead_s, cpu_share=cpu_share), place, 1)
    assert last_s == pytest.approx(latencies_s.sum())
    apart = [simulate(demand([each], overhead_s, cpu_share=cpu_share), place, 1)[1] for each in durations_s]
    assert latencies_s == pytest.approx(np.array(apart))


def test_a_chain_of_tasks_waits_for_a_hop_at_every_level() -> None:
    place = Place(1, by_agent=True, hop_s=0.01, task_s=0.001)
    latencies_s, _ = simulate(demand([[0.1, 0.1, 0.1, 0.1]]), place, 1)
    assert latencies_s[0] == pytest.approx(0.3 + 3 * 0.01 + 4 * 0.001)  # two tasks begin together, in turn


def test_agents_that_compute_take_turns_at_a_workers_cores() -> None:
    burning = demand([[1.0, 1.0, 1.0, 1.0]] * 4, cpu_share=1.0)
    makespans_s = [simulate(burning, Place(workers), 4)[1] for workers in (1, 2, 4)]
    assert makespans_s == pytest.approx([16.0, 8.0, 4.0])


def test_a_shared_core_computes_at_half_its_speed() -> None:
    burning = demand([[1.0, 1.0, 1.0, 1.0]] * 4, cpu_share=1.0)
    assert simulate(burning, Place(4, cores=0.5), 4)[1] == pytest.approx(8.0)


def test_what_a_prompt_computes_beside_its_agents_takes_a_core_too() -> None:
    busy = demand([[0.0, 0.0, 0.0, 0.0]] * 10, 0.1, overhead_cpu_s=0.1)
    assert simulate(busy, Place(1), 10)[1] == pytest.approx(1.0)


def test_tasks_wait_for_a_thread() -> None:
    waiting, tasks = demand([[0.1, 0.0, 0.0, 0.0]] * 8), Place(2, threads=2, by_agent=True)
    assert simulate(waiting, tasks, 8)[1] == pytest.approx(0.2)
    assert simulate(waiting, replace(tasks, by_agent=False), 8)[1] == pytest.approx(0.1)


def test_calls_wait_for_their_rate_limit() -> None:
    place = Place(1, limits=(Limit(frozenset({2}), 10.0),))
    _, last_s = simulate(demand([[0.0, 0.0, 0.05, 0.0]] * 11), place, 11)
    assert last_s == pytest.approx(1.05)


def test_an_agent_that_is_not_called_uses_up_no_limit() -> None:
    place = Place(1, limits=(Limit(frozenset({2}), 0.001),))
    assert simulate(demand([[0.1, 0.1, 0.0, 0.1]] * 3), place, 3)[1] == pytest.approx(0.2)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"cores": 0.0}])
def test_nothing_is_carried_out_by_nobody(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        simulate(demand([[1.0] * 4]), replace(Place(1), **wrong), 1)
