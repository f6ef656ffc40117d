import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import UsageError
from quark_bench.score_measures import (
    Repeated,
    about_score,
    clusters_of,
    measure_score,
    numbers_of_trials,
    pass_all,
    pass_at,
    plain_scores,
    score_names,
)
from quark_bench.units import SCORE, SHARE, Direction


def measured(values, how=None, failed=()):
    """The measures of scores, a row of repeats for each prompt; `failed` are places of trials that failed."""
    rows = [
        {"prompt_id": f"p{prompt}", "status": "failed" if (prompt, repeat) in failed else "ok", "score_x": value}
        for prompt, repeats in enumerate(values)
        for repeat, value in enumerate(repeats)
    ]
    found = measure_score(pd.DataFrame(rows), "x", how or Repeated(max(map(len, values))))
    return {name.removeprefix("score_x"): interval for name, interval in found.items()}


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_and_pass_all_k_are_the_means_over_all_ways_to_draw_k_trials(passes, k):
    trials, passed = np.array([len(passes)]), np.array([float(sum(passes))])
    if k > len(passes):
        assert math.isnan(pass_at(trials, passed, k)[0])
        return
    draws = list(itertools.combinations(passes, k))
    assert pass_at(trials, passed, k)[0] == pytest.approx(np.mean([any(draw) for draw in draws]))
    assert pass_all(trials, passed, k)[0] == pytest.approx(np.mean([all(draw) for draw in draws]))


def test_repeats_tell_whether_any_passes_or_all_or_most():
    found = measured([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert found["_pass_at_3"].value == pytest.approx(3 / 4)
    assert found["_pass_all_3"].value == pytest.approx(1 / 4)
    assert found["_pass_at_2"].value == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert found["_majority"].value == pytest.approx(2 / 4)
    assert found["_within_sd"].value == pytest.approx(math.sqrt((0 + 1 / 3 + 1 / 3 + 0) / 4))


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), min_size=2, max_size=8))
def test_all_pass_is_at_most_the_score_and_any_passes_at_least(values):
    found = measured(values)
    assert found["_pass_all_3"].value <= found[""].value + 1e-12
    assert found["_pass_at_3"].value >= found[""].value - 1e-12


def test_a_score_that_is_no_pass_says_so():
    found = measured([[0.5, 1], [0, 1]])
    assert found["_pass_at_2"].value is None
    assert "give it a threshold" in found["_majority"].note
    assert found["_between_sd"].value is not None


def test_failures_count_as_zero_and_the_unscored_not_at_all():
    found = measured([[1], [1], [1], [math.nan]], failed=[(0, 0)])
    assert found[""].value == pytest.approx(2 / 3)
    assert found["_answered"].value == 1
    assert found["_scored"].value == pytest.approx(2 / 3)


def test_a_failure_that_a_scorer_does_not_judge_is_no_zero():
    assert measured([[1], [math.nan]], failed=[(1, 0)])[""].value == 1


def test_prompts_with_too_few_scored_trials_are_left_out_and_counted():
    found = measured([[1, 1], [0, math.nan]])
    assert found["_pass_at_2"].value == 1
    assert "without 1 prompts of fewer than 2 scored trials" in found["_pass_at_2"].note


CLUSTERED = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=8, max_size=30)


@given(CLUSTERED.filter(lambda pairs: len({cluster for cluster, _ in pairs}) > 2))
def test_clustered_intervals_have_the_errors_of_statsmodels(pairs):
    clusters, values = [c for c, _ in pairs], [value for _, value in pairs]
    found = measured([[value] for value in values], Repeated(1, {f"p{n}": str(c) for n, c in enumerate(clusters)}))[""]
    fitted = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    n = len(set(clusters))
    expected = float(fitted.bse[0]) * math.sqrt(n / (n - 1))
    assert found.n == n
    if expected > 1e-9:
        assert found.se == pytest.approx(expected, rel=1e-6)


def test_repeats_of_a_prompt_are_one_observation():
    assert measured([[0, 0, 1], [1, 1, 1], [0, 1, 0]])[""].n == 3


def test_without_the_prompt_file_a_clustered_score_has_no_interval():
    found = measured([[0], [1], [1]], Repeated(1, {}))[""]
    assert (found.value, found.low) == (pytest.approx(2 / 3), None)
    assert "the prompt file is not at hand" in found.note


def test_clusters_are_a_field_of_the_prompts_or_their_category():
    data = Dataset([Prompt("a", "?", "x", metadata={"doc": 1}), Prompt("b", "?", "y")])
    assert clusters_of(data, None) is None
    assert clusters_of(data, "doc") == {"a": "1"}
    assert clusters_of(data, "category") == {"a": "x", "b": "y"}
    with pytest.raises(UsageError, match="--clusters page: no prompt has it"):
        clusters_of(data, "page")


@pytest.mark.parametrize(("repeats", "ks"), [(1, ()), (2, (2,)), (3, (2, 3)), (10, (2, 5, 10)), (12, (2, 5, 10, 12))])
def test_the_measures_of_a_score_are_known_beforehand(repeats, ks):
    assert numbers_of_trials(repeats) == ks
    values = [[n % 2 for n in range(repeats)]] * 3
    assert {f"score_x{ending}" for ending in measured(values)} == set(score_names(["x"], repeats))
    assert plain_scores(["cost_usd", *score_names(["x", "y"], repeats)]) == ["score_x", "score_y"]


def test_measures_of_scores_have_units_and_directions():
    assert about_score("score_x") == about_score("score_x_pass_at_3") == (SCORE, Direction.HIGHER)
    assert about_score("score_x_scored") == (SHARE, Direction.HIGHER)
    assert about_score("score_x_within_sd") == (SCORE, Direction.LOWER)
