"""Scorers against the reference implementations of the field, on generated texts."""

import re
import string
from collections import Counter

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tests.scored import scored

WORDS = st.sampled_from(["the", "Red", "cat", "cats", "sat", "on", "a", "mat,", "mat.", "state-of-the-art", "7", "42"])
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


def squad_normalised(text):
    """`normalize_answer` of SQuAD's evaluate-v1.1.py, word for word."""
    text = "".join(each for each in text.lower() if each not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(answer, reference):
    """`f1_score` of the same."""
    given, wanted = squad_normalised(answer).split(), squad_normalised(reference).split()
    same = sum((Counter(given) & Counter(wanted)).values())
    if same == 0:
        return 0
    precision, recall = same / len(given), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


@given(TEXTS, TEXTS.filter(squad_normalised))
def test_f1_and_exact_are_squads(answer, reference):
    found = scored(["f1", "exact"], answer, reference)
    if squad_normalised(answer):  # ours keeps an answer that is all articles
        assert found["f1"] == pytest.approx(squad_f1(answer, reference))
        assert found["exact"] == (squad_normalised(answer) == squad_normalised(reference))


@settings(max_examples=40)
@given(TEXTS, TEXTS)
def test_rouge_is_rouge_scores(answer, reference):
    kinds = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL"}
    expected = RougeScorer(list(kinds.values())).score(reference, answer)
    found = scored(list(kinds), answer, reference)
    assert found == {ours: pytest.approx(expected[theirs].fmeasure) for ours, theirs in kinds.items()}


@settings(max_examples=40)
@given(TEXTS, TEXTS)
def test_bleu_and_chrf_are_sacrebleus(answer, reference):
    found = scored(["bleu", "chrf"], answer, reference)
    assert found["bleu"] == pytest.approx(sacrebleu.sentence_bleu(answer, [reference]).score / 100)
    assert found["chrf"] == pytest.approx(sacrebleu.sentence_chrf(answer, [reference]).score / 100)


@given(TEXTS)
def test_a_text_is_all_of_itself(text):
    found = scored(["rouge1", "rouge_l", "bleu", "chrf"], text, text)
    assert all(value == pytest.approx(1) for value in found.values())
