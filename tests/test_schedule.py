from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.schedule import earliest_ends, longest_chain, longest_path, makespan, most_at_once, time_at_server

DIAMOND = ((), (0,), (0,), (1, 2))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, ...]]]:
    durations_s = draw(st.lists(st.floats(0, 100), min_size=1, max_size=8))
    needs = [tuple(sorted(draw(st.sets(st.integers(0, i - 1))))) if i else () for i in range(len(durations_s))]
    return durations_s, needs


def test_no_steps_take_no_time() -> None:
    assert longest_path([], []) == 0.0
    assert longest_chain([], []) == ()


def test_a_chain_takes_the_sum_of_its_durations() -> None:
    assert longest_path([1.0, 2.0, 3.0], [(), (0,), (1,)]) == 6.0


def test_of_two_branches_the_slower_one_counts() -> None:
    durations_s = [1.0, 5.0, 2.0, 1.0]
    assert longest_path(durations_s, DIAMOND) == 7.0
    assert longest_chain(durations_s, DIAMOND) == (0, 1, 3)


def test_of_equal_branches_the_earlier_step_is_on_the_chain() -> None:
    assert longest_chain([1.0, 2.0, 2.0, 1.0], DIAMOND) == (0, 1, 3)


def test_durations_and_needs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        longest_path([1.0], [(), ()])


@given(graphs())
def test_the_critical_path_lies_between_the_longest_step_and_the_work(
    graph: tuple[list[float], list[tuple[int, ...]]],
) -> None:
    durations_s, needs = graph
    critical_s = longest_path(durations_s, needs)
    assert max(durations_s) <= critical_s <= sum(durations_s) * (1 + 1e-12)
    assert critical_s == max(earliest_ends(durations_s, needs))


@given(graphs())
def test_the_chain_follows_needs_and_lasts_as_long_as_the_critical_path(
    graph: tuple[list[float], list[tuple[int, ...]]],
) -> None:
    durations_s, needs = graph
    chain = longest_chain(durations_s, needs)
    assert needs[chain[0]] == ()
    assert all(before in needs[after] for before, after in pairwise(chain))
    assert sum(durations_s[index] for index in chain) == pytest.approx(longest_path(durations_s, needs))


@given(graphs())
def test_the_most_at_once_are_the_largest_set_of_steps_that_do_without_each_other(
    graph: tuple[list[float], list[tuple[int, ...]]],
) -> None:
    needs = graph[1]
    behind: list[set[int]] = []
    for needed in needs:
        behind.append(set(needed).union(*(behind[need] for need in needed)))
    subsets = (subset for size in range(len(needs) + 1) for subset in combinations(range(len(needs)), size))
    independent = (subset for subset in subsets if not any(behind[step].intersection(subset) for step in subset))
    assert most_at_once(needs) == max(map(len, independent))


def test_steps_at_different_depths_can_be_under_way_at_once() -> None:
    assert most_at_once([(), (), (1,), (1,)]) == 3
    assert most_at_once([]) == 0


@given(graphs(), st.floats(0, 10))
def test_a_slower_first_step_never_shortens_the_critical_path(
    graph: tuple[list[float], list[tuple[int, ...]]], more_s: float
) -> None:
    durations_s, needs = graph
    slower_s = [durations_s[0] + more_s, *durations_s[1:]]
    assert longest_path(slower_s, needs) >= longest_path(durations_s, needs)


JOBS = st.lists(st.floats(0, 100), min_size=1, max_size=40)
SLOTS = st.integers(1, 12)


@given(JOBS, SLOTS)
def test_a_makespan_lies_between_what_must_be_and_grahams_bound(durations_s: list[float], slots: int) -> None:
    found_s, longest_s, share_s = makespan(durations_s, slots), max(durations_s), sum(durations_s) / slots
    assert max(longest_s, share_s) <= found_s * (1 + 1e-9)
    assert found_s <= (share_s + longest_s * (1 - 1 / slots)) * (1 + 1e-9)


@given(JOBS, SLOTS, st.integers(1, 5))
def test_slots_for_all_jobs_take_as_long_as_the_longest_and_one_slot_as_all(
    durations_s: list[float], slots: int, more: int
) -> None:
    assert makespan(durations_s, 1) == pytest.approx(sum(durations_s))
    assert makespan(durations_s, len(durations_s) + more) == max(durations_s)


@given(JOBS, SLOTS, st.floats(0, 100))
def test_a_further_job_or_a_slot_less_never_shortens_a_makespan(
    durations_s: list[float], slots: int, more_s: float
) -> None:
    assert makespan([*durations_s, more_s], slots) >= makespan(durations_s, slots)
    assert makespan(durations_s, slots) >= makespan(durations_s, slots + 1) - 1e-9


def test_equal_jobs_take_as_many_rounds_as_they_need() -> None:
    assert makespan([0.22] * 200, 32) == pytest.approx(7 * 0.22)
    assert makespan([], 4) == 0.0
    with pytest.raises(ValueError, match="0 slots"):
        makespan([1.0], 0)


WAITS = st.floats(1e-3, 100)


@given(WAITS, WAITS, st.integers(1, 200))
def test_a_server_is_never_quicker_than_its_service_or_slower_than_serving_all(
    service_s: float, elsewhere_s: float, customers: int
) -> None:
    spent_s = time_at_server(service_s, elsewhere_s, customers)
    rate = customers / (spent_s + elsewhere_s)
    assert service_s * (1 - 1e-9) <= spent_s <= customers * service_s * (1 + 1e-9)
    assert rate <= 1 / service_s * (1 + 1e-9)


def test_nobody_waits_for_a_server_alone_or_where_nothing_is_served() -> None:
    assert time_at_server(1.0, 5.0, 1) == 1.0
    assert time_at_server(0.0, 5.0, 100) == 0.0
    assert time_at_server(1.0, 0.0, 100) == pytest.approx(100.0)
