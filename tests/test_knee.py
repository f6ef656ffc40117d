"""Where more load begins to cost more latency than it gives throughput."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.knee import Operation, knee
from quark_bench.stats import Interval


def of_slots(slots, level, spread=0.0):
    """A server of so many slots, a second each, under a closed load: beyond the slots, prompts wait."""
    rate, latency_s = float(min(slots, level)), max(1.0, level / slots)
    around = [Interval(value, value * (1 - spread), value * (1 + spread), 9) for value in (rate, latency_s)]
    return Operation(level, *around)


@given(st.integers(2, 40), st.permutations(range(1, 50)))
def test_the_knee_of_a_server_is_the_number_of_its_slots(slots, levels):
    found = knee([of_slots(slots, level) for level in levels])
    assert (found.level, found.at_end) == (slots, False)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_do_not_move_it(times, longer):
    def scaled(each):
        rate, latency_s = each.answered_per_s.value * times, each.latency_s.value * longer
        return Operation(each.level, Interval(rate, None, None, 1), Interval(latency_s, None, None, 1))

    assert knee([scaled(of_slots(4, level)) for level in (1, 2, 4, 8)]).level == 4


def test_levels_whose_power_may_be_as_large_are_told():
    found = knee([of_slots(4, level, spread=0.15) for level in range(1, 9)])
    assert (found.low, found.level, found.high) == (3, 4, 7)


@pytest.mark.parametrize("levels", [(1, 2, 4), (8, 9, 10)])
def test_a_knee_at_the_end_of_what_was_measured_may_lie_beyond(levels):
    assert knee([of_slots(4, level) for level in levels]).at_end


def test_two_loads_have_no_knee_and_one_where_nothing_was_answered_does_not_count():
    nothing = Operation(3, Interval(0.0, None, None, 0), Interval(None, None, None, 0))
    assert knee([of_slots(4, 1), of_slots(4, 2), nothing]) is None
