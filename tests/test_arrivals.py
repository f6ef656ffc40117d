"""The schedule of an open load: laws of its times, and how it is written."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, expon, kstest

from quark_bench.arrivals import Arrivals, Shape, arrivals_of, parse_arrivals
from quark_bench.errors import UsageError
from quark_bench.plan import Block, arrivals_seed

RATES = st.floats(0.1, 10_000)
SHAPES = st.sampled_from([(Shape.CONSTANT, 1), (Shape.POISSON, 1), (Shape.BURST, 4)])
ARRIVALS = st.builds(lambda rate, shape, end: Arrivals(rate, *shape, end), RATES, SHAPES, st.none() | RATES)


def at_rate_1(arrivals, prompts, seed=0):
    """The offsets, put where a stream of rate 1 has them: by the cumulative rate, written down from its meaning."""
    offsets_s = np.array(arrivals.offsets_s(prompts, seed))
    length_s = prompts / arrivals.mean_rate_per_s
    within_s, beyond_s = np.minimum(offsets_s, length_s), np.maximum(0.0, offsets_s - length_s)
    rise = (arrivals.last_rate_per_s - arrivals.rate_per_s) / length_s
    return arrivals.rate_per_s * within_s + rise * within_s**2 / 2 + arrivals.last_rate_per_s * beyond_s


@given(ARRIVALS, st.integers(1, 300), st.integers())
def test_every_prompt_has_its_time_and_none_comes_before_the_one_ahead_of_it(arrivals, prompts, seed):
    offsets_s = arrivals.offsets_s(prompts, seed)
    assert len(offsets_s) == prompts
    assert min(offsets_s) >= 0
    assert list(offsets_s) == sorted(offsets_s)
    assert offsets_s == arrivals.offsets_s(prompts, seed)


@given(ARRIVALS, st.integers(2, 300), st.integers())
def test_a_ramp_has_the_times_of_a_steady_rate_where_its_cumulative_rate_reaches_them(arrivals, prompts, seed):
    steady = Arrivals(1.0, arrivals.shape, arrivals.at_once)
    assert at_rate_1(arrivals, prompts, seed) == pytest.approx(np.array(steady.offsets_s(prompts, seed)), rel=1e-6)


def test_constant_arrivals_are_equally_far_apart_and_bursts_come_at_once():
    assert list(Arrivals(4.0, Shape.CONSTANT).offsets_s(4, 0)) == [0.0, 0.25, 0.5, 0.75]
    assert list(Arrivals(4.0, Shape.BURST, 2).offsets_s(5, 0)) == [0.0, 0.0, 0.5, 0.5, 1.0]


def test_a_rate_that_rises_from_5_to_15_has_had_a_quarter_and_an_eighth_of_its_prompts_halfway():
    offsets_s = np.array(Arrivals(5.0, Shape.CONSTANT, 1, 15.0).offsets_s(1_000, 0))
    assert offsets_s[-1] == pytest.approx(100, rel=0.01)
    assert (offsets_s < 50).sum() == pytest.approx(375, abs=1)


@pytest.mark.parametrize("seed", range(8))
def test_poisson_gaps_are_exponential_independent_and_never_repeated(seed):
    offsets_s = np.array(Arrivals(50.0).offsets_s(4_000, seed))
    gaps = np.diff(offsets_s, prepend=0.0) * 50
    assert len(set(gaps)) == len(gaps)
    assert kstest(gaps, expon.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 4 / math.sqrt(len(gaps))
    counts = np.histogram(offsets_s, np.arange(0, offsets_s[-1], 0.5))[0]
    low, high = chi2.ppf([1e-4, 1 - 1e-4], len(counts) - 1) / (len(counts) - 1)
    assert low < counts.var(ddof=1) / counts.mean() < high


def test_the_arrivals_of_the_default_seed_are_unremarkable_over_a_thousand_prompts():
    offsets_s = np.array(Arrivals(1.0).offsets_s(1_000, arrivals_seed(0, Block(0, "async", 0, 0, 1_000))))
    for window in (1, 2, 4, 5, 10, 12.5, 25, 50):
        counts = np.histogram(offsets_s, np.arange(0, offsets_s[-1], window))[0]
        assert 0.9 <= counts.var(ddof=1) / counts.mean() <= 1.1


def test_another_seed_draws_other_times():
    one, other = (set(Arrivals(50.0).offsets_s(100, seed)) for seed in (1, 2))
    assert not one & other


@given(ARRIVALS)
def test_arrivals_are_read_as_they_were_written(arrivals):
    assert arrivals_of({"arrivals": arrivals.as_data()}) == arrivals


@pytest.mark.parametrize(
    ("rate", "shape", "made"),
    [
        ("20", "poisson", Arrivals(20.0)),
        (20, "burst", Arrivals(20.0, Shape.BURST, 10)),
        ("20", "burst:3", Arrivals(20.0, Shape.BURST, 3)),
        ("5..50", "constant", Arrivals(5.0, Shape.CONSTANT, 1, 50.0)),
    ],
)
def test_a_rate_and_a_shape_are_read(rate, shape, made):
    assert parse_arrivals(rate, shape) == made


@pytest.mark.parametrize(
    ("rate", "shape", "told"),
    [
        ("fast", "poisson", "--rate fast: give prompts a second"),
        ("5..", "poisson", "as in 20, or 5..50"),
        ("0", "poisson", "give a number above 0"),
        ("5..-1", "poisson", "give a number above 0"),
        ("nan", "poisson", "give a number above 0"),
        ("20", "uniform", "--arrivals uniform: give constant, poisson, burst or burst:N"),
        ("20", "poisson:3", "--arrivals poisson:3"),
        ("20", "burst:1", "at least 2"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_write(rate, shape, told):
    with pytest.raises(UsageError, match=told):
        parse_arrivals(rate, shape)


def test_a_load_is_named_as_it_was_asked_for():
    named = [str(parse_arrivals(*each)) for each in (("20", "poisson"), ("20", "burst:3"), ("5..50", "constant"))]
    assert named == ["poisson, 20/s", "bursts of 3, 20/s", "constant, 5/s to 50/s"]
