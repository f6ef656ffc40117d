import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.decide import (
    LARGEST_CHUNK,
    Calibration,
    GiveUp,
    Retry,
    after_failure,
    choose_granularity,
    chunk_size,
    least_chunk,
)
from quark_bench.policy import Policy

waits = st.floats(0, 1e3)
seeds = st.integers(0, 2**64 - 1)
durations = st.floats(1e-6, 1e3)
policies = st.builds(Policy, retries=st.integers(1, 40), backoff_s=waits, backoff_max_s=waits)
calibrations = st.builds(
    Calibration,
    latency_s=durations,
    critical_path_s=durations,
    levels=st.integers(1, 50),
    calls=st.integers(1, 100),
    in_flight=st.integers(1, 4_096),
)


@given(policies, st.data(), seeds)
def test_a_retry_waits_between_half_and_all_of_a_doubling_and_bounded_time(policy, data, seed):
    attempt = data.draw(st.integers(1, policy.retries))
    verdict = after_failure(policy, attempt, seed)
    full_s = min(policy.backoff_max_s, policy.backoff_s * 2 ** (attempt - 1))
    assert isinstance(verdict, Retry)
    assert full_s / 2 <= verdict.after_s <= full_s <= policy.backoff_max_s


@given(policies, st.integers(1, 40), seeds)
def test_equal_seeds_wait_equally_long(policy, attempt, seed):
    assert after_failure(policy, attempt, seed) == after_failure(policy, attempt, seed)


def test_those_that_failed_together_come_back_apart():
    policy = Policy(retries=1, backoff_s=1.0)
    assert len({after_failure(policy, 1, seed) for seed in range(100)}) == 100


@given(st.integers(0, 20), st.integers(1, 40), seeds)
def test_after_the_last_retry_an_agent_is_given_up(retries, attempt, seed):
    given_up = isinstance(after_failure(Policy(retries=retries), attempt, seed), GiveUp)
    assert given_up == (attempt > retries)


@given(st.none() | st.floats(0, 1e6), st.integers(1, 10_000))
def test_a_chunk_holds_one_prompt_to_two_thousand(latency_s, lanes):
    assert 1 <= chunk_size(latency_s, lanes) <= LARGEST_CHUNK


@given(durations, durations, st.integers(1, 4_096))
def test_slower_prompts_never_make_a_larger_chunk(one_s, other_s, lanes):
    faster_s, slower_s = sorted((one_s, other_s))
    assert chunk_size(slower_s, lanes) <= chunk_size(faster_s, lanes)


@given(st.none() | st.floats(0, 1e6), st.integers(1, 10_000), st.floats(0, 10))
def test_the_least_chunk_is_bounded_and_grows_with_the_hop(latency_s, lanes, hop_s):
    assert least_chunk(latency_s, lanes, 0.0) == 1
    assert 1 <= least_chunk(latency_s, lanes, hop_s) <= least_chunk(latency_s, lanes, 2 * hop_s) <= LARGEST_CHUNK


def test_a_chunk_holds_what_the_lanes_finish_in_half_a_second():
    assert chunk_size(0.1, 8) == 40
    assert chunk_size(2.0, 1) == 1
    assert chunk_size(1e-5, 8) == LARGEST_CHUNK


@given(calibrations, st.floats(1e-5, 1), st.floats(0, 1))
def test_a_cheaper_hop_never_turns_agents_into_chunks(calibration, hop_s, share):
    if choose_granularity(calibration, hop_s, {}).agent:
        assert choose_granularity(calibration, max(hop_s * share, 1e-9), {}).agent


def test_long_agents_become_tasks_and_short_ones_chunks():
    long, short = (Calibration(path_s, path_s, 4, 7, 1) for path_s in (4.0, 0.04))
    assert choose_granularity(long, 0.01, {}).agent
    assert not choose_granularity(short, 0.01, {}).agent


def test_many_calls_a_second_are_too_much_for_one_scheduler():
    assert not choose_granularity(Calibration(1.0, 1.0, 2, 7, 512), 0.01, {}).agent


@pytest.mark.parametrize("calibration", [None, Calibration(0.001, 0.001, 4, 7, 8)])
def test_what_agents_declare_comes_first(calibration):
    choice = choose_granularity(calibration, 0.01, {"reasoning": "gpu=1"})
    assert choice.agent
    assert "reasoning (gpu=1)" in choice.reason


@pytest.mark.parametrize(
    ("calibration", "hop_s", "told"),
    [(None, 0.01, "no warm-up"), (Calibration(1, 1, 1, 1, 1), 0.0, "nothing is submitted")],
)
def test_without_something_to_weigh_chunks_are_chosen(calibration, hop_s, told):
    choice = choose_granularity(calibration, hop_s, {})
    assert not choice.agent
    assert told in choice.reason
