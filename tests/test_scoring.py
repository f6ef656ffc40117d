import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.dataset import Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.scoring import Answered, Score, ScoreRow, score_records, scorers_named
from quark_bench.scoring.number import answer_number, reference_number
from quark_bench.scoring.words import words
from tests.scored import asked, scored

TEXT = st.text(max_size=30)
SENTENCE = st.lists(st.sampled_from(["red", "green", "blue", "7", "-3.5", "the", "of"]), min_size=1, max_size=6).map(
    " ".join
)


def score(scorer, answer, *reference):
    return scorers_named([scorer])[0].scorer.score(Answered("sync", 0, "p", answer), asked(*reference))


def value(scorer, answer, *reference):
    found = score(scorer, answer, *reference)
    return None if found is None else found.value


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat,\nsat!", "cat sat"),
        ("“Straße” \N{EN DASH} it\N{RIGHT SINGLE QUOTATION MARK}s", "strasse its"),
        ("an apple a day", "apple day"),
        ("snake_case well-known", "snakecase wellknown"),
        ("$1,000.50 or -3.5", "1000.50 or -3.5"),
        ("16-3 = 13.", "163 13"),
        ("\u22125 and .5", "-5 and .5"),
        ("ends.5", "ends5"),
        ("- a bullet", "bullet"),
        ("A", "a"),
        ("?!", ""),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_words_leave_out_case_punctuation_and_articles_but_keep_numbers(text, expected) -> None:
    assert " ".join(words(text)) == expected


@given(st.text(string.printable, max_size=30))
def test_words_do_not_change_with_case_or_outer_whitespace(text) -> None:
    assert words(f"  {text.upper()}\n") == words(text.lower())


# --- exact ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("The Eiffel Tower.", "eiffel tower", 1),
        ("Eiffel", "eiffel tower", 0),
        ("3.5", "35", 0),
        ("-5", "5", 0),
        ("a", "A", 1),
        ("B", "A", 0),
        ("", "A", 0),
        ("anything", "?!", None),
    ],
)
def test_exact_asks_for_the_same_words(answer, reference, expected) -> None:
    assert value("exact", answer, reference) == expected


# --- contains ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("It is the Eiffel Tower, in Paris.", "Eiffel tower", 1),
        ("I know", "no", 0),
        ("No, it is not.", "no", 1),
        ("tower Eiffel", "Eiffel tower", 0),
        ("It is 142", "42", 0),
        ("", "42", 0),
        ("anything", "?!", None),
    ],
)
def test_contains_looks_for_whole_words(answer, reference, expected) -> None:
    assert value("contains", answer, reference) == expected


# --- number -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("16 - 3 = 13, so she makes $18 a day.", "9 * 2 = <<9*2=18>>18\n#### 18", 1),
        ("#### 18 (of 20)", "#### 18", 1),
        ("18, later 20", "#### 18", 0),
        ("70000 dollars", "#### 70,000", 1),
        ("It is 1,234,567.", "1234567", 1),
        ("0.5", ".5", 1),
        ("1.0000001", "1", 1),
        ("1.0001", "1", 0),
        ("\u22125", "-5", 1),
        ("-$5", "-5", 1),
        ("- 5", "5", 1),
        ("the range 2-5", "5", 1),
        ("50 %", "50", 1),
        ("50%", "0.5", 1),
        ("0.5", "50%", 1),
        ("50%", "0.5%", 0),
        ("3e4", "30000", 1),
        ("0.0", "0", 1),
        ("no idea", "42", 0),
        ("H2O", "2", 0),
        ("", "42", 0),
        ("42", "forty-two", None),
        ("42", "42 apples in 7 baskets", None),
        ("42", "#### unknown", None),
        ("9" * 400, "8" * 400, None),
    ],
)
def test_number_compares_the_result_of_an_answer_with_a_number(answer, reference, expected) -> None:
    assert value("number", answer, reference) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Step 1.2.3", 1.2), ("in 12:30", 30), ("1,2345", 2345), ("-.5", -0.5), ("(7)", 7), ("4th of 5kg", 5)],
)
def test_the_last_number_of_an_answer_is_its_result(text, expected) -> None:
    assert answer_number(text).value == expected


@pytest.mark.parametrize("text", ["$ 12", "12.", " +12 ", "€12.00", "12"])
def test_a_bare_number_may_have_a_currency_a_sign_and_a_full_stop(text) -> None:
    assert reference_number(text).value == 12


@given(st.floats(-1e9, 1e9).map(lambda number: round(number, 3)), SENTENCE)
def test_a_number_is_found_however_it_is_written(number, sentence) -> None:
    for written in (
        f"{number:.3f}",
        f"{number:,.3f}",
        f"{sentence} #### {number:,.3f}",
        f"{sentence} is {number:.3f}.",
    ):
        assert value("number", written, f"{number:.3f}") == 1


# --- f1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("the red cat", "red cat", 1),
        ("red", "red cat", 2 / 3),
        ("red red cat", "red cat", 0.8),
        ("dog", "red cat", 0),
        ("", "red cat", 0),
        ("anything", "?!", None),
    ],
)
def test_f1_counts_shared_words_with_their_repetitions(answer, reference, expected) -> None:
    assert value("f1", answer, reference) == (None if expected is None else pytest.approx(expected))


@given(SENTENCE, SENTENCE)
def test_f1_is_symmetric(one, other) -> None:
    assert value("f1", one, other) == pytest.approx(value("f1", other, one))


# --- all scorers ------------------------------------------------------------------------------------------------------

every_scorer = pytest.mark.parametrize("scorer", ["exact", "contains", "number", "f1", "rouge_l", "bleu", "chrf"])
by_words = pytest.mark.parametrize("scorer", ["exact", "contains", "number", "f1"])


@every_scorer
@given(answer=TEXT, references=st.lists(TEXT, max_size=3))
def test_a_score_is_between_0_and_1_and_says_why(scorer, answer, references) -> None:
    found = score(scorer, answer, *references)
    assert found is None or (0 <= found.value <= 1 and found.explanation)


@every_scorer
def test_a_prompt_without_a_reference_is_not_scored(scorer) -> None:
    assert value(scorer, "42") is None
    assert value(scorer, None) is None


@by_words
def test_a_missing_answer_scores_0_where_a_score_applies(scorer) -> None:
    assert score(scorer, None, "42") == Score(0.0, "no answer")
    assert value(scorer, None, "?!") is None


@by_words
def test_the_best_reference_counts(scorer) -> None:
    assert value(scorer, "It is 42" if scorer in ("contains", "number") else "42", "7", "?!", "42", "8") == 1


@by_words
@given(answer=SENTENCE, references=st.lists(SENTENCE, min_size=1, max_size=3), more=SENTENCE)
def test_a_further_reference_never_lowers_a_score(scorer, answer, references, more) -> None:
    before = value(scorer, answer, *references)
    after = value(scorer, answer, *references, more)
    assert before is None or after >= before


@given(SENTENCE, SENTENCE)
def test_an_exact_answer_holds_the_reference_and_shares_all_its_words(answer, reference) -> None:
    if value("exact", answer, reference) == 1:
        assert value("contains", answer, reference) == value("f1", answer, reference) == 1


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_score_outside_0_to_1_is_refused(wrong) -> None:
    with pytest.raises(UsageError, match="is not between 0 and 1"):
        Score(wrong, "")


# --- the registry and the rows ----------------------------------------------------------------------------------------


def test_every_record_is_scored_by_every_scorer_that_applies_and_timed() -> None:
    prompts = {"a": Prompt("a", "?", reference=("42",)), "b": Prompt("b", "?", reference=("Paris",)), "c": asked()}
    records = [Answered("sync", 0, "a", "42"), Answered("async", 1, "b", None), Answered("async", 1, "c", "x")]
    clock = itertools.count(10.0, 0.25)
    rows = list(score_records(records, prompts, scorers_named(["exact", "number"]), lambda: next(clock)))
    assert rows == [
        ScoreRow("sync", 0, "a", "exact", 1.0, "equals the reference", 0.25, 0.0),
        ScoreRow("sync", 0, "a", "number", 1.0, "42 equals 42", 0.25, 0.0),
        ScoreRow("async", 1, "b", "exact", 0.0, "no answer", 0.25, 0.0),
    ]


def test_a_record_of_another_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="prompt 'x' is not in this data set"):
        list(score_records([Answered("sync", 0, "x", "42")], {}, scorers_named(["exact"]), float))


def test_a_threshold_turns_a_score_into_a_pass_beside_it() -> None:
    assert scored(["f1", "f1:threshold=0.5", "f1:threshold=0.7,name=strict"], "red") == {
        "f1": pytest.approx(2 / 3),
        "f1_pass": 1,
        "strict": 0,
    }


def test_weights_make_an_overall_score_of_what_applies_to_a_prompt() -> None:
    assert scored(["exact", "f1:weight=2"], "red")["overall"] == pytest.approx((0 + 2 * 2 / 3) / 3)
    assert scored(["number:weight=5", "exact:weight=1"])["overall"] == 1  # its reference is no number
    assert "overall" not in scored(["exact", "f1"])
    assert "overall" not in scored(["number:weight=1"])
    assert "overall" not in scored(["exact:weight=0"])


def test_where_a_scorer_cannot_judge_there_is_no_overall_score_either() -> None:
    assert scored(["exact:weight=1", "regex"], "(a", "(a") == {"exact": 1, "regex": None, "overall": None}


def test_latency_and_cost_are_scored_by_their_limits() -> None:
    limits = ["latency<2", "latency<500ms:name=quick", "cost<=0.01"]
    assert scored(limits, latency_s=0.5, cost_usd=0.01) == {"latency": 1, "quick": 0, "cost": 1}
    assert set(scored(limits, None, latency_s=0.1).values()) == {0}
