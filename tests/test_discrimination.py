"""How well doubts tell wrong answers from right ones."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from quark_bench.discrimination import EXTREME, ONE_KIND, auroc, discriminations
from quark_bench.trials import FrameTrials

DOUBTS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30)


@given(DOUBTS)
def test_the_area_is_what_scikit_learn_finds_and_lies_in_its_interval(pairs):
    doubt, wrong = (np.array(column) for column in zip(*pairs, strict=True))
    assume(len(set(wrong)) == 2)
    found = auroc(doubt, wrong, np.arange(len(doubt)))
    assert found.value == pytest.approx(roc_auc_score(wrong, doubt))
    if found.low is not None:
        assert found.low <= found.value <= found.high


def test_the_error_without_repeats_is_that_of_delong():
    doubt, wrong = np.array([0.9, 0.4, 0.7, 0.2, 0.1, 0.5]), np.array([1, 1, 1, 0, 0, 0], bool)
    above = np.array([np.mean([(d > e) + (d == e) / 2 for e in doubt[~wrong]]) for d in doubt[wrong]])
    below = np.array([np.mean([(d > e) + (d == e) / 2 for d in doubt[wrong]]) for e in doubt[~wrong]])
    error, area = np.sqrt(above.var(ddof=1) / 3 + below.var(ddof=1) / 3), above.mean()
    found = auroc(doubt, wrong, np.arange(6))
    assert found.value == pytest.approx(area)
    half = np.log(found.high / (1 - found.high)) - np.log(area / (1 - area))
    assert half == pytest.approx(1.959964 * error / (area * (1 - area)), rel=1e-5)


def test_repeats_of_the_same_prompts_make_the_interval_no_narrower():
    random = np.random.default_rng(0)
    wrong = random.random(60) < 0.4
    doubt, prompts = np.round(random.random(60) * 0.6 + wrong * 0.2, 2), np.arange(60)
    once = auroc(doubt, wrong, prompts)
    again = auroc(np.tile(doubt, 4), np.tile(wrong, 4), np.tile(prompts, 4))
    assert again.value == pytest.approx(once.value)
    assert (again.low, again.high) == (pytest.approx(once.low, abs=0.01), pytest.approx(once.high, abs=0.01))


def test_where_it_cannot_be_told_it_says_why():
    assert auroc(np.array([0.1, 0.2]), np.array([True, True]), np.arange(2)).note == ONE_KIND
    perfect = auroc(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]), np.arange(4))
    assert (perfect.value, perfect.low, perfect.note) == (1.0, None, EXTREME)


@given(DOUBTS)
def test_doubts_are_read_back_from_the_scores_of_their_calibration(pairs):
    doubt, wrong = (np.array(column, float) for column in zip(*pairs, strict=True))
    scores = {"score_exact": 1 - wrong, "score_critic.calibration": 1 - (doubt - wrong) ** 2}
    records = pd.DataFrame({"arm": "async", "prompt_id": [f"p{n}" for n in range(len(pairs))], **scores})
    trials = FrameTrials(records, pd.DataFrame())
    (found,) = discriminations(trials, ["async"], "exact", [("critic", "critic.calibration")])
    assert found.brier == pytest.approx(np.mean((doubt - wrong) ** 2))
    if len(set(wrong)) == 2:
        assert found.auroc.value == pytest.approx(roc_auc_score(wrong, doubt))
