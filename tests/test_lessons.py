import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.agents.lessons import SIMILAR, factors, lesson_of, similarity, subject
from quark_bench.conversations import MOST_WORDS, Lesson

BACKWARDS = {"id": "k-1", "title": "Hummingbirds", "text": "They fly backwards and hover."}
RIVERS = {"id": "k-2", "title": "Birds", "text": "Birds fly over rivers."}
PARTLY = {"id": "k-3", "title": "Toys", "text": "Kites hover where the wind is steady, and tumble."}


def stems(text):
    return frozenset(text.split())


STEMS = st.frozensets(st.sampled_from("abcdef"), max_size=4)
LESSONS = st.lists(st.builds(Lesson, STEMS, st.frozensets(st.sampled_from("xy")), st.frozensets(st.sampled_from("yz"))))


def test_an_answer_teaches_which_passages_bore_it_out_and_which_held_nothing_of_it():
    told = lesson_of("Which bird flies backwards?", "hummingbirds hover backwards", [BACKWARDS, RIVERS, PARTLY])
    assert told == Lesson(subject("Which bird flies backwards?"), frozenset({"k-1"}), frozenset({"k-2"}))


@pytest.mark.parametrize("answer", ["yes", "", "zorbs glimmer softly while hovering", "I do not know."])
def test_an_answer_that_is_doubtful_or_claims_nothing_teaches_nothing(answer):
    assert lesson_of("Which bird flies backwards?", answer, [BACKWARDS, RIVERS]) is None
    assert lesson_of("Which bird flies backwards?", answer, []) is None


def test_a_subject_is_the_content_stems_and_of_a_very_long_prompt_the_first():
    assert subject("How do planes plan their planning?") == subject("plan plane")
    assert len(subject(" ".join(f"word{n}" for n in range(5_000)))) == MOST_WORDS


def test_one_lesson_of_the_same_prompt_moves_a_score_by_a_sixth():
    asked = stems("bird fly")
    assert factors(asked, [Lesson(asked, stems("k-1"), stems("k-2"))]) == {
        "k-1": pytest.approx(7 / 6),
        "k-2": pytest.approx(5 / 6),
    }


def test_lessons_of_prompts_that_are_not_similar_count_for_nothing():
    lesson = Lesson(stems("bird fly backwards far"), stems("k-1"), frozenset())
    assert factors(stems("bird"), [lesson]) == {}
    assert factors(stems("bird fly"), [lesson]) == {"k-1": pytest.approx(0.5 + 1.5 / 2.5)}


@given(STEMS, LESSONS)
def test_a_factor_stays_between_a_half_and_one_and_a_half(asked, lessons):
    for factor in factors(asked, lessons).values():
        assert 0.5 < factor < 1.5


@given(STEMS, LESSONS)
def test_one_more_lesson_in_favour_never_lowers_a_passage_and_one_against_never_raises_it(asked, lessons):
    before = factors(asked, lessons).get("y", 1.0)
    more = Lesson(asked, stems("y"), frozenset())
    less = Lesson(asked, frozenset(), stems("y"))
    assert factors(asked, [*lessons, more]).get("y", 1.0) >= before
    assert factors(asked, [*lessons, less]).get("y", 1.0) <= before


@given(STEMS, LESSONS)
def test_only_passages_of_similar_prompts_have_a_factor(asked, lessons):
    alike = [lesson for lesson in lessons if similarity(asked, lesson.stems) >= SIMILAR]
    assert set(factors(asked, lessons)) == {passage for each in alike for passage in each.bore | each.idle}
