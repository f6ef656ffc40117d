import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quark_bench.execute.decide import (
    AFTER_FAILURE,
    LARGEST_CHUNK,
    TRANSITIONS,
    BreakerState,
    Calibration,
    Event,
    Failure,
    Next,
    Phase,
    Verdict,
    admit,
    after_failure,
    backoff_s,
    choose_granularity,
    chunk_size,
    least_chunk,
    settle,
)
from quark_bench.policy import Breaker, Policy

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


def test_the_table_says_what_follows_every_kind_of_failure():
    assert set(AFTER_FAILURE) == set(itertools.product(Failure, (True, False), (True, False)))


@given(st.sampled_from(Failure), st.integers(0, 20), st.integers(1, 40), st.booleans())
def test_retries_come_before_the_fallback_and_the_fallback_before_giving_up(failure, retries, attempt, fallback):
    follows = after_failure(Policy(retries=retries), failure, attempt, fallback)
    at_last = Next.FALL_BACK if fallback else Next.GIVE_UP
    if failure is Failure.ENGINE:
        assert follows is Next.GO_ON_SEQUENTIALLY
    elif failure is Failure.REFUSED:
        assert follows is at_last
    else:
        assert follows is (Next.RETRY if attempt <= retries else at_last)


def test_only_a_fault_of_the_engine_is_answered_by_going_on_sequentially():
    assert {failure for (failure, _, _), follows in AFTER_FAILURE.items() if follows is Next.GO_ON_SEQUENTIALLY} == {
        Failure.ENGINE
    }


@given(policies, st.data(), seeds)
def test_a_retry_waits_between_half_and_all_of_a_doubling_and_bounded_time(policy, data, seed):
    attempt = data.draw(st.integers(1, policy.retries))
    full_s = min(policy.backoff_max_s, policy.backoff_s * 2 ** (attempt - 1))
    assert full_s / 2 <= backoff_s(policy, attempt, seed) <= full_s <= policy.backoff_max_s


@given(policies, st.integers(1, 40), seeds)
def test_equal_seeds_wait_equally_long(policy, attempt, seed):
    assert backoff_s(policy, attempt, seed) == backoff_s(policy, attempt, seed)


def test_those_that_failed_together_come_back_apart():
    policy = Policy(retries=1, backoff_s=1.0)
    assert len({backoff_s(policy, 1, seed) for seed in range(100)}) == 100


@pytest.mark.parametrize(
    ("phase", "event", "entered"),
    [
        (Phase.CLOSED, Event.SUCCESS, Phase.CLOSED),
        (Phase.CLOSED, Event.FAILURE, Phase.CLOSED),
        (Phase.CLOSED, Event.LAST_FAILURE, Phase.OPEN),
        (Phase.OPEN, Event.SUCCESS, Phase.OPEN),
        (Phase.OPEN, Event.FAILURE, Phase.OPEN),
        (Phase.OPEN, Event.TIME_OVER, Phase.HALF_OPEN),
        (Phase.HALF_OPEN, Event.SUCCESS, Phase.HALF_OPEN),
        (Phase.HALF_OPEN, Event.FAILURE, Phase.HALF_OPEN),
        (Phase.HALF_OPEN, Event.PROBE_SUCCESS, Phase.CLOSED),
        (Phase.HALF_OPEN, Event.PROBE_FAILURE, Phase.OPEN),
        (Phase.HALF_OPEN, Event.TIME_OVER, Phase.HALF_OPEN),
    ],
)
def test_a_breaker_moves_as_the_table_says(phase, event, entered):
    assert TRANSITIONS[phase, event] is entered
    assert len(TRANSITIONS) == 11


def opened(breaker, now_s=0.0):
    state = BreakerState()
    for _ in range(breaker.failures):
        state = settle(state, breaker, False, 0, now_s)
    return state


@given(st.integers(1, 20))
def test_a_breaker_opens_after_so_many_failures_in_a_row_and_a_success_begins_the_count_again(failures):
    breaker = Breaker(failures=failures, reset_s=10)
    state = BreakerState()
    for succeeded in [False] * (failures - 1) + [True] + [False] * (failures - 1):
        state = settle(state, breaker, succeeded, 0, 1.0)
        assert state.phase is Phase.CLOSED
    state = settle(state, breaker, False, 0, 1.0)
    assert (state.phase, state.until_s) == (Phase.OPEN, 11.0)


def test_half_open_lets_one_probe_through_whose_success_closes_and_whose_failure_opens_again():
    breaker = Breaker(failures=2, reset_s=10)
    state = opened(breaker)
    assert admit(state, 9.9, 5)[1] is Verdict.REFUSE
    half_open, verdict = admit(state, 10, 5)
    assert (half_open.phase, verdict, half_open.probe) == (Phase.HALF_OPEN, Verdict.PROBE, 1)
    assert admit(half_open, 14.9, 5) == (half_open, Verdict.REFUSE)
    closed, again = (settle(half_open, breaker, succeeded, 1, 12) for succeeded in (True, False))
    assert (closed.phase, closed.failures) == (Phase.CLOSED, 0)
    assert (again.phase, again.until_s) == (Phase.OPEN, 22)


def test_a_probe_whose_holder_vanished_is_followed_by_another_and_no_longer_heard():
    breaker = Breaker(failures=1, reset_s=10)
    half_open, _ = admit(opened(breaker), 10, 5)
    second, verdict = admit(half_open, 15, 5)
    assert (verdict, second.probe, second.until_s) == (Verdict.PROBE, 2, 20)
    assert settle(second, breaker, True, 1, 16) == second
    assert settle(second, breaker, True, 2, 16).phase is Phase.CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order while time goes on; some vanish and never end."""

    breaker = Breaker(failures=3, reset_s=10)
    lease_s = 4.0

    def __init__(self):
        super().__init__()
        self.state = BreakerState()
        self.now_s = 0.0
        self.calls = []
        self.streak = 0
        self.opened_s = None
        self.probe_s = {}

    @rule(passed_s=st.floats(0, 12))
    def time_passes(self, passed_s):
        self.now_s += passed_s

    @rule()
    def call(self):
        before = self.state.phase
        self.state, verdict = admit(self.state, self.now_s, self.lease_s)
        if verdict is Verdict.PASS:
            assert before is Phase.CLOSED
            self.calls.append(0)
        elif verdict is Verdict.PROBE:
            assert self.now_s >= self.opened_s + self.breaker.reset_s
            assert all(self.now_s >= begun_s + self.lease_s for begun_s in self.probe_s.values())
            self.probe_s[self.state.probe] = self.now_s
            self.calls.append(self.state.probe)
        else:
            assert before is not Phase.CLOSED

    @rule(data=st.data(), succeeded=st.booleans())
    def a_call_ends(self, data, succeeded):
        if not self.calls:
            return
        probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.state
        self.state = settle(before, self.breaker, succeeded, probe, self.now_s)
        if before.phase is Phase.CLOSED:
            self.streak = 0 if succeeded else self.streak + 1
            assert (self.state.phase is Phase.OPEN) == (self.streak == self.breaker.failures)
        elif not (before.phase is Phase.HALF_OPEN and probe == before.probe):
            assert self.state == before
        else:
            assert self.state.phase is (Phase.CLOSED if succeeded else Phase.OPEN)
        if before.phase is not self.state.phase:
            self.streak, self.probe_s = 0, {}
            self.opened_s = self.now_s if self.state.phase is Phase.OPEN else None

    @rule(data=st.data())
    def a_call_vanishes(self, data):
        if self.calls:
            self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))

    @invariant()
    def it_never_refuses_for_longer_than_the_reset_or_the_lease(self):
        later_s = self.now_s + max(self.breaker.reset_s, self.lease_s)
        assert admit(self.state, later_s, self.lease_s)[1] is not Verdict.REFUSE


TestBreaker = BreakerMachine.TestCase


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
