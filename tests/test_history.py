"""History: the prediction band of a run, and which runs lie outside theirs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from quark_bench.history import FEWEST_EARLIER, MOST_EARLIER, Mark, Observation, prediction_interval, trend
from quark_bench.stats import BEYOND_FAILURES

SIZES = st.floats(1e-3, 1e3)
STEADY = [0.100, 0.102, 0.098, 0.101, 0.099, 0.100]


def seen(values, note=""):
    return [
        Observation(f"run-{n}", f"2026-01-01T00:{n:02d}", "", value, note=note if value is None else "")
        for n, value in enumerate(values)
    ]


def last(values, measure="p50_latency_s", note=""):
    return trend("async", measure, seen(values, note)).points[-1]


def test_the_band_is_the_textbook_prediction_interval():
    found = prediction_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    reach = t.ppf(0.975, 4) * math.sqrt(2.5) * math.sqrt(1.2)
    assert (found.value, found.n) == (3.0, 5)
    assert (found.low, found.high) == pytest.approx((3 - reach, 3 + reach))


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize("k", [5, 15])
def test_the_next_value_lies_within_the_band_in_95_of_100_cases(k, logarithms):
    generator = np.random.default_rng(7)
    draws = generator.normal(3.0, 0.1, (4_000, k + 1))
    draws = np.exp(draws) if logarithms else draws
    bands = [prediction_interval(row[:-1].tolist(), logarithms=logarithms) for row in draws]
    inside = np.mean([band.low <= row[-1] <= band.high for band, row in zip(bands, draws, strict=True)])
    assert inside == pytest.approx(0.95, abs=0.011)  # 3 standard errors


@given(st.lists(SIZES, min_size=1, max_size=40), st.lists(SIZES, max_size=10))
def test_a_runs_band_and_mark_do_not_depend_on_later_runs(values, later):
    before = trend("async", "p50_latency_s", seen(values))
    after = trend("async", "p50_latency_s", seen([*values, *later]))
    assert after.points[: len(values)] == before.points


@given(st.lists(SIZES, min_size=FEWEST_EARLIER, max_size=MOST_EARLIER), st.randoms(), st.booleans())
def test_the_order_of_the_earlier_runs_does_not_move_the_band(values, randomly, logarithms):
    found = prediction_interval(values, logarithms=logarithms)
    randomly.shuffle(values)
    again = prediction_interval(values, logarithms=logarithms)
    assert found.note == again.note
    if found.low is not None:
        assert (again.low, again.high) == pytest.approx((found.low, found.high), rel=1e-6, abs=1e-6)


@given(st.lists(SIZES, min_size=FEWEST_EARLIER, max_size=MOST_EARLIER), SIZES)
def test_on_logarithms_another_unit_gives_the_same_band_in_that_unit(values, factor):
    found = prediction_interval(values, logarithms=True)
    scaled = prediction_interval([value * factor for value in values], logarithms=True)
    if found.low is not None and scaled.low is not None:
        assert scaled.low == pytest.approx(found.low * factor, rel=1e-6)
        assert scaled.high == pytest.approx(found.high * factor, rel=1e-6)


@given(st.lists(st.floats(0, 1e300) | st.just(0.0), max_size=30), st.sampled_from(["p50_latency_s", "failed_share"]))
def test_whatever_was_measured_a_band_has_two_finite_bounds_in_order_or_a_reason(values, measure):
    for point in trend("async", measure, seen(values)).points:
        if point.band.low is None:
            assert point.band.high is None
            assert point.band.note
            assert point.mark is None
        else:
            assert 0 <= point.band.low <= point.band.high < math.inf


def test_a_run_outside_the_band_is_marked_by_the_measures_direction():
    assert last([*STEADY, 0.1]).mark is None
    assert last([*STEADY, 0.2]).mark is Mark.WORSE
    assert last([*STEADY, 0.05]).mark is Mark.BETTER
    assert last([*STEADY, 0.2], "throughput_per_s").mark is Mark.BETTER
    assert last([*STEADY, 0.05], "score_f1").mark is Mark.WORSE
    assert last([*STEADY, 0.2], "speed_up_bound").mark is Mark.HIGHER
    assert last([*STEADY, 0.05], "speed_up_bound").mark is Mark.LOWER


def test_before_five_runs_there_is_no_band_and_the_note_says_how_many_are_needed():
    points = trend("async", "p50_latency_s", seen(STEADY)).points
    assert {point.band.note for point in points[:5]} == {"5 earlier runs are needed"}
    assert points[5].band.low is not None


def test_the_band_comes_from_the_last_fifteen_runs():
    old, recent = [9.0] * 10, [0.1 + 0.001 * (n % 4) for n in range(MOST_EARLIER)]
    assert last([*old, *recent, 0.1]).band == last([*recent, 0.1]).band
    assert last([*recent, 0.1]).band.n == MOST_EARLIER


def test_runs_without_a_value_count_for_no_band():
    assert last([*STEADY[:3], None, *STEADY[3:5], 0.1]).band == last([*STEADY[:5], 0.1]).band
    assert last([*STEADY, None]).mark is None


def test_a_percentile_among_failures_is_worse_than_any_band():
    point = last([*STEADY, None], note=BEYOND_FAILURES)
    assert point.mark is Mark.WORSE


def test_equal_values_give_no_band_and_the_first_that_differs_is_told():
    assert last([0.5] * 7, "score_f1").band.note == "all earlier values are equal"
    broken = last([*[0.5] * 7, 0.4], "score_f1")
    assert broken.band.note == "all earlier values are equal, this one is not"
    assert (broken.band.low, broken.mark) == (None, None)


def test_a_zero_among_durations_gives_no_band_and_a_reason():
    assert "no logarithm" in last([*STEADY, 0.0, 0.1]).band.note


def test_the_band_of_a_share_lies_between_0_and_1():
    band = last([0.0, 0.9, 1.0, 0.1, 1.0, 1.0], "failed_share").band
    assert (band.low, band.high) == (0.0, 1.0)


def test_a_trend_counts_the_runs_that_were_judged_and_those_outside():
    found = trend("async", "p50_latency_s", seen([*STEADY, None, 0.2]))
    assert found.judged == 2
    assert [point.run.run_id for point in found.marked] == ["run-7"]
