"""Whether branches pay: pure, from what agents take and what they need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.strategy import BRANCH_S, choose_strategy
from quark_bench.plan import Strategy
from quark_bench.schedule import longest_path

PARALLEL, SEQUENTIAL = Strategy.PARALLEL, Strategy.SEQUENTIAL
CHAIN = [(), (0,), (1,)]
FORK = [(), (), (0, 1)]


@st.composite
def graphs(draw, seconds):
    durations_s = draw(st.lists(seconds, min_size=1, max_size=8))
    needs = [tuple(sorted(draw(st.sets(st.integers(0, n - 1))))) if n else () for n in range(len(durations_s))]
    return durations_s, needs


SECONDS = st.floats(0, 10)


@given(st.lists(st.none() | SECONDS, min_size=3, max_size=3))
def test_a_chain_is_run_in_turn_whatever_its_agents_take(durations_s):
    choice = choose_strategy(durations_s, CHAIN)
    assert choice.strategy is SEQUENTIAL
    assert choice.reason.startswith("each agent needs the one before it")


def test_one_agent_alone_is_run_in_turn():
    assert choose_strategy([None], [()]).strategy is SEQUENTIAL


@pytest.mark.parametrize("durations_s", [[None, None, None], [0.0, None, 1.0]])
def test_branches_are_run_side_by_side_until_all_agents_are_measured(durations_s):
    choice = choose_strategy(durations_s, FORK)
    assert choice.strategy is PARALLEL
    assert "not measured yet" in choice.reason


def test_branches_that_wait_are_run_side_by_side_and_the_reason_says_what_that_saves():
    choice = choose_strategy([0.8, 0.3, 0.1], FORK)
    assert choice == (PARALLEL, "agents take 1.20 s in turn, 900 ms side by side")


def test_branches_that_take_microseconds_are_run_in_turn():
    choice = choose_strategy([20e-6, 15e-6, 10e-6], FORK)
    assert choice.strategy is SEQUENTIAL
    assert choice.reason.endswith("no more than starting 2 tasks may cost")


@given(graphs(SECONDS))
def test_side_by_side_is_chosen_exactly_where_it_saves_more_than_its_tasks_can_cost(graph):
    durations_s, needs = graph
    saved_s = sum(durations_s) - longest_path(durations_s, needs)
    has_branches = longest_path([1.0] * len(needs), needs) < len(needs)
    pays = has_branches and saved_s > (len(needs) - 1) * BRANCH_S
    assert choose_strategy(durations_s, needs).strategy is (PARALLEL if pays else SEQUENTIAL)


@given(graphs(st.floats(1e-6, 1)), st.floats(1, 1e6))
def test_slower_agents_never_make_branches_pay_less(graph, times):
    durations_s, needs = graph
    if choose_strategy(durations_s, needs).strategy is PARALLEL:
        assert choose_strategy([duration_s * times for duration_s in durations_s], needs).strategy is PARALLEL
