"""The cost model: laws of its predictions, and what it chooses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.granularity import (
    LARGEST_CHUNK,
    SCHEDULED,
    Calibration,
    Costs,
    Prediction,
    choose,
    chunk_size,
    open_chunk_size,
    predict,
)
from quark_bench.plan import Granularity

durations = st.floats(1e-6, 1e3)
costs = st.builds(
    lambda hop_s, task_s, processes, cores: Costs(hop_s, task_s, processes, min(cores, processes)),
    st.floats(1e-4, 1),
    st.floats(1e-5, 0.1),
    st.integers(1, 64),
    st.integers(1, 64),
)
calibrations = st.builds(
    Calibration,
    latency_s=durations,
    paths_s=st.lists(durations, min_size=1, max_size=20),
    apart=st.just(1.0),
    cpu_s=st.floats(0, 10),
    levels=st.integers(1, 50),
    calls=st.integers(1, 100),
    in_flight=st.integers(1, 512),
)
blocks = st.lists(st.integers(1, 300), min_size=1, max_size=5)
TWO_CORES = Costs(hop_s=0.01, task_s=0.001, processes=2, cores=2)
SEVEN_WAITING = Calibration(latency_s=0.22, paths_s=[0.22], apart=1.0, cpu_s=0.001, levels=4, calls=7, in_flight=32)
TWO_BURNING = Calibration(latency_s=1.0, paths_s=[1.0], apart=0.5, cpu_s=1.0, levels=1, calls=2, in_flight=1)


@given(calibrations, costs, blocks)
def test_where_agents_gain_nothing_apart_tasks_of_their_own_take_longer(seen, costs, blocks):
    seen = replace(seen, in_flight=max(seen.in_flight, costs.processes))
    found = predict(seen, costs, blocks)
    assert found.agent_s >= found.chunk_s > 0
    assert not found.by_agent


@given(calibrations, costs, blocks, st.floats(1, 10))
def test_dearer_tasks_never_shorten_a_prediction(seen, costs, blocks, more):
    cheap = predict(seen, costs, blocks)
    dear = predict(seen, replace(costs, hop_s=costs.hop_s * more, task_s=costs.task_s * more), blocks)
    assert dear.chunk_s == cheap.chunk_s
    assert dear.agent_s >= cheap.agent_s * (1 - 1e-9)


@given(calibrations, costs, blocks)
def test_blocks_follow_one_another(seen, costs, blocks):
    apart = [predict(seen, costs, [prompts]) for prompts in blocks]
    whole = predict(seen, costs, blocks)
    assert whole.chunk_s == pytest.approx(sum(each.chunk_s for each in apart))
    assert whole.agent_s == pytest.approx(sum(each.agent_s for each in apart))


def test_a_long_block_takes_proportionally_longer_than_what_is_scheduled_of_it():
    some, many = (predict(SEVEN_WAITING, TWO_CORES, [SCHEDULED * times]).chunk_s for times in (1, 50))
    assert many == pytest.approx(50 * some)


def test_prompts_that_wait_take_as_many_rounds_as_they_need_in_flight():
    found = predict(SEVEN_WAITING, TWO_CORES, [200])
    assert found.chunk_s == pytest.approx(7 * 0.22)
    assert 1.1 <= found.agent_s / found.chunk_s <= 1.6


def test_prompts_that_burn_keep_the_cores_busy_and_no_more():
    burning = Calibration(0.5, [0.5], 1.0, cpu_s=0.5, levels=1, calls=1, in_flight=8)
    for costs, cores in ((TWO_CORES, 2), (replace(TWO_CORES, processes=4), 2), (replace(TWO_CORES, cores=1), 1)):
        assert predict(burning, costs, [100]).chunk_s == pytest.approx(100 * 0.5 / cores, rel=1e-3)
    assert predict(replace(burning, in_flight=1), TWO_CORES, [100]).chunk_s == pytest.approx(100 * 0.5, rel=1e-3)


def test_the_one_scheduler_bounds_agents_that_do_nothing():
    null = Calibration(1e-5, [1e-5], 1.0, cpu_s=0.0, levels=4, calls=7, in_flight=64)
    found = predict(null, TWO_CORES, [1_000])
    assert found.agent_s >= 1_000 * 7 * TWO_CORES.task_s
    assert found.chunk_s < found.agent_s / 20


def test_agents_that_burn_side_by_side_become_tasks_where_too_few_prompts_are_in_flight_for_all_processes():
    assert choose(predict(TWO_BURNING, TWO_CORES, [20]), {}).granularity is Granularity.AGENT
    assert choose(predict(replace(TWO_BURNING, in_flight=8), TWO_CORES, [20]), {}).granularity is Granularity.CHUNK
    short = replace(TWO_BURNING, paths_s=[0.01], cpu_s=0.01)
    assert choose(predict(short, TWO_CORES, [20]), {}).granularity is Granularity.CHUNK


def test_a_sequential_arm_has_no_tasks_for_agents():
    assert predict(replace(SEVEN_WAITING, levels=0, calls=0), TWO_CORES, [20]).agent_s is None


@pytest.mark.parametrize(
    ("prediction", "chosen", "told"),
    [
        (None, Granularity.CHUNK, "no warm-up"),
        (Prediction(1.0, None), Granularity.CHUNK, "no other way"),
        (Prediction(1.0, 2.0), Granularity.CHUNK, "shorter"),
        (Prediction(1.0, 0.95), Granularity.CHUNK, "as short"),
        (Prediction(1.0, 0.5), Granularity.AGENT, "shorter"),
    ],
)
def test_the_clearly_shorter_way_is_chosen_and_the_chunk_where_there_is_none(prediction, chosen, told):
    choice = choose(prediction, {})
    assert choice.granularity is chosen
    assert told in choice.reason


@pytest.mark.parametrize("prediction", [None, Prediction(1.0, 2.0)])
def test_resources_that_agents_need_come_first(prediction):
    choice = choose(prediction, {"reasoning": "gpu=1"})
    assert choice.granularity is Granularity.AGENT
    assert "reasoning (gpu=1)" in choice.reason


latencies = st.floats(0, 1e3)
counts = st.integers(1, 10_000)


@given(st.none() | latencies, counts, costs, counts)
def test_a_chunk_holds_one_prompt_to_two_thousand(latency_s, in_flight, costs, prompts):
    assert 1 <= chunk_size(latency_s, in_flight, costs, prompts) <= LARGEST_CHUNK


@given(latencies, latencies, counts, costs, counts)
def test_slower_prompts_never_make_a_larger_chunk(one_s, other_s, in_flight, costs, prompts):
    faster_s, slower_s = sorted((one_s, other_s))
    assert chunk_size(slower_s, in_flight, costs, prompts) <= chunk_size(faster_s, in_flight, costs, prompts)


@given(latencies, counts, costs, st.integers(1, 100_000), st.integers(1, 10))
def test_a_longer_block_never_makes_a_smaller_chunk(latency_s, in_flight, costs, prompts, more):
    size = chunk_size(latency_s, in_flight, costs, prompts)
    assert chunk_size(latency_s, in_flight, costs, prompts * more) >= size


@pytest.mark.parametrize(
    ("latency_s", "in_flight", "prompts", "size"),
    [
        (0.22, 256, 2_560, 32),  # a quarter of a worker's 128 lanes
        (10.0, 2, 1_000, 1),
        (0.02, 32, 100_000, 32),  # 50 ms of 16 lanes, in whole rounds
        (0.05, 32, 64, 4),  # for each of two workers to have eight
        (0.05, 32, 100, 8),  # ... or the next part that fills 16 lanes
        (0.002, 32, 160, 80),  # a hop of 16 lanes
        (1e-5, 32, 1_000_000, 992),  # 50 ms of 20,000 prompts/s, in whole rounds
        (None, 32, 200, 32),
    ],
)
def test_a_chunk_is_a_quarter_of_the_lanes_unless_prompts_are_short(latency_s, in_flight, prompts, size):
    assert chunk_size(latency_s, in_flight, TWO_CORES, prompts) == size


def test_many_workers_get_longer_chunks_for_the_one_scheduler_to_follow():
    crowd = replace(TWO_CORES, processes=100, cores=100)
    chunks_per_s = 3_200 / 0.22 / chunk_size(0.22, 3_200, crowd, 1_000_000)
    assert chunks_per_s * crowd.task_s <= 0.06


def test_in_an_open_load_every_worker_gets_a_chunk_several_times_a_second():
    costs = [Costs(0.01, 0.001, processes, 4) for processes in (1, 4)]
    assert [[open_chunk_size(rate, each, 1_000) for rate in (1, 20, 500, 1e6)] for each in costs] == [
        [1, 5, 125, 2_000],
        [1, 1, 31, 2_000],
    ]


def test_an_open_load_goes_by_chunk_unless_agents_need_resources():
    slow = Prediction(chunk_s=9.0, agent_s=1.0)
    assert choose(slow, {}, is_open=True).granularity is Granularity.CHUNK
    assert choose(slow, {"a": "GPU=1"}, is_open=True).granularity is Granularity.AGENT
