import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.scoring import BUILT_IN, Loaders, Score, score_records, scorers_named
from quark_bench.scoring.choice import choices_of, letter_of
from quark_bench.scoring.score import Answered
from quark_bench.scoring.similarity import similarity
from quark_bench.scoring.yes_no import verdict_of
from tests.scored import scored

CITIES = {"A": "Lyon", "B": "Paris", "C": "Paris, Texas"}


# --- how scorers are written ------------------------------------------------------------------------------------------


def test_scorers_are_taken_in_the_order_asked_each_once():
    assert [scorer.name for scorer in scorers_named(["f1", "exact", "f1"])] == ["f1", "exact"]
    assert scorers_named([]) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Exakt", r"no such scorer; did you mean 'exact'\? scorers: exact, contains"),
        ("zzz", "no such scorer; scorers: exact"),
        ("latency", "write latency with its limit, as in: --score 'latency<2'"),
        ("cost<2ms", "cost is in dollars"),
        ("exact:strict", "'strict' is no OPTION=VALUE"),
        ("exact:wieght=2", "no option 'wieght'; did you mean 'weight'"),
        ("number:tolerance=high", "tolerance=high is no number from 0 up"),
        ("f1:threshold=2", "threshold=2 is no number from 0 to 1"),
        ("f1:weight=inf", "weight=inf is no number"),
        ("f1:name=my score", "a letter, then letters, digits and _"),
        ("f1:weight=1,weight=2", "weight is given twice"),
        ("f1:name=overall", "there is a score 'overall' already"),
        ("regex:pattern=(", "is no regular expression"),
        ("json:schema=nowhere.json", "nowhere.json cannot be read"),
        ("judge", "name a model that judges"),
        ("judge:model=m,both_ways=maybe", "write yes or no"),
        ("similarity", "name what turns texts into vectors"),
    ],
)
def test_what_is_no_scorer_is_refused_with_what_to_write(text, told):
    with pytest.raises(UsageError, match=told) as error:
        scorers_named([text], Loaders(lambda spec: None))
    assert str(error.value).startswith(f"--score {text.partition(':')[0]}")


def test_two_scores_of_one_name_are_refused():
    with pytest.raises(UsageError, match="give it another name: name="):
        scorers_named(["number", "number:tolerance=0.1"])


def test_a_comma_ends_a_value_only_before_another_option():
    assert scored([r"regex:pattern=^\d{1,3}$,weight=1"], "42") == {"regex": 1, "overall": 1}


def test_a_version_changes_with_the_options_and_only_with_them():
    def version(text):
        return scorers_named([text])[0].version

    plain = ["exact", "number", "number:tolerance=1e-6", "number:name=n", "number:weight=3"]
    assert {version(text) for text in plain} == {"1"}
    changed = ["number:tolerance=0.1", "f1:threshold=0.5", "latency<2", "latency<3", "regex:pattern=a"]
    assert len({version(text) for text in [*changed, "exact"]}) == 6


def test_a_scorer_whose_library_is_missing_says_what_to_install(monkeypatch):
    for library in ("rouge_score.rouge_scorer", "sacrebleu"):
        monkeypatch.setitem(sys.modules, library, None)
    for name in ("rouge_l", "bleu", "chrf"):
        with pytest.raises(UsageError, match=r"pip install 'quark-bench\[scores\]'"):
            scorers_named([name])


# --- number, regex, json ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "expected"), [("98", 1), ("102 %", 1), ("-99", 0), ("97.9", 0)])
def test_a_tolerance_is_a_share_of_the_reference(answer, expected):
    assert scored(["number:tolerance=0.02"], answer, "100") == {"number": expected}


def test_a_regex_is_the_references_or_one_for_all():
    assert scored(["regex"], "room 42", r"\broom \d+$") == {"regex": 1}
    assert scored(["regex:pattern=(?i)ROOM", "regex:pattern=x,name=x"], "room 42", "") == {"regex": 1, "x": 0}


def test_json_is_asked_for_a_schema(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["city"], "additionalProperties": {"type": "string"}}))
    specs = ["json", f"json:schema={schema},name=city"]
    for answer, values in {
        '{"city": "Paris"}': (1, 1),
        '```json\n{"city": "Paris"}\n```': (1, 1),
        '{"city": 7}': (1, 0),
        "[NaN]": (0, 0),
        "Paris": (0, 0),
    }.items():
        assert tuple(scored(specs, answer).values()) == values
    schema.write_text('{"type": "thing"}')
    with pytest.raises(UsageError, match=r"is no JSON Schema: at \$"):
        scorers_named(specs)


# --- choice, yes and no -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", None),
        ("**B**", "B"),
        ("B) Paris", "B"),
        ("Paris", "B"),
        ("paris.", "B"),
        ("It is Lyon.", "A"),
        ("A city of light. The answer is (B).", "B"),
        ("Answer: A? No. Answer: B", "B"),
        (r"The answer is \boxed{C}", "C"),
        ("The answer is Lyon", "A"),
        ("A dog", None),
        ("Paris, Texas", "C"),
        ("Lyon or Paris", None),
        ("D", None),
        ("", None),
    ],
)
def test_a_choice_is_found_by_its_letter_or_its_text(answer, letter):
    assert letter_of(answer, CITIES) == letter


@pytest.mark.parametrize("choices", [CITIES, list(CITIES.values())])
@pytest.mark.parametrize("reference", ["B", "Paris"])
def test_a_choice_is_right_where_it_is_the_references(choices, reference):
    prompt = Prompt("p", "?", reference=(reference,), metadata={"choices": choices})
    found = [scored(["choice"], answer, prompt=prompt)["choice"] for answer in ("B", "Paris", "A", "none")]
    assert found == [1, 1, 0, 0]
    assert scored(["choice"], "B", "C") == {"choice": 0}
    assert scored(["choice"], "B", "a long reference") == {}


@given(st.lists(st.text("abcdefgh", min_size=2, max_size=8), min_size=2, max_size=6, unique=True), st.data())
def test_every_choice_is_found_however_it_is_written(texts, data):
    choices = choices_of(texts)
    letter = data.draw(st.sampled_from(sorted(choices)))
    for answer in (letter, f"({letter})", f"{letter}. {choices[letter]}", f"The answer is {letter}.", choices[letter]):
        assert letter_of(answer, choices) == letter


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes, it does.", "yes"),
        ("no", "no"),
        ("Maybe; the answer is yes", "maybe"),
        ("It depends. The answer is: no.", "no"),
        ("I would say yes", "yes"),
        ("Either yes or no", None),
        ("I know nothing", None),
        ("True", "yes"),
    ],
)
def test_an_answer_says_yes_no_or_maybe(answer, said):
    assert verdict_of(answer) == said


@given(st.lists(st.tuples(*[st.sampled_from(["yes", "no", "maybe"])] * 2), min_size=1, max_size=20))
def test_the_mean_of_yes_and_no_is_the_accuracy_of_scikit_learn(pairs):
    prompts = {str(n): Prompt(str(n), "?", reference=(wanted,)) for n, (wanted, _) in enumerate(pairs)}
    given = [Answered("sync", 0, str(n), f"{said.title()}, because.") for n, (_, said) in enumerate(pairs)]
    values = [row.value for row in score_records(given, prompts, scorers_named(["yes_no"]), float)]
    assert sum(values) / len(values) == pytest.approx(accuracy_score(*zip(*pairs, strict=True)))


# --- functions --------------------------------------------------------------------------------------------------------


def given_by(function, answer="red cat"):
    """The score of a user's function."""
    asked = scorers_named(["checks.py:mine"], Loaders(function=lambda named: (function, "0123456789abcdef")))
    return next(score_records([Answered("sync", 0, "p", answer)], {"p": Prompt("p", "?")}, asked, float))


@pytest.mark.parametrize(("returned", "value"), [(True, 1), (0.25, 0.25), (Score(0.5, "half"), 0.5), (None, None)])
def test_a_function_returns_a_bool_a_number_a_score_or_nothing(returned, value):
    assert given_by(lambda answer, prompt: returned).value == value


@pytest.mark.parametrize("returned", ["right", 2, float("nan"), [], object()])
def test_what_is_no_score_leaves_the_answer_unscored(returned):
    row = given_by(lambda answer, prompt: returned)
    assert row.value is None
    assert row.explanation.startswith("raised ")


def test_what_a_function_raises_is_told_and_ends_nothing():
    row = given_by(lambda answer, prompt: 1 / 0)
    assert (row.scorer, row.value, row.explanation) == ("mine", None, "raised ZeroDivisionError: division by zero")
    assert given_by(lambda answer, prompt: 1 / 0, answer=None).value == 0


def test_what_cannot_be_called_with_answer_and_prompt_is_refused():
    async def waits(answer, prompt):
        return 1

    for function, told in [(lambda answer: 1, "two arguments"), (7, "no function"), (waits, "coroutine")]:
        with pytest.raises(UsageError, match=told):
            given_by(function)


def test_similarity_is_the_cosine_of_what_an_encoder_makes_of_texts():
    def letters(texts):
        return [[text.count(letter) for letter in "abc"] for text in texts]

    def value(answer, encode=letters):
        return (
            similarity(encode, "v").score(Answered("sync", 0, "p", answer), Prompt("p", "?", reference=("ab",))).value
        )

    assert value("ba") == pytest.approx(1)
    assert value("a") == pytest.approx(0.5**0.5)
    assert value("c") == value("z") == 0
    assert value("a", encode=lambda texts: 1 / 0) is None


def test_all_built_in_scorers_can_be_named():
    asked = {"judge": "judge:model=m", "similarity": "similarity:encoder=e.py:f"}
    loaders = Loaders(lambda spec: type("Model", (), {"name": spec}), lambda named: (list, "hash"))
    assert [each.name for each in scorers_named([asked.get(name, name) for name in BUILT_IN], loaders)] == [*BUILT_IN]
