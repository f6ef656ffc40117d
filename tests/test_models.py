import asyncio
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.language import content_stems, estimated_tokens, sentences, stem, words
from quark_bench.models import make_model
from quark_bench.models.answering import UNKNOWN
from quark_bench.models.offline import OfflineReader

PASSAGES = [
    (
        "The comet Lumo",
        "A comet tail is a stream of gas that light pushes away. Lumo returns every 76 years. "
        "Ines Vale discovered Lumo in 1902 at a small observatory. Lumo is larger than Tarn.",
    ),
    ("Squeaking hinge", "If a hinge squeaks at night, its pin is dry. The remedy is to drip oil onto the pin."),
    ("Folding a kite", "To fold a kite, lay the paper flat and crease both corners. First find a square sheet."),
    ("Bats", "A bat is not a bird; it is a mammal that flies. Bats weigh between 2 and 1,500 grams."),
    ("Planning a picnic", "A good picnic plan is to pack the basket at dawn and to leave before noon."),
]


def asked(question, kind, passages=PASSAGES):
    shown = "\n".join(f"[{n}] {title}\n{text}" for n, (title, text) in enumerate(passages, 1))
    content = f"Passages:\n{shown}\n\nAnswer type: {kind}\nQuestion: {question}"
    return [{"role": "system", "content": "Answer."}, {"role": "user", "content": content}]


def reply(question, kind, passages=PASSAGES):
    return OfflineReader().reply_blocking(asked(question, kind, passages), call=None).text


@pytest.mark.parametrize(
    ("question", "kind", "answer"),
    [
        ("What is a comet tail?", "definition", "a stream of gas that light pushes away"),
        ("Who discovered Lumo?", "fact", "Ines Vale discovered Lumo in 1902 at a small observatory"),
        ("After how many years does Lumo return?", "number", "76"),
        ("How many grams does a bat of more than 2 grams weigh at most?", "number", "1500"),
        ("Is a bat a bird?", "yesno", "no"),
        ("Is a bat a mammal?", "yesno", "yes"),
        ("Is Lumo larger than Tarn?", "yesno", "yes"),
        ("Is Tarn larger than Lumo?", "yesno", "no"),
        ("Why does my hinge squeak?", "troubleshooting", "its pin is dry"),
        ("My hinge squeaks, what can I do?", "troubleshooting", "drip oil onto the pin"),
        ("How do I fold a kite?", "howto", "lay the paper flat and crease both corners"),
        ("Plan a picnic.", "planning", "pack the basket at dawn and to leave before noon"),
    ],
)
def test_the_reader_answers_in_the_form_that_the_kind_asks_for(question, kind, answer):
    assert reply(question, kind) == answer


def test_without_passages_the_reader_does_not_know():
    assert reply("What is a comet?", "definition", []) == UNKNOWN
    assert OfflineReader().reply_blocking([{"role": "user", "content": "What is a comet?"}], None).text == UNKNOWN
    assert OfflineReader().reply_blocking([], None).text == UNKNOWN


def test_passages_that_share_no_word_with_the_question_hold_no_answer():
    assert reply("Zebra quagga okapi?", "fact") == UNKNOWN


def test_a_question_can_be_untyped_and_its_passages_untitled():
    content = "[1] A grebe is a diving bird.\n[2] A linnet is a finch.\n\nQuestion: What is a linnet?"
    assert OfflineReader().reply_blocking([{"role": "user", "content": content}], None).text == "A linnet is a finch"


def test_a_passage_that_begins_like_a_question_is_not_the_question():
    assert reply("What is a linnet?", "definition", [("Odd", "Question: where? A linnet is a finch.")]) == "a finch"


def test_the_two_ways_to_ask_give_the_same_reply():
    messages = asked("Is a bat a bird?", "yesno")
    assert asyncio.run(OfflineReader().reply(messages, None)) == OfflineReader().reply_blocking(messages, None)


def test_tokens_are_estimated_by_words_and_nothing_is_spent():
    answered = OfflineReader().reply_blocking([{"role": "user", "content": "one two three"}], None)
    assert (answered.tokens_in, answered.tokens_out, answered.cost_usd) == (4, estimated_tokens(UNKNOWN), 0.0)


@given(st.text(), st.sampled_from(["number", "yesno", "definition", "howto", "comparison", "preference", "x"]))
def test_any_question_gets_some_text(question, kind):
    assert reply(question, kind)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.text())
def test_any_passages_get_some_text(passages, question):
    for kind in ("number", "yesno", "definition", "planning"):
        assert reply(question, kind, passages)


@given(st.text())
def test_words_hold_nothing_but_letters_digits_and_decimal_points(text):
    assert all(word.replace(".", "").isalnum() for word in words(text))


@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_a_stem_is_never_empty(word):
    assert stem(word)


def test_forms_of_a_word_share_a_stem():
    assert len({stem(word) for word in ("plan", "plans", "planned", "planning")}) == 1
    assert content_stems("The bodies of a body") == [stem("body")] * 2


def test_sentences_end_at_marks_and_lines_but_not_within_decimals():
    assert sentences("It is 2.4 m. Is it?\nYes") == ["It is 2.4 m.", "Is it?", "Yes"]


def test_an_unknown_model_is_refused_by_naming_the_known():
    assert make_model("offline").name == "offline"
    with pytest.raises(UsageError, match=r"'oracle'; there are: offline, openai:NAME"):
        make_model("oracle")


def test_the_reader_pickles():
    assert pickle.loads(pickle.dumps(OfflineReader())).name == "offline"
