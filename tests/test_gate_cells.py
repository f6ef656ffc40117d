"""How a gate's changes are written."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from quark_bench.report.gate_cells import bounds, changed, gate_rows, levels, percent, smallest, times
from quark_bench.rule import Scale

from .gate_results import (
    EQUAL,
    LESS_THROUGHPUT,
    LOST_SCORE,
    MORE_FAILURES,
    REGRESSED,
    SLOWER,
    TOO_SMALL,
    changes,
    difference,
    ratio,
)


def test_a_slowdown_is_a_ratio_above_one():
    assert (changed(SLOWER.change), bounds(SLOWER.change)) == ("1.220x", "1.210x to 1.230x")
    assert smallest(SLOWER.change) == "0.80 %"


def test_longer_blocks_are_less_throughput():
    assert changed(LESS_THROUGHPUT.change) == "0.909x"
    assert bounds(LESS_THROUGHPUT.change) == "0.893x to 0.926x"
    assert smallest(LESS_THROUGHPUT.change) == "2.9 %"


def test_a_lost_score_is_below_zero():
    assert levels(LOST_SCORE.change) == "0.880 -> 0.830"
    assert (changed(LOST_SCORE.change), bounds(LOST_SCORE.change)) == ("-0.050", "-0.094 to -0.006")
    assert smallest(LOST_SCORE.change) == "0.020"


def test_more_failures_are_points_above_zero():
    assert changed(MORE_FAILURES.change) == "+3.0 points"
    assert bounds(MORE_FAILURES.change) == "+0.50 to +5.5"
    assert smallest(MORE_FAILURES.change) == "2.0 points"


def test_nothing_has_no_sign():
    assert changed(difference("f1", 0.0)) == "0.000"
    assert changed(difference("f1", -0.0001)) == "0.000"
    assert changed(difference("failures", 0.0)) == "0 points"


def test_what_has_no_value_is_not_available():
    assert changed(TOO_SMALL.change) == "n/a"
    assert bounds(TOO_SMALL.change) == levels(TOO_SMALL.change) == smallest(TOO_SMALL.change) == ""


def test_a_ratio_beyond_all_digits_says_only_so():
    assert times(8e307) == "over 10,000x"
    assert times(1e-9) == "under 0.0001x"
    assert percent(8e307) == "over 1,000 %"


def test_the_table_has_a_row_per_measure_and_calls_equal_what_is():
    rows = gate_rows(replace(REGRESSED, judged=(SLOWER, EQUAL)))
    assert [(row.label, row.change, row.verdict.value) for row in rows] == [
        ("latency", "1.220x", "regressed"),
        ("failures", "equal", "pass"),
    ]
    assert rows[0].baseline == "307 ms"
    assert rows[1].candidate == "0 %"


@given(changes)
def test_any_change_is_written_in_few_characters(change):
    written = (changed(change), bounds(change), smallest(change))
    assert all(len(each) <= 40 for each in written)


def test_what_nobody_measured_is_not_available():
    assert levels(ratio("latency", 1.0, baseline=1e300)) == ""
    assert levels(ratio("throughput", 1.0, baseline=1e-300, candidate=2.0)) == "0 req/s -> 2.00 req/s"


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_bounds_stand_in_order_however_they_are_turned(one, other):
    for measure in ("latency", "throughput"):
        low, high = (
            float(each.removesuffix("x").replace(",", ""))
            for each in bounds(ratio(measure, one, *sorted((one, other)))).split(" to ")
        )
        assert low <= high


@given(st.floats(-1, 1))
def test_a_loss_is_negative_for_scores_and_positive_for_failures(worse):
    score, failures = changed(difference("f1", worse)), changed(difference("failures", worse))
    assert score[0] == "0" or score.startswith("-" if worse > 0 else "+")
    assert failures[0] == "0" or failures.startswith("+" if worse > 0 else "-")
    assert difference("f1", worse).scale is Scale.DIFFERENCE
