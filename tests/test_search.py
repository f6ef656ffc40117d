"""Which load is measured next: laws of the search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.search import RESOLUTION, Bracket, Levels, bracket, next_level, parse_levels


@st.composite
def ranges(draw):
    whole = draw(st.booleans())
    low = float(draw(st.integers(1, 50))) if whole else draw(st.floats(0.1, 50))
    return Levels((low, low + draw(st.integers(1, 5_000))), True, whole)


levels = ranges() | st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True).map(
    lambda values: Levels(tuple(map(float, sorted(values))), False, True)
)


def searched(asked, verdict, *, judged=True):
    """The whole search, each level having the verdict that it is given."""
    history = {}
    while (level := next_level(asked, history, judged=judged)) is not None:
        assert level not in history
        assert asked.values[0] <= level <= asked.values[-1]
        history[level] = verdict(level)
        assert len(history) < 100
    return history


@given(levels, st.data())
def test_no_level_is_asked_twice_and_the_search_ends_whatever_comes_of_it(asked, data):
    history = searched(asked, lambda level: data.draw(st.sampled_from([True, False, None])))
    found = bracket(asked, history)
    assert found.met is None or history[found.met] is True
    assert found.above is None or history[found.above] is not True


@given(ranges(), st.floats(0, 6_000))
def test_of_objectives_that_are_met_up_to_a_load_that_load_is_found(asked, most):
    history = searched(asked, lambda level: level <= most)
    low, high = asked.values
    found = bracket(asked, history)
    if most < low:
        assert found == Bracket(None, low)
        assert list(history) == [low]
    elif most >= high:
        assert found == Bracket(high, None)
    else:
        assert found.met <= most < found.above
        gap = found.above - found.met
        assert gap <= 1 or gap <= RESOLUTION * found.met or (not asked.whole and gap <= 0.06 * found.met)


@given(ranges(), st.floats(0, 6_000))
def test_an_undecided_level_counts_as_not_shown_to_meet(asked, most):
    decided = searched(asked, lambda level: level <= most)
    assert searched(asked, lambda level: True if level <= most else None).keys() == decided.keys()


@given(levels)
def test_without_objectives_a_range_is_doubled_to_its_end_and_a_list_measured_whole(asked):
    assert list(searched(asked, lambda level: None, judged=False)) == list(asked.doubled())


def test_of_a_list_all_levels_are_measured_though_one_does_not_meet():
    asked = parse_levels("8,1,4,2", "--in-flight", whole=True)
    history = searched(asked, lambda level: level != 4)
    assert list(history) == [1, 2, 4, 8]
    assert bracket(asked, history) == Bracket(2, 4)


@given(levels)
def test_levels_are_read_back_as_they_are_written(asked):
    again = parse_levels(str(asked), "--in-flight", whole=asked.whole)
    assert again.values == pytest.approx(asked.values)
    assert (again.is_range, again.whole) == (asked.is_range, asked.whole)


@pytest.mark.parametrize("text", ["", "0", "1,x", "8..1", "1..2..3", "..4", "-1,2", "1.5", "nan", "1..1e9", "9999999"])
def test_what_are_no_levels_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="--in-flight"):
        parse_levels(text, "--in-flight", whole=True)
