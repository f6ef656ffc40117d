"""Tests of paired differences, against scipy, statsmodels, exact arithmetic and simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as distributions
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from quark_bench.significance import (
    ALPHA,
    FEWEST,
    LENIENCE,
    POWER,
    components,
    false_discovery,
    mcnemar,
    minimum_ratio,
    paired_test,
    prompts_needed,
    times_as_many,
    upper_bound_of_none,
)
from quark_bench.stats import ALL_EQUAL, minimum_detectable_effect

Levels = Mapping[str, np.ndarray]


def layout(prompts: int, repeats: int = 1, blocks: int = 1) -> dict[str, np.ndarray]:
    """Every prompt in every repeat, each repeat cut into blocks."""
    repeat, prompt = np.indices((repeats, prompts))
    block = prompt * blocks // prompts + repeat * blocks
    return {"prompts": prompt.ravel(), "blocks": block.ravel(), "repeats": repeat.ravel()}


def prompts_alone(count: int) -> dict[str, np.ndarray]:
    return {"prompts": np.arange(count)}


differences = st.lists(st.integers(-1000, 1000).map(lambda n: n / 256), min_size=30, max_size=30).map(np.array)


# One level: the test of the textbooks.


@given(differences)
def test_with_one_level_it_is_students_paired_test(values: np.ndarray) -> None:
    found = paired_test(values, prompts_alone(30))
    if found.note:
        assert np.ptp(values) == 0
        return
    theirs = distributions.ttest_1samp(values, 0, alternative="greater")
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.low == pytest.approx(theirs.confidence_interval(1 - ALPHA).low, abs=1e-9)
    assert (found.n, found.widest) == (30, "prompts")


def test_repeats_of_a_prompt_are_averaged_before_they_are_tested() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, (3, 40))
    levels = {"prompts": layout(40, 3)["prompts"]}
    theirs = distributions.ttest_1samp(values.mean(0), 0, alternative="greater")
    assert paired_test(values.ravel(), levels).p == pytest.approx(theirs.pvalue)


def test_each_prompt_counts_once_however_often_it_was_asked() -> None:
    found = paired_test([1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0], {"prompts": np.array([0, 0, 0, 1, 2, 3, 4])})
    assert (found.mean, found.n) == (3.0, 5)


def test_an_error_that_clusters_share_is_the_one_of_statsmodels() -> None:
    random = np.random.default_rng(2)
    clusters = np.repeat(np.arange(12), [3, 5, 4, 6, 2, 8, 4, 4, 3, 5, 7, 9])
    values = random.normal(0.1, 0.2, 12)[clusters] + random.normal(0, 0.1, 60)
    found = paired_test(values, prompts_alone(60), clusters)
    ols = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    # Without its own correction, C / (C - 1) * (n - 1) / (n - k), which is C / (C - 1) for a mean; ours has that.
    se = float(ols.bse[0]) * math.sqrt(12 / 11)
    corrected = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    assert se == pytest.approx(float(corrected.bse[0]))
    assert found.widest == "clusters"
    assert found.p == pytest.approx(distributions.t.sf(values.mean() / se, 11))
    assert found.low == pytest.approx(values.mean() - distributions.t.ppf(1 - ALPHA, 11) * se)


def test_clusters_of_one_prompt_each_change_nothing() -> None:
    values = np.random.default_rng(3).normal(0, 1, 40)
    alone, clustered = paired_test(values, prompts_alone(40)), paired_test(values, prompts_alone(40), np.arange(40))
    assert clustered.p == pytest.approx(alone.p)
    assert clustered.low == pytest.approx(alone.low)


def test_one_cluster_of_all_prompts_has_no_error_of_its_own() -> None:
    values = np.random.default_rng(4).normal(0, 1, 40)
    assert paired_test(values, prompts_alone(40), np.zeros(40, np.int64)) == paired_test(values, prompts_alone(40))


# Several levels: the widest speaks.


@pytest.mark.parametrize("level", ["prompts", "blocks", "repeats"])
def test_the_level_whose_noise_is_the_largest_is_named(level: str) -> None:
    levels = layout(40, 6, 4)
    random = np.random.default_rng(5)
    shared = random.normal(0, 1, levels[level].max() + 1)[levels[level]]
    assert paired_test(shared + random.normal(0, 0.01, 240), levels).widest == level


@given(st.integers(0, 10**6))
def test_the_p_value_is_the_largest_of_the_levels_own(seed: int) -> None:
    levels = layout(30, 5, 3)
    values = np.random.default_rng(seed).normal(0.1, 1, 150)
    own = []
    for name, codes in levels.items():
        means = np.bincount(codes, values) / np.bincount(codes)
        own.append(distributions.ttest_1samp(means, 0, alternative="greater").pvalue / LENIENCE.get(name, 1))
    assert paired_test(values, levels).p == pytest.approx(max(own), rel=1e-6)


@given(st.integers(0, 10**6), st.floats(-0.5, 0.5))
def test_a_change_is_significant_where_its_bound_excludes_none(seed: int, shift: float) -> None:
    found = paired_test(np.random.default_rng(seed).normal(shift, 0.5, 150), layout(30, 5, 3))
    assert found.p is not None
    assert found.low is not None
    assert (found.p <= ALPHA) == (found.low >= 0)


@given(st.integers(0, 10**6), st.floats(0.001, 3))
def test_p_falls_as_all_differences_grow(seed: int, shift: float) -> None:
    values = np.random.default_rng(seed).normal(0, 1, 100)
    before, after = (paired_test(each, layout(20, 5, 2)) for each in (values, values + shift))
    assert before.p is not None
    assert after.p is not None
    assert after.p < before.p
    assert (after.low, after.high) == (pytest.approx(before.low + shift), pytest.approx(before.high + shift))
    assert after.mde == pytest.approx(before.mde)


@given(st.integers(0, 10**6))
def test_swapping_the_arms_turns_the_interval_over(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.2, 1, 100)
    there, back = (paired_test(each, layout(20, 5, 2)) for each in (values, -values))
    assert (back.mean, back.low, back.high) == (
        pytest.approx(-there.mean),
        pytest.approx(-there.high),
        pytest.approx(-there.low),
    )
    assert (back.mde, back.widest) == (pytest.approx(there.mde), there.widest)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_another_unit_scales_the_interval_and_leaves_p(seed: int, factor: float) -> None:
    values = np.random.default_rng(seed).normal(0.2, 1, 100)
    before, after = (paired_test(each, layout(20, 5, 2)) for each in (values, values * factor))
    assert after.p == pytest.approx(before.p)
    for name in ("mean", "low", "high", "mde"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) * factor)


@given(st.integers(0, 10**6))
def test_one_more_level_never_narrows_the_interval(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.2, 1, 150)
    every = layout(30, 5, 3)
    reached = [paired_test(values, dict(list(every.items())[:count])) for count in (1, 2, 3)]
    lows = [found.low for found in reached]
    ps = [found.p for found in reached]
    assert lows == sorted(lows, reverse=True)
    assert ps == sorted(ps)


# Degenerate input: no interval, and a reason.


def test_no_pairs_are_no_change_that_can_be_tested() -> None:
    found = paired_test([], {"prompts": np.array([], np.int64)})
    assert (found.mean, found.n, found.p, found.low, found.mde, found.note) == (None, 0, None, None, None, "no pairs")


@pytest.mark.parametrize("count", range(1, FEWEST))
def test_fewer_prompts_than_five_have_a_mean_and_a_reason(count: int) -> None:
    found = paired_test(np.arange(count) + 1.0, prompts_alone(count))
    assert found.mean == (count + 1) / 2
    assert (found.p, found.low, found.high, found.mde) == (None, None, None, None)
    assert found.note == f"n too small: 5 prompts needed, {count} there"


def test_fewer_blocks_than_five_have_a_reason_and_few_repeats_have_none() -> None:
    values = np.random.default_rng(6).normal(0, 1, 40)
    assert paired_test(values, layout(20, 2, 2)).note == "n too small: 5 blocks needed, 4 there"
    assert paired_test(values, layout(20, 2, 3)).note == ""
    assert paired_test(values, layout(40, 1, 5)).note == ""


def test_equal_arms_have_no_interval_and_are_equal() -> None:
    found = paired_test(np.zeros(10), prompts_alone(10))
    assert (found.mean, found.p, found.low, found.mde, found.note) == (0.0, 1.0, None, None, ALL_EQUAL)
    assert found.all_equal


@pytest.mark.parametrize("difference", [0.1, -0.1, 1e9])
def test_one_and_the_same_difference_is_judged_by_its_sign(difference: float) -> None:
    found = paired_test(np.full(10, difference), prompts_alone(10))
    theirs = distributions.binomtest(10 if difference > 0 else 0, 10, alternative="greater").pvalue
    assert found.p == pytest.approx(theirs)
    assert (found.low, found.mde, found.note) == (None, None, ALL_EQUAL)
    assert not found.all_equal


def test_five_equal_differences_are_too_few_for_an_alarm() -> None:
    # 1 / 32 is above ALPHA: five prompts that all got worse by the same are no proof yet, seven are.
    assert paired_test(np.ones(5), prompts_alone(5)).p == pytest.approx(1 / 32)
    assert paired_test(np.ones(7), prompts_alone(7)).p == pytest.approx(1 / 128)


def test_a_level_without_error_leaves_the_others_to_speak() -> None:
    # Prompts differ, each alike in every repeat: the repeats' means are equal.
    values = np.tile(np.random.default_rng(7).normal(0.5, 1, 20), 3)
    found = paired_test(values, {name: codes for name, codes in layout(20, 3).items() if name != "blocks"})
    theirs = distributions.ttest_1samp(values[:20], 0, alternative="greater")
    assert found.widest == "prompts"
    assert found.p == pytest.approx(theirs.pvalue)


@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.integers(1, 5))
def test_no_differences_raise_warn_or_give_nan(values: list[float], repeats: int) -> None:
    count = len(values)
    levels = {"prompts": np.arange(count) // repeats, "repeats": np.arange(count) % repeats}
    with np.errstate(all="raise", under="ignore"):
        found = paired_test(values, levels)
    assert (found.p is None) <= bool(found.note)
    numbers = [found.mean, found.low, found.high, found.p, found.mde]
    assert all(math.isfinite(each) for each in numbers if each is not None)
    assert found.p is None or 0 <= found.p <= 1
    assert found.low is not None or found.note


# Simulated: as many alarms as it says, and as many finds.


def shares_of_alarms(mean: float, gates: int, levels: Levels, seed: int) -> float:
    random = np.random.default_rng(seed)
    count = len(levels["prompts"])
    found = (paired_test(random.normal(mean, 1, count), levels).p for _ in range(gates))
    return sum(p is not None and p <= ALPHA for p in found) / gates


def test_identical_arms_alarm_in_one_of_a_hundred() -> None:
    assert 0.004 <= shares_of_alarms(0, 2_000, prompts_alone(30), 8) <= 0.017


def test_with_more_levels_identical_arms_alarm_less_often() -> None:
    assert shares_of_alarms(0, 1_000, layout(30, 5, 3), 9) <= ALPHA


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    # The error is 1 / sqrt(100), the mde that of paired_test on average: reach + 0.84 SE.
    reach = float(distributions.t.ppf(1 - ALPHA, 99)) + float(distributions.norm.ppf(POWER))
    assert shares_of_alarms(reach / 10, 1_000, prompts_alone(100), 10) == pytest.approx(POWER, abs=0.04)


def test_with_many_prompts_the_smallest_detectable_difference_is_the_formulas() -> None:
    values = np.random.default_rng(11).normal(0, 0.3, 2_000)
    found = paired_test(values, prompts_alone(2_000))
    formula = minimum_detectable_effect(values.std(ddof=1) / math.sqrt(2_000))
    assert minimum_ratio(found.mde) == pytest.approx(formula, rel=0.01)
    assert minimum_ratio(None) is None


# Pass rates.


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_mid_p_of_mcnemar_is_exact(worse: int, better: int) -> None:
    pairs = worse + better
    more = sum(math.comb(pairs, k) for k in range(worse + 1, pairs + 1))
    exact = Fraction(2 * more + math.comb(pairs, worse), 2 ** (pairs + 1)) if pairs else 1
    assert mcnemar(worse, better) == pytest.approx(float(exact), rel=1e-9)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_mid_p_lies_below_the_exact_p_by_half_of_one_outcome(worse: int, better: int) -> None:
    pairs = worse + better
    if worse <= better or not pairs:
        return
    # statsmodels' is two-sided: twice the smaller tail.
    exact = their_mcnemar([[0, worse], [better, 0]], exact=True).pvalue / 2
    half = float(distributions.binom.pmf(worse, pairs, 0.5)) / 2
    assert mcnemar(worse, better) == pytest.approx(exact - half, rel=1e-9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_both_directions_of_mcnemar_share_one_probability(worse: int, better: int) -> None:
    if worse + better:
        assert mcnemar(worse, better) + mcnemar(better, worse) == pytest.approx(1)
    else:
        assert mcnemar(worse, better) == 1


def test_the_mid_p_alarms_about_as_often_as_it_says() -> None:
    # Of 100 prompts a tenth turn, either way: notes have 3.8 to 5.1 % two-sided at 5 %.
    random = np.random.default_rng(12)
    turned = random.binomial(100, 0.1, 4_000)
    alarms = sum(
        mcnemar(worse, pairs - worse) <= 0.05 for pairs, worse in zip(turned, random.binomial(turned, 0.5), strict=True)
    )
    assert 0.03 <= alarms / 4_000 <= 0.065


def test_repeated_attempts_are_judged_by_their_prompts() -> None:
    # Three attempts at each of 100 prompts, pass rates of their own: no change alarms in about one of a hundred.
    random = np.random.default_rng(13)
    levels = {"prompts": np.repeat(np.arange(100), 3), "repeats": np.tile(np.arange(3), 100)}
    alarms = 0
    for _ in range(1_000):
        rates = np.repeat(random.beta(1.6, 0.4, 100), 3)
        worse = (random.random(300) < rates) * 1.0 - (random.random(300) < rates)
        p = paired_test(worse, levels).p
        alarms += p is not None and p <= ALPHA
    assert alarms <= 20


# Several at once.


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusted_p_values_are_those_of_statsmodels(p_values: list[float]) -> None:
    adjusted = false_discovery(p_values)
    theirs = multipletests(p_values, method="fdr_bh")[1] if p_values else []
    assert adjusted == pytest.approx(list(theirs))
    assert all(type(p) is float for p in adjusted)


@given(st.floats(0, 1))
def test_a_single_p_value_is_left_as_it_is(p: float) -> None:
    assert false_discovery([p]) == [p]


# How many.


def test_none_in_n_may_still_be_three_in_n() -> None:
    assert upper_bound_of_none(1) == 1.0
    for n in (50, 100, 1_000):
        assert upper_bound_of_none(n) == pytest.approx(1 - 0.05 ** (1 / n), rel=0.05)


@given(st.floats(0.001, 10), st.floats(0.001, 10))
def test_half_of_a_difference_takes_four_times_as_many(mde: float, wanted: float) -> None:
    assert times_as_many(mde, mde / 2) == pytest.approx(4)
    assert times_as_many(mde, mde) == pytest.approx(1)
    assert times_as_many(mde, wanted) * times_as_many(wanted, mde) == pytest.approx(1)


def drawn(random: np.random.Generator, prompts: int, repeats: int, between: float, within: float) -> np.ndarray:
    own = random.normal(0, between, prompts)
    return (own + random.normal(0, within, (repeats, prompts))).ravel()


def test_components_are_those_of_the_analysis_of_variance() -> None:
    values = np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 8.0]])
    # Means 2, 2, 7; mean square between 2 * 16.667 / 2 = 16.667, within (2 + 0 + 2) / 3 = 4 / 3.
    between, within = components(values.ravel(), layout(3, 2)["prompts"])
    assert within == pytest.approx(math.sqrt(4 / 3))
    assert between == pytest.approx(math.sqrt((50 / 3 - 4 / 3) / 2))


def test_components_of_unequal_repeats_are_right_on_average() -> None:
    random = np.random.default_rng(14)
    prompts = np.repeat(np.arange(60), np.tile([1, 2, 3, 6], 15))
    found = []
    for _ in range(300):
        values = random.normal(0, 0.3, 60)[prompts] + random.normal(0, 0.2, len(prompts))
        found.append(np.square(components(values, prompts)))
    assert np.mean(found, axis=0) == pytest.approx([0.09, 0.04], rel=0.05)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_components_scale_with_the_unit_and_ignore_the_mean(seed: int, factor: float) -> None:
    values = drawn(np.random.default_rng(seed), 20, 3, 1, 1)
    prompts = layout(20, 3)["prompts"]
    before, after = (components(each, prompts) for each in (values, values * factor + 3))
    assert after == pytest.approx([factor * each for each in before], abs=1e-6 * factor)


@pytest.mark.parametrize("prompts", [[], [0], [0, 1, 2], [0, 0, 0]])
def test_without_repeats_or_with_one_prompt_there_are_no_components(prompts: list[int]) -> None:
    assert components(np.arange(len(prompts)), np.array(prompts, np.int64)) is None


def test_prompts_that_differ_by_less_than_their_calls_vary_by_nothing_of_their_own() -> None:
    between, within = components(np.array([1.0, -1.0, -1.0, 1.0]), np.array([0, 1, 0, 1]))
    assert (between, within) == (0.0, pytest.approx(math.sqrt(2)))


def test_as_many_prompts_as_needed_find_the_change_four_times_in_five() -> None:
    random = np.random.default_rng(15)
    between, within, repeats, effect = 0.10, 0.25, 5, 0.05
    prompts = prompts_needed(effect, between, within, repeats)
    levels = {"prompts": layout(prompts, repeats)["prompts"]}
    alarms = 0
    for _ in range(1_000):
        values = math.log1p(effect) + drawn(random, prompts, repeats, between, within)
        alarms += paired_test(values, levels).p <= ALPHA
    assert alarms / 1_000 == pytest.approx(POWER, abs=0.04)


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 20))
def test_more_repeats_or_larger_changes_never_need_more_prompts(
    effect: float, between: float, within: float, repeats: int
) -> None:
    needed = prompts_needed(effect, between, within, repeats)
    assert needed >= FEWEST
    assert prompts_needed(effect, between, within, repeats + 1) <= needed
    assert prompts_needed(2 * effect, between, within, repeats) <= needed
