"""Fields: where a prompt's fields are taken from, by options and by a TOML file beside the prompts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.dataset import Dataset
from quark_bench.errors import DataError, UsageError
from quark_bench.sources import read_dataset
from quark_bench.sources.fields import takes_of
from quark_bench.sources.rows import prompts_of
from quark_bench.sources.template import parse_template


def prompts(*rows, **fields):
    return [prompt for prompt, _ in prompts_of("FILE", enumerate(rows, 1), fields)]


NESTED = {
    "text": "a",
    "meta": {"topic": "maths", "gold": {"answer": "4", "by": "x"}},
    "turns": [{"said": "b"}],
    "n.m": "c",
}


def test_a_path_leads_into_objects_and_lists_and_what_it_takes_is_no_metadata() -> None:
    (prompt,) = prompts(NESTED, category="meta.topic", reference="meta.gold.answer", text="turns.0.said", id="n.m")
    assert (prompt.id, prompt.text, prompt.category, prompt.reference) == ("c", "b", "maths", ("4",))
    assert prompt.metadata == {"text": "a", "meta": {"gold": {"by": "x"}}}  # agents see it, and must not see the answer


@pytest.mark.parametrize("path", ["meta.none", "turns.1", "turns.-1", "turns.said", "text.upper", "meta.items"])
def test_a_path_that_leads_nowhere_is_refused_with_the_row(path) -> None:
    with pytest.raises(
        DataError, match=f"^FILE, row 1: no field '{path}' to take the prompt's text from; this row has"
    ):
        prompts(NESTED, text=path)


def test_a_template_makes_the_text_of_several_columns() -> None:
    row = {"question": "Why?", "contexts": ["One.", "Two."], "meta": {"lang": "en"}}
    (prompt,) = prompts(row, text="{contexts}\n\n{{{meta.lang}}} Question: {question}")
    assert prompt.text == "One.\n\nTwo.\n\n{en} Question: Why?"
    assert (prompt.contexts, prompt.metadata) == (("One.", "Two."), {"meta": {}})
    with pytest.raises(DataError, match=r"FILE, row 1, field 'text': the prompt's text is empty"):
        prompts({"question": " "}, text="Question: {question}")


@given(st.text(), st.text())
def test_a_value_stands_in_a_template_as_it_is_and_is_none_itself(before, value) -> None:
    literal = before.replace("{", "{{").replace("}", "}}")
    assert parse_template(literal + "{q}").fill(lambda path: value) == (before + value if value.strip() else "")


ATTACKS = ["{q.__class__}", "{q.__init__.__globals__}", "{q[0]}", "{q[__class__]}", "{q.x.__class__.__mro__}"]


@pytest.mark.parametrize("template", ATTACKS)
def test_a_template_reaches_nothing_but_what_the_row_holds(template) -> None:
    with pytest.raises(DataError, match="FILE, row 1: no field 'q"):
        prompts({"q": {"x": "a"}}, text=template)


@pytest.mark.parametrize("template", ["{", "}", "{}", "{q!r}", "{q:>1000000000}", "{q:{w}}", "{{q}}"])
def test_a_template_that_is_more_than_names_of_columns_is_refused(template) -> None:
    with pytest.raises(UsageError, match=r"^template '.*: .*; write|^template .* (alone stands|no column)"):
        takes_of({"text": {"template": template}})


@given(st.text(alphabet="{}q.!:[]_ a0", max_size=12))
def test_any_text_is_a_template_or_refused(text) -> None:
    try:
        template = parse_template(text)
    except UsageError:
        return
    assert "{" in text
    assert template.fill(lambda path: f"<{path}>").count("<") == len(template.paths)


def test_a_constant_is_the_same_for_every_row_and_values_stand_for_what_was_found() -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c"}]
    found = prompts(*rows, category={"constant": "maths"}, reference={"column": "label", "values": ["no", "yes"]})
    assert [(prompt.category, prompt.reference) for prompt in found] == [
        ("maths", ("yes",)),
        ("maths", ("no",)),
        ("maths", ()),
    ]
    with pytest.raises(DataError, match=r"FILE, row 1, field 'label': '1' is none of its values \(a\); write what"):
        prompts(rows[0], reference={"column": "label", "values": {"a": "b"}})


CHOICES = {"text": "Which?", "options": ["stone", "kite", "2"], "extra": 1}


@pytest.mark.parametrize("answer", ["B", "kite", 1, "1", [1]])
def test_the_right_choice_is_named_by_letter_text_or_place(answer) -> None:
    row = CHOICES | {"answer": answer}
    (prompt,) = prompts(row, choices="options", reference="answer")
    assert (prompt.text, prompt.reference) == ("Which?\n\nA) stone\nB) kite\nC) 2", ("kite",))
    (lettered,) = prompts(row, choices="options", reference={"column": "answer", "as": "letter"})
    assert lettered.reference == ("B",)


def test_choices_may_bring_letters_of_their_own() -> None:
    row = {"text": "Which?", "options": {"x": "stone", "y": "kite"}, "answer": "y"}
    (prompt,) = prompts(row, choices="options", reference="answer")
    assert (prompt.text, prompt.reference) == ("Which?\n\nx) stone\ny) kite", ("kite",))


@pytest.mark.parametrize(("options", "answer", "told"), [("abc", "D", "is none"), ("210", "2", "names more than one")])
def test_a_reference_that_is_no_one_choice_is_refused(options, answer, told) -> None:
    row = {"text": "a", "options": [*options], "answer": answer}
    with pytest.raises(DataError, match=f"FILE, row 1, field 'answer': '{answer}' {told} of the choices \\(A: "):
        prompts(row, choices="options", reference="answer")


# -- the TOML file


@pytest.fixture
def folder(tmp_path):
    row = {"q": "Why?", "a": "so", "other": "text"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row), "utf-8")
    (tmp_path / "p.toml").write_text('text = "q"\nreference = "a"\ncategory = { constant = "x" }\n', "utf-8")
    return tmp_path


def test_the_toml_file_beside_the_prompts_tells_their_fields_and_what_is_given_goes_before(folder) -> None:
    found = read_dataset(folder / "p.jsonl")
    assert (found[0].text, found[0].reference, found[0].category) == ("Why?", ("so",), "x")
    assert found.fields == {"text": "q", "reference": "a", "category": {"constant": "x"}}
    given = Dataset.read(folder / "p.jsonl", fields={"text": "other"})
    assert (given[0].text, given[0].reference) == ("text", ("so",))


def test_a_named_toml_file_stands_in_for_the_one_beside(folder) -> None:
    (folder / "mine.toml").write_text('text = "{q} {other}"\n', "utf-8")
    found = Dataset.read(folder / "p.jsonl", fields_file=folder / "mine.toml")
    assert (found[0].text, found[0].reference, found[0].metadata) == ("Why? text", (), {"a": "so"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text = ", "not TOML"),
        ('question = "text"', "'question' is no field of a prompt .*; write .*: text = \"question\" .*rename it"),
        ("text = 3", "text = 3: name a column, as a text"),
        ("text = { colum = 'q' }", "give one of column, template or constant"),
        ("category = { column = 'a', constant = 'b' }", "give one of column, template or constant"),
        ("category = '{a} {b}'", "only the prompt's text is made by a template"),
        ("text = { column = 'a', as = 'letter' }", "for the reference only"),
        ("reference = { column = 'a', values = 'b' }", "values is a list, or a table"),
        ("text = '{a!r}'", "a column's name alone stands between braces"),
    ],
)
def test_a_wrong_toml_file_is_refused_by_its_name(folder, content, message) -> None:
    (folder / "p.toml").write_text(content, "utf-8")
    with pytest.raises(DataError, match=rf"p\.toml: .*{message}"):
        read_dataset(folder / "p.jsonl")


def test_a_toml_file_that_is_not_there_is_refused_where_it_was_named(folder) -> None:
    with pytest.raises(DataError, match=r"none\.toml: cannot be read: No such file"):
        Dataset.read(folder / "p.jsonl", fields_file=folder / "none.toml")
