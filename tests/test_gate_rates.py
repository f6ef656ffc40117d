"""The gate that ships, simulated: few false alarms, and what it is for is found. `make soak` makes the whole table."""

import numpy as np
import pytest

from quark_bench.gate import FEWEST_BLOCK_PAIRS, REPEATS

from .gate_simulation import IN_FLIGHT, Layout, Rates, makespans, markdown, rates


def test_identical_arms_hardly_ever_alarm_and_never_twice():
    found = rates(100, 0.05, 1.0, 200)
    assert found.once <= 0.03
    assert found.confirmed == 0


def test_a_fifth_slower_is_found_in_both_measurements():
    assert rates(100, 0.05, 1.2, 200).confirmed >= 0.98


def test_a_simulation_repeats_itself():
    assert rates(100, 0.10, 1.05, 50) == rates(100, 0.10, 1.05, 50)
    assert rates(100, 0.10, 1.05, 50, seed=1) != rates(100, 0.10, 1.05, 50)


@pytest.mark.parametrize("prompts", [50, 100, 200])
def test_the_simulated_layout_is_the_one_that_ships(prompts):
    layout = Layout(prompts)
    first = layout.levels(slice(0, layout.repeats))
    assert layout.repeats >= REPEATS
    assert len(np.unique(first["blocks"])) >= FEWEST_BLOCK_PAIRS
    assert layout.calls == 2 * 2 * layout.repeats * prompts
    assert len(np.unique(np.concatenate([each.ravel() for each in layout.moments.values()]))) == layout.calls


def test_a_block_ends_with_its_last_slot():
    layout = Layout(100)
    even = np.ones((1, layout.repeats, 100))
    assert makespans(even, layout).tolist() == [[[np.ceil(size / IN_FLIGHT) for size in (33, 33, 34)]] * layout.repeats]
    one = even.copy()
    one[0, 0, 0] = 50.0
    assert makespans(one, layout)[0, 0, 0] == 50.0


def test_a_share_of_none_is_written_as_what_it_may_be():
    table = markdown({(100, 5, 0.05): [Rates(300, 0.0, 0.5, 0.0)] * 6})
    assert "0 % (< 1.00 %)" in table
    assert "50.0 %" in table
