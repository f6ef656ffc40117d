"""Records of arms side by side: what may be compared, and what shares noise."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.pairing import answered, codes, comparable_times, in_both, levels_of, pair_up, scores_of, shared_blocks

from .paired_records import BASELINE, CANDIDATE, named, of, records

ARMS = (BASELINE, CANDIDATE)


def pairs(table):
    return pair_up(table, ARMS)


def test_every_prompt_and_repeat_is_one_row_with_the_columns_of_both_arms():
    table = records(prompts=6, repeats=2, slower=2.0, noise=0.0)
    found = pairs(table)
    assert len(found) == 12
    assert found["latency_s_1"].to_numpy() == pytest.approx(2 * found["latency_s_0"].to_numpy())
    assert len(in_both(found)) == len(comparable_times(found, 2)) == 12


@given(st.randoms())
def test_the_order_of_the_records_does_not_matter(random):
    table = records(prompts=6, repeats=2)
    rows = list(range(len(table)))
    random.shuffle(rows)
    order = ["prompt_id", "repeat"]
    shuffled = pairs(table.iloc[rows]).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(shuffled, pairs(table).sort_values(order, ignore_index=True), check_like=True)


def test_what_one_arm_lacks_is_a_row_but_no_pair():
    table = records(prompts=6, repeats=2)
    table = table[~of(table, CANDIDATE, prompt_id="p1")]
    assert len(pairs(table)) == 12
    assert set(in_both(pairs(table))["prompt_id"]) == set(named(0, 2, 3, 4, 5))


def test_an_arm_that_is_not_there_leaves_no_pair():
    table = records(prompts=6, repeats=2)
    assert in_both(pairs(table[of(table, BASELINE)])).empty


def test_what_failed_is_a_pair_whose_times_do_not_compare():
    table = records(prompts=6, repeats=2)
    table.loc[of(table, CANDIDATE, prompt_id="p1"), "status"] = "failed"
    table.loc[of(table, BASELINE, prompt_id="p2"), "status"] = "degraded"
    both = in_both(pairs(table))
    assert len(both) == 12
    assert set(comparable_times(both, 2)["prompt_id"]) == set(named(0, 2, 3, 4, 5))
    assert answered(both, 0).all()
    assert answered(both, 1).sum() == 10


def test_times_of_different_sessions_do_not_compare():
    table = records(prompts=6, repeats=2)
    table.loc[of(table, CANDIDATE, repeat=1, prompt_id=named(4, 5)), "session"] = 1
    assert len(comparable_times(in_both(pairs(table)), 2)) == 10
    table.loc[of(table, BASELINE, repeat=1, prompt_id=named(4, 5)), "session"] = 1
    assert len(comparable_times(in_both(pairs(table)), 2)) == 12


def test_a_latency_of_nothing_has_no_logarithm_and_does_not_compare():
    table = records(prompts=6, repeats=1)
    table.loc[of(table, BASELINE, prompt_id="p0"), "latency_s"] = 0.0
    table.loc[of(table, CANDIDATE, prompt_id="p1"), "latency_s"] = np.nan
    assert len(comparable_times(in_both(pairs(table)), 2)) == 4


def test_levels_say_which_rows_share_a_prompt_a_block_a_repeat():
    levels = levels_of(pairs(records(prompts=6, repeats=4, blocks=3)))
    assert {name: len(np.unique(each)) for name, each in levels.items()} == {"prompts": 6, "blocks": 12, "repeats": 4}
    assert list(levels) == ["prompts", "blocks", "repeats"]


def test_equal_values_get_equal_numbers():
    assert codes(pd.Series(["b", "a", "b", "c"])).tolist() == [0, 1, 0, 2]


# Blocks.


def test_blocks_at_one_position_lie_side_by_side():
    table = records(prompts=6, repeats=2, blocks=3, slower=2.0, noise=0.0)
    found = shared_blocks(table, ARMS)
    assert list(found.index) == [(repeat, position) for repeat in range(2) for position in range(3)]
    assert found["makespan_s_1"].to_numpy() == pytest.approx(2 * found["makespan_s_0"].to_numpy())
    assert set(found["size_0"]) == {2}
    by_hand = table[of(table, BASELINE, repeat=0, prompt_id=named(0, 1))]["latency_s"].sum()
    assert found["makespan_s_0"].iloc[0] == pytest.approx(by_hand)


def test_a_block_that_a_resume_cut_is_left_out_and_the_others_keep_their_places():
    table = records(prompts=6, repeats=2, blocks=3)
    table.loc[of(table, CANDIDATE, repeat=0, prompt_id="p2"), "session"] = 1
    found = shared_blocks(table, ARMS)
    assert list(found.index) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_blocks_of_different_sessions_or_sizes_are_no_pair():
    table = records(prompts=6, repeats=2, blocks=3)
    table.loc[of(table, CANDIDATE, repeat=0, prompt_id=named(0, 1)), "session"] = 1
    table = table[~of(table, BASELINE, repeat=1, prompt_id="p5")]
    assert list(shared_blocks(table, ARMS).index) == [(0, 1), (0, 2), (1, 0), (1, 1)]


# Scores.


def test_a_score_of_a_failure_is_nothing_and_one_that_is_missing_is_unknown():
    table = records(prompts=4, repeats=1, blocks=1)
    table.loc[of(table, CANDIDATE, prompt_id="p1"), "status"] = "failed"
    table.loc[of(table, CANDIDATE, prompt_id="p2"), "score_exact"] = np.nan
    table = table[~of(table, CANDIDATE, prompt_id="p3")]
    found = pairs(table).set_index("prompt_id")
    scores = dict(zip(found.index, scores_of(found.reset_index(), "exact", 1), strict=True))
    assert (scores["p0"], scores["p1"]) == (1.0, 0.0)
    assert np.isnan([scores["p2"], scores["p3"]]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("table", [pd.DataFrame(), records(prompts=2, repeats=1)[:0]])
def test_no_records_are_no_pairs_and_no_blocks(table):
    assert comparable_times(in_both(pairs(table)), 2).empty
    assert shared_blocks(table, ARMS).empty
