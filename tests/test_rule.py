"""The rule: from changes to verdicts, their reasons and exit codes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.rule import (
    DECISIVE,
    MARGIN,
    Change,
    Conditions,
    Judged,
    Scale,
    Verdict,
    alarms,
    confirm,
    exit_code,
    judge,
    overall,
)
from quark_bench.significance import ALPHA

QUIET = Conditions(noise=1.0)
PASS, REGRESSED, INCONCLUSIVE, NOT_JUDGED = Verdict


def ratio(worse: float | None = 1.0, p: float | None = 0.5, mde: float | None = 0.02, **more: object) -> Change:
    given = {"measure": "latency", "low": None, "high": None, "n": 100, "pairs": 500} | more
    return Change(scale=Scale.RATIO, worse=worse, p=p, mde=mde, **given)  # type: ignore[arg-type]


def difference(worse: float | None = 0.0, p: float | None = 0.5, mde: float | None = 0.02, **more: object) -> Change:
    return replace(ratio(worse, p, mde, **{"measure": "failures", **more}), scale=Scale.DIFFERENCE)


def verdict(change: Change, conditions: Conditions = QUIET) -> tuple[Verdict, str]:
    (judged,) = judge([change], conditions)
    assert judged.change == change
    return judged.verdict, judged.why


# One measure.


def test_a_change_beyond_the_margin_that_is_significant_has_regressed() -> None:
    assert verdict(ratio(1.1, p=0.001)) == (REGRESSED, "beyond the margin, and its bound excludes no change")


def test_a_significant_change_within_the_margin_passes() -> None:
    assert verdict(ratio(1.03, p=1e-9)) == (PASS, "no change beyond the margin")


def test_a_large_change_that_is_not_significant_passes_where_a_true_one_would_have_been_found() -> None:
    assert verdict(ratio(1.06, p=0.02, mde=0.09)) == (PASS, "no change beyond the margin")


def test_a_change_exactly_at_the_margin_passes_and_the_next_number_regresses() -> None:
    border = 1 + MARGIN
    assert verdict(ratio(border, p=0.0))[0] is PASS
    assert verdict(ratio(math.nextafter(border, 2), p=0.0))[0] is REGRESSED


def test_a_p_value_exactly_at_the_level_regresses_and_the_next_number_passes() -> None:
    assert verdict(ratio(1.1, p=ALPHA))[0] is REGRESSED
    assert verdict(ratio(1.1, p=math.nextafter(ALPHA, 1)))[0] is PASS


def test_a_smallest_detectable_change_of_twice_the_margin_passes_and_a_larger_one_is_inconclusive() -> None:
    assert verdict(ratio(mde=2 * MARGIN))[0] is PASS
    assert verdict(ratio(mde=math.nextafter(2 * MARGIN, 1))) == (
        INCONCLUSIVE,
        "a change twice the margin could have been overlooked",
    )


def test_what_has_regressed_needs_no_small_error() -> None:
    assert verdict(ratio(3.0, p=0.001, mde=0.9))[0] is REGRESSED


def test_a_faster_candidate_passes_however_significant() -> None:
    assert verdict(ratio(0.5, p=1.0))[0] is PASS
    assert verdict(difference(-0.5, p=1.0)) == (PASS, "no significant change")


def test_a_candidate_that_is_surely_better_passes_however_uneven_its_gain() -> None:
    # Twice as fast on average, some prompts far more: a large error, and no doubt.
    assert verdict(ratio(0.5, p=1.0, mde=0.3, low=0.4, high=0.65)) == (PASS, "no change beyond the margin")
    assert verdict(ratio(0.9, p=0.9, mde=0.3, low=0.6, high=1.06))[0] is INCONCLUSIVE
    assert verdict(difference(-0.2, p=1.0, mde=0.13, low=-0.3, high=-0.1)) == (PASS, "no significant change")
    assert verdict(difference(-0.05, p=0.9, mde=0.13, low=-0.15, high=0.05))[0] is INCONCLUSIVE


def test_any_significant_loss_of_a_share_has_regressed() -> None:
    assert verdict(difference(0.001, p=0.001))[0] is REGRESSED
    assert verdict(difference(0.0, p=0.001))[0] is PASS


def test_another_margin_moves_the_border() -> None:
    wide = Conditions(noise=None, margin=0.2)
    assert verdict(ratio(1.15, p=0.0), wide)[0] is PASS
    assert verdict(ratio(1.21, p=0.0), wide)[0] is REGRESSED
    assert verdict(ratio(mde=0.4), wide)[0] is PASS


def test_a_measure_that_differed_in_no_pair_passes() -> None:
    equal = difference(0.0, p=1.0, mde=None, equal=True, note="all values equal")
    assert verdict(equal) == (PASS, "equal in every pair")


def test_where_every_trial_failed_on_both_sides_nothing_can_be_said() -> None:
    failed = difference(0.0, p=1.0, mde=None, equal=True, candidate=1.0)
    assert verdict(failed) == (INCONCLUSIVE, "every trial failed on both sides")
    assert verdict(replace(failed, measure="exact"))[0] is PASS
    assert verdict(replace(failed, candidate=0.5))[0] is PASS


@pytest.mark.parametrize("note", ["n too small: 5 prompts needed, 3 there", "no pairs"])
def test_a_measure_without_a_test_is_not_judged_and_says_why(note: str) -> None:
    assert verdict(ratio(2.0, p=None, mde=None, note=note)) == (NOT_JUDGED, note)


def test_a_measure_without_a_value_is_not_judged() -> None:
    assert verdict(ratio(None, p=0.001)) == (NOT_JUDGED, "no valid interval")


def test_equal_differences_that_are_not_zero_are_judged_by_their_sign() -> None:
    assert verdict(ratio(1.1, p=0.5**7, mde=None, note="all values equal"))[0] is REGRESSED
    assert verdict(ratio(1.1, p=0.5**5, mde=None, note="all values equal"))[0] is PASS


# The noise of the machine.


@pytest.mark.parametrize("noise", [1 + MARGIN, 1 / (1 + MARGIN), 1.0, None])
def test_a_baseline_that_changed_by_the_margin_at_most_was_steady(noise: float | None) -> None:
    assert verdict(ratio(), Conditions(noise))[0] is PASS


@pytest.mark.parametrize("noise", [1.051, 0.95, 2.0])
def test_a_baseline_that_changed_by_more_makes_latency_inconclusive_and_nothing_else(noise: float) -> None:
    conditions = Conditions(noise)
    why = "the same code changed by more than the margin meanwhile"
    assert verdict(ratio(), conditions) == (INCONCLUSIVE, why)
    assert verdict(ratio(measure="throughput"), conditions)[0] is PASS
    assert verdict(difference(), conditions)[0] is PASS


def test_a_regression_stays_one_on_an_unsteady_machine() -> None:
    assert verdict(ratio(1.3, p=0.0), Conditions(1.2))[0] is REGRESSED


# Several at once.


def test_one_of_many_measures_needs_a_smaller_p() -> None:
    others = [difference(p=0.9, measure=f"score {n}") for n in range(9)]
    assert judge([ratio(1.1, p=0.005)], QUIET)[0].verdict is REGRESSED
    assert judge([ratio(1.1, p=0.005), *others], QUIET)[0].verdict is PASS
    assert judge([ratio(1.1, p=0.0009), *others], QUIET)[0].verdict is REGRESSED


def test_measures_that_are_equal_or_have_no_test_cost_the_others_nothing() -> None:
    silent = [difference(p=None, note="no pairs"), difference(p=1.0, equal=True)] * 5
    assert judge([ratio(1.1, p=0.009), *silent], QUIET)[0].verdict is REGRESSED


def test_two_equal_changes_are_both_judged() -> None:
    change = ratio(1.1, p=0.001)
    assert [each.verdict for each in judge([change, change], QUIET)] == [REGRESSED, REGRESSED]


def test_nothing_to_judge_is_nothing_judged() -> None:
    assert judge([], QUIET) == []
    assert overall([]) is PASS


# A second measurement.


def judged(kind: Verdict, measure: str = "latency", worse: float = 1.1) -> Judged:
    return Judged(ratio(worse, measure=measure), kind, "for a reason")


def test_what_regressed_twice_has_regressed_and_keeps_both_changes() -> None:
    (found,) = confirm([judged(REGRESSED)], [judged(REGRESSED, worse=1.2)])
    assert (found.verdict, found.why) == (REGRESSED, "regressed in both of two measurements")
    assert found.change.worse == 1.1
    assert found.again is not None
    assert found.again.worse == 1.2


def test_what_did_not_regress_again_passes() -> None:
    (found,) = confirm([judged(REGRESSED)], [judged(PASS)])
    assert (found.verdict, found.why) == (PASS, "a second measurement did not confirm it")


@pytest.mark.parametrize("second", [INCONCLUSIVE, NOT_JUDGED])
def test_an_alarm_that_a_second_measurement_could_not_judge_stays_open(second: Verdict) -> None:
    (found,) = confirm([judged(REGRESSED)], [judged(second)])
    assert (found.verdict, found.why) == (INCONCLUSIVE, "a second measurement could not confirm it")
    assert found.again is not None


@pytest.mark.parametrize("first", [PASS, INCONCLUSIVE, NOT_JUDGED])
def test_an_alarm_of_the_second_measurement_alone_counts_for_nothing(first: Verdict) -> None:
    assert confirm([judged(first)], [judged(REGRESSED)]) == [judged(first)]


def test_a_measure_that_the_second_measurement_lacks_keeps_its_verdict() -> None:
    assert confirm([judged(REGRESSED)], [judged(PASS, "cost")]) == [judged(REGRESSED)]


# The whole gate.


@pytest.mark.parametrize(
    ("verdicts", "whole", "code"),
    [
        ({"latency": PASS, "failures": PASS, "exact": PASS}, PASS, 0),
        ({"latency": PASS, "failures": PASS, "exact": REGRESSED}, REGRESSED, 1),
        ({"latency": INCONCLUSIVE, "cost": REGRESSED}, REGRESSED, 1),
        ({"latency": INCONCLUSIVE, "failures": PASS}, INCONCLUSIVE, 3),
        ({"latency": PASS, "failures": INCONCLUSIVE}, INCONCLUSIVE, 3),
        ({"latency": PASS, "throughput": INCONCLUSIVE, "exact": INCONCLUSIVE, "cost": INCONCLUSIVE}, PASS, 0),
        ({"latency": NOT_JUDGED, "failures": NOT_JUDGED, "exact": NOT_JUDGED}, PASS, 0),
    ],
)
def test_a_gate_is_what_its_measures_are(verdicts: dict[str, Verdict], whole: Verdict, code: int) -> None:
    measures = [judged(kind, measure) for measure, kind in verdicts.items()]
    assert overall(measures) is whole
    assert exit_code(overall(measures)) == code
    assert alarms(measures) == tuple(name for name, kind in verdicts.items() if kind is REGRESSED)


# Laws.

shares = st.floats(0, 1)
changes = st.builds(
    ratio,
    worse=st.none() | st.floats(0.01, 100),
    p=st.none() | shares,
    mde=st.none() | shares,
    measure=st.sampled_from(["latency", "throughput", "cost", "failures"]),
    equal=st.booleans(),
) | st.builds(
    difference,
    worse=st.none() | st.floats(-1, 1),
    p=st.none() | shares,
    mde=st.none() | shares,
    measure=st.sampled_from(["failures", "exact", "f1"]),
    equal=st.booleans(),
)
many = st.lists(changes, max_size=6)
conditions = st.builds(Conditions, st.none() | st.floats(0.5, 2), st.sampled_from([0.01, 0.05, 0.2]))


@given(many, conditions)
def test_every_change_gets_one_verdict_in_its_place_and_a_reason(measured: list[Change], given: Conditions) -> None:
    found = judge(measured, given)
    assert [each.change for each in found] == measured
    assert all(each.why for each in found)


@given(many.filter(bool), conditions, st.floats(1, 3), shares)
def test_a_worse_change_never_turns_a_regression_into_anything_else(
    measured: list[Change], given: Conditions, factor: float, share: float
) -> None:
    first = measured[0]
    before = judge(measured, given)[0].verdict
    if before is not REGRESSED:
        return
    assert first.worse is not None
    assert first.p is not None
    worse = replace(first, worse=first.worse * factor, p=first.p * share)
    assert judge([worse, *measured[1:]], given)[0].verdict is REGRESSED


@given(many, conditions)
def test_judging_more_measures_never_adds_an_alarm_that_none_of_them_raises_alone(
    measured: list[Change], given: Conditions
) -> None:
    together = judge(measured, given)
    alone = [judge([change], given)[0] for change in measured]
    for each, by_itself in zip(together, alone, strict=True):
        assert each.verdict is not REGRESSED or by_itself.verdict is REGRESSED


@given(many, conditions)
def test_not_judged_alone_never_makes_a_gate_inconclusive(measured: list[Change], given: Conditions) -> None:
    found = judge(measured, given)
    code = exit_code(overall(found))
    assert (code == 1) == bool(alarms(found))
    if code == 3:
        assert any(each.verdict is INCONCLUSIVE and each.measure in DECISIVE for each in found)
    unjudged = [replace(each, verdict=NOT_JUDGED) for each in found]
    assert exit_code(overall(unjudged)) == 0


@given(many, many, conditions)
def test_confirming_adds_no_alarm(first: list[Change], second: list[Change], given: Conditions) -> None:
    once = judge(first, given)
    found = confirm(once, judge(second, given))
    assert set(alarms(found)) <= set(alarms(once))
    assert [each.change for each in found] == first
