from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.schedule import earliest_ends, longest_chain, longest_path

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


@given(graphs(), st.floats(0, 10))
def test_a_slower_first_step_never_shortens_the_critical_path(
    graph: tuple[list[float], list[tuple[int, ...]]], more_s: float
) -> None:
    durations_s, needs = graph
    slower_s = [durations_s[0] + more_s, *durations_s[1:]]
    assert longest_path(slower_s, needs) >= longest_path(durations_s, needs)
