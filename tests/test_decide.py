import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quark_bench.execute.decide import (
    AFTER_FAILURE,
    TRANSITIONS,
    BreakerState,
    Event,
    Failure,
    Next,
    Phase,
    Verdict,
    admit,
    after_failure,
    backoff_s,
    settle,
)
from quark_bench.policy import Breaker, Policy

waits = st.floats(0, 1e3)
seeds = st.integers(0, 2**64 - 1)
policies = st.builds(Policy, retries=st.integers(1, 40), backoff_s=waits, backoff_max_s=waits)


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
