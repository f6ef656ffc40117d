from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as distributions
from statsmodels.stats.proportion import proportion_confint

from quark_bench import stats

FLOATS = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_a_quantile_of_too_few_values_has_no_interval(q: float, needed: int) -> None:
    assert stats.fewest_for_quantile(q) == needed
    found = stats.quantile_interval(np.arange(needed - 1), q)
    assert found.value is not None
    assert (found.low, found.high, found.note) == (None, None, f"n too small: {needed} needed")
    assert stats.quantile_interval(np.arange(needed), q).low is not None


def test_the_bounds_of_a_median_are_the_order_statistics_of_the_tables() -> None:
    # Conover's table: n = 10, 95 %: the 2nd and the 9th value.
    found = stats.quantile_interval(range(1, 11), 0.5)
    assert (found.value, found.low, found.high) == (5.5, 2, 9)


@pytest.mark.parametrize("n", [6, 37, 100, 400])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_the_bounds_of_a_quantile_are_those_of_scipy_or_one_value_wider(n: int, q: float) -> None:
    found = stats.quantile_interval(range(n), q)
    theirs = distributions.quantile_test(range(n), q=0.0, p=q).confidence_interval(0.95)
    # Where a bound's own tail is 2.5 % or just less, scipy takes the nearer of two order statistics that qualify.
    if found.low is None or found.high is None:
        assert math.isnan(theirs.low) or math.isnan(theirs.high) or n < stats.fewest_for_quantile(q)
    else:
        assert theirs.low - 1 <= found.low <= theirs.low
        assert theirs.high <= found.high <= theirs.high + 1


@pytest.mark.parametrize(("n", "q"), [(50, 0.5), (100, 0.5), (100, 0.9), (100, 0.95), (400, 0.99)])
def test_the_interval_of_a_quantile_covers_the_truth_as_often_as_it_says(n: int, q: float) -> None:
    # Lognormal latencies, of which 2 % take three times as long.
    random = np.random.default_rng(4)
    slow = np.log(3) * (random.random((1_000, n)) < 0.02)
    latencies = np.exp(random.normal(0, 0.6, (1_000, n)) + slow)
    ordinary, outlier = distributions.norm(0, 0.6), distributions.norm(math.log(3), 0.6)
    grid = np.linspace(-4, 6, 100_001)
    true = math.exp(np.interp(q, 0.98 * ordinary.cdf(grid) + 0.02 * outlier.cdf(grid), grid))
    covered = 0
    for each in latencies:
        found = stats.quantile_interval(each, q)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= true <= found.high
    assert 0.94 <= covered / 1_000 <= 0.99


def test_a_quantile_among_failures_has_no_value_and_says_so() -> None:
    found = stats.quantile_interval([1.0] * 90 + [math.inf] * 10, 0.95)
    assert (found.value, found.low, found.note) == (None, None, stats.BEYOND_FAILURES)


def test_a_bound_among_failures_leaves_the_value_but_no_bounds() -> None:
    found = stats.quantile_interval([*np.linspace(1, 2, 97), *[math.inf] * 3], 0.95)
    assert found.value is not None
    assert found.high is None
    assert "failed" in found.note


def test_repeats_of_a_prompt_do_not_make_up_for_prompts() -> None:
    prompts = np.repeat(np.arange(10), 20)
    found = stats.quantile_interval(np.arange(200.0), 0.95, groups=prompts)
    assert found.n == 10
    assert found.note == "n too small: 72 needed"


def test_repeats_widen_the_interval_to_that_of_their_prompts() -> None:
    values = np.arange(100.0)
    once = stats.quantile_interval(values, 0.5)
    thrice = stats.quantile_interval(np.repeat(values, 3), 0.5, groups=np.repeat(np.arange(100), 3))
    assert (once.low, once.high) == (thrice.low, thrice.high)


@given(st.lists(st.floats(0, 1e3) | st.just(math.inf), max_size=120), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_lies_within_its_bounds(values: list[float], q: float) -> None:
    found = stats.quantile_interval(values, q)
    assert found.value is None or math.isfinite(found.value)
    if found.low is not None and found.high is not None and found.value is not None:
        assert found.low <= found.value <= found.high
    else:
        assert found.note


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.sampled_from([0.1, 0.5, 0.95]))
def test_a_quantile_is_the_one_of_numpy(values: list[float], q: float) -> None:
    assert stats.quantile_interval(values, q).value == pytest.approx(np.quantile(values, q))


def test_the_interval_of_a_mean_is_students() -> None:
    found = stats.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    # t of 4 degrees of freedom 2.776, s / sqrt(n) = 1.5811 / 2.2361
    assert found.value == 3.0
    assert found.high == pytest.approx(3 + 2.776445 * math.sqrt(2.5 / 5))


def test_the_error_of_a_clustered_mean_is_the_one_of_statsmodels() -> None:
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(9), [3, 5, 4, 6, 2, 8, 4, 4, 9])
    values = random.normal(0, 1, 9)[groups] + random.normal(0, 0.5, len(groups))
    found = stats.mean_interval(values, groups=groups)
    # Its correction, C / (C - 1) * (n - 1) / (n - k), is C / (C - 1) where only a mean is fitted.
    theirs = sm.OLS(values, np.ones(len(groups))).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert found.se == pytest.approx(float(theirs.bse[0]))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.conf_int()[0]))


def test_copies_of_every_value_do_not_narrow_a_clustered_mean() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    once = stats.mean_interval(values)
    copied = stats.mean_interval(np.tile(values, 5), groups=np.tile(np.arange(4), 5))
    assert copied.low == pytest.approx(once.low)
    assert copied.n == 4


@pytest.mark.parametrize(
    ("values", "value", "note"),
    [([], None, "no values"), ([2.0], 2.0, "n too small: 2 needed"), ([0.1] * 7, 0.1, "all values equal")],
)
def test_degenerate_values_have_a_mean_but_no_interval(values: list[float], value: float | None, note: str) -> None:
    found = stats.mean_interval(values)
    assert found.value == (None if value is None else pytest.approx(value))
    assert (found.low, found.high, found.note) == (None, None, note)


def _groups(n: int, blocks: int, repeats: int) -> dict[str, np.ndarray]:
    return {
        "prompts": np.tile(np.arange(n), repeats),
        "blocks": np.tile(np.arange(n) * blocks // n, repeats) + np.repeat(np.arange(repeats), n) * blocks,
        "repeats": np.repeat(np.arange(repeats), n),
    }


def test_a_ratio_is_the_geometric_mean_over_prompts() -> None:
    found = stats.paired_log_ratio([2.0, 8.0], [1.0, 1.0], _groups(2, 1, 1))
    assert found.value == pytest.approx(4.0)
    assert found.n == 2


def test_noise_that_blocks_share_widens_a_ratio() -> None:
    random = np.random.default_rng(1)
    shared = np.repeat(random.normal(0, 0.2, 10), 10)
    a = np.exp(random.normal(0, 0.02, 100) + shared)
    groups = _groups(100, 10, 1)
    careless = stats.paired_log_ratio(a, np.ones(100), {"prompts": groups["prompts"]})
    careful = stats.paired_log_ratio(a, np.ones(100), groups)
    assert careful.value == pytest.approx(careless.value)
    assert careful.se is not None
    assert careless.se is not None
    assert careful.se > 2 * careless.se


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        found = stats.paired_log_ratio(
            np.exp(random.normal(math.log(1.5), 0.3, 50)), np.ones(50), {"prompts": np.arange(50)}
        )
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 1.5 < found.high
    assert 0.92 <= covered / 400 <= 0.98


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=2, max_size=30))
def test_turning_a_ratio_over_turns_its_interval_over(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    groups = {"prompts": np.arange(len(pairs))}
    there, back = stats.paired_log_ratio(a, b, groups), stats.paired_log_ratio(b, a, groups)
    assert there.value == pytest.approx(1 / back.value) if back.value else True
    if there.low is not None and 0 < there.low < math.inf and back.high is not None and back.high < math.inf:
        assert there.low == pytest.approx(1 / back.high)


@pytest.mark.parametrize(("a", "b"), [([], []), ([0.0], [1.0]), ([math.nan], [1.0]), ([1.0], [math.inf])])
def test_pairs_without_a_logarithm_are_left_out(a: list[float], b: list[float]) -> None:
    found = stats.paired_log_ratio(a, b, {"prompts": np.arange(len(a))})
    assert (found.value, found.n, found.note) == (None, 0, "no pairs")


def test_equal_ratios_have_no_interval() -> None:
    found = stats.paired_log_ratio([2.0, 4.0], [1.0, 2.0], {"prompts": np.arange(2)})
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.note) == (None, "all values equal")


def test_a_ratio_of_sums_weighs_long_prompts_more() -> None:
    assert stats.ratio_of_sums([10.0, 2.0], [5.0, 1.0]) == 2.0
    assert stats.ratio_of_sums([], []) is None


def test_the_minimum_detectable_effect_grows_with_the_error() -> None:
    assert stats.minimum_detectable_effect(0.01) == pytest.approx(math.expm1(0.0317), rel=1e-3)
    assert stats.minimum_detectable_effect(None) is None


def test_wilson_gives_the_published_bounds() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    found = stats.wilson(81, 263)
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    none = stats.wilson(0, 20)
    assert (none.low, none.high) == (0.0, pytest.approx(0.1611, abs=1e-4))
    assert stats.wilson(0, 0).value is None


@given(st.integers(1, 500), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilsons_bounds_are_those_of_statsmodels(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    found = stats.wilson(k, n, level=level)
    assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, 1 - level, "wilson"), abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_wilsons_interval_covers_the_truth_as_often_as_it_says(share: float) -> None:
    # Exactly: over all counts, weighted by how likely each is.
    covered = 0.0
    for k in range(101):
        found = stats.wilson(k, 100)
        assert found.low is not None
        assert found.high is not None
        covered += float(distributions.binom.pmf(k, 100, share)) * (found.low <= share <= found.high)
    assert 0.93 <= covered <= 0.97


@given(st.integers(1, 500), st.data())
def test_a_share_lies_within_its_bounds(n: int, data: st.DataObject) -> None:
    found = stats.wilson(data.draw(st.integers(0, n)), n)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_throughput_leaves_out_fill_and_drain() -> None:
    # Eight slots that fill at once and then complete a prompt every 0.1 s, with a slow drain at the end.
    steady = 1.0 + np.arange(192) * 0.1
    found = stats.batch_means([np.concatenate([np.full(8, 1.0), steady, [60.0] * 8])], 8)
    assert found.value == pytest.approx(10.0, rel=0.01)


def test_throughput_of_a_queue_has_an_interval_that_holds_the_rate() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        found = stats.batch_means([np.cumsum(random.exponential(0.05, 1_000))], 8)
        assert found.low is not None
        assert found.high is not None
        covered += found.low < 20 < found.high
    assert 0.91 <= covered / 200 <= 0.99


def test_the_interval_of_a_throughput_covers_the_rate_of_eight_in_flight() -> None:
    # Eight slots that each take the next of 400 lognormal prompts: 8 / mean a second, fill and drain aside.
    random = np.random.default_rng(6)
    true = 8 / math.exp(0.6**2 / 2)
    covered = 0
    for _ in range(200):
        slots_s, ends_s = np.zeros(8), []
        for took_s in np.exp(random.normal(0, 0.6, 400)):
            slot = int(slots_s.argmin())
            slots_s[slot] += took_s
            ends_s.append(slots_s[slot])
        found = stats.batch_means([ends_s], 8)
        assert found.low is not None
        assert found.high is not None
        covered += found.low < true < found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_windows_never_span_blocks() -> None:
    # Each block counts from its own start: what passed between them does not count.
    block = np.arange(1, 101) * 0.1
    assert stats.batch_means([block] * 5, 4).value == pytest.approx(10.0)


def test_blocks_that_differ_give_the_interval_over_blocks() -> None:
    found = stats.batch_means([np.arange(1, 51) * gap for gap in (0.10, 0.11, 0.12, 0.11, 0.10, 0.12)], 4)
    assert found.n == 6
    assert found.low is not None


def test_short_blocks_fall_back_to_makespans_and_say_so() -> None:
    found = stats.batch_means([np.array([1.0, 2.0, 4.0])], 8)
    assert found.value == pytest.approx(0.75)
    assert found.low is None
    assert found.note == "filling and draining counted: fewer than 4 times as many as in flight; n too small: 5 needed"


def test_a_rate_of_some_completions_is_over_the_time_of_all() -> None:
    # The second half of the ends does not count, nor does a whole block: their time does.
    ends_s = np.arange(1, 201) * 0.1
    blocks = [ends_s, ends_s]
    counted = [np.arange(200) < 100, np.zeros(200)]
    assert stats.batch_means(blocks, 1, counted).value == pytest.approx(2.5, rel=0.03)
    assert stats.batch_means(blocks, 1, [np.ones(200)] * 2) == stats.batch_means(blocks, 1)
    assert stats.batch_means([[1.0, 2.0, 4.0]], 8, [[True, False, True]]).value == 0.5


def test_correlated_windows_are_halved_until_no_interval_is_left() -> None:
    # Completed by t: 100 t - t^2 / 4 in 100 s, so that the rate falls steadily from 100 to 50 a second.
    slowing = 200 - np.sqrt(40_000 - 4 * np.arange(1, 7_500))
    found = stats.batch_means([slowing], 1)
    assert found.value == pytest.approx(75, rel=0.01)
    assert found.n <= 5


@pytest.mark.parametrize("blocks", [[], [[]], [[0.0]], [[1.0] * 40], [[0.0] * 40]])
def test_throughput_of_nothing_or_of_no_time_neither_raises_nor_warns(blocks: list[list[float]]) -> None:
    with np.errstate(all="raise"):
        assert stats.batch_means(blocks, 2).low is None
