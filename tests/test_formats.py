"""Formats: what is written in any of them reads back as the same prompts, and what is wrong is told with its row."""

import csv
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench import sources
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.sources import read_bounded, read_dataset

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
METADATA = st.fixed_dictionaries({"source": TEXT, "level": TEXT})
PROMPTS = st.lists(
    st.builds(Prompt, TEXT, TEXT, TEXT, TEXTS, TEXTS, METADATA),
    min_size=1,
    max_size=4,
    unique_by=lambda prompt: prompt.id,
)


def row(prompt):
    told = {"id": prompt.id, "text": prompt.text, "category": prompt.category}
    return told | {"reference": list(prompt.reference), "contexts": list(prompt.contexts), **prompt.metadata}


def inspect_row(prompt):
    about = {"category": prompt.category, "contexts": list(prompt.contexts), **prompt.metadata}
    return {"id": prompt.id, "input": prompt.text, "target": list(prompt.reference), "metadata": about}


def evals_row(prompt):
    rest = {name: value for name, value in row(prompt).items() if name not in ("text", "reference")}
    return {"input": [{"role": "user", "content": prompt.text}], "ideal": list(prompt.reference), **rest}


def promptfoo_test(prompt):
    told = {"vars": {"question": prompt.text}, "metadata": {"id": prompt.id, **inspect_row(prompt)["metadata"]}}
    if not prompt.reference:
        return told
    # One text of several, as an answer holds it.
    return told | {"assert": [{"type": "contains-any", "value": list(prompt.reference)}, {"type": "latency"}]}


def lines(rows):
    return "".join(json.dumps(each) + "\n" for each in rows).encode()


def dumped(rows):
    return yaml.safe_dump(rows, sort_keys=False).encode()


def parquet(rows):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


WRITTEN = {
    "p.jsonl": lambda prompts: lines(map(row, prompts)),
    "p.jsonl.gz": lambda prompts: gzip.compress(lines(map(row, prompts))),
    "p.json": lambda prompts: json.dumps([*map(row, prompts)]).encode(),
    "p.yaml": lambda prompts: dumped([*map(row, prompts)]),
    "p.parquet": lambda prompts: parquet([*map(row, prompts)]),
    "inspect.jsonl": lambda prompts: lines(map(inspect_row, prompts)),
    "evals.jsonl": lambda prompts: lines(map(evals_row, prompts)),
    "promptfoo.yml": lambda prompts: dumped({"tests": [*map(promptfoo_test, prompts)]}),
    "promptfoo.json": lambda prompts: json.dumps({"tests": [*map(promptfoo_test, prompts)]}).encode(),
}


@settings(max_examples=25)
@given(PROMPTS)
def test_prompts_written_in_any_format_read_back_as_they_were(prompts):
    with tempfile.TemporaryDirectory() as folder:
        for name, written in WRITTEN.items():
            path = Path(folder, name)
            path.write_bytes(written(prompts))
            assert list(read_dataset(path)) == prompts, name
    assert list(Dataset.from_pandas(pd.DataFrame(map(row, prompts)))) == prompts


@settings(max_examples=25)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=4, unique_by=lambda told: told[0]))
def test_prompts_of_single_texts_read_back_from_csv_and_tsv(rows):
    prompts = [Prompt(identity, text, reference=(answer,)) for identity, text, answer in rows]
    with tempfile.TemporaryDirectory() as folder:
        for name, separator in (("p.csv", ","), ("p.tsv", "\t")):
            path = Path(folder, name)
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL)
                writer.writerows([("id", "text", "reference"), *rows])
            assert list(read_dataset(path)) == prompts


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def refused(path, *told, fields=None):
    with pytest.raises(DataError) as caught:
        read_dataset(path, fields=fields)
    for each in told:
        assert each in str(caught.value)


# -- turns

TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Bye?"},
]


@pytest.mark.parametrize("column", ["text", "input"])
def test_of_several_messages_the_last_is_the_prompt_and_the_others_its_history(write, column):
    prompt = read_dataset(write("a.jsonl", lines([{column: TALK}])))[0]
    assert prompt.text == "Bye?"
    assert [message["content"] for message in prompt.history] == ["Be short.", "Hello.", "Hi."]
    assert prompt.blind().history == prompt.history
    turns = read_dataset(write("a.parquet", parquet([{"id": "a", "text": ["First.", "", "Second."]}])))[0]
    assert turns == Prompt("a", "Second.", metadata={"history": [{"role": "user", "content": "First."}]})


def test_a_prompt_of_one_turn_has_no_history_whatever_a_column_of_that_name_holds(write):
    rows = [{"text": "a"}, {"text": "b", "history": "long"}, {"text": "c", "history": [{"role": "user"}]}]
    assert [prompt.history for prompt in read_dataset(write("a.jsonl", lines(rows)))] == [(), (), ()]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (TALK[:3], "the last message is of role 'assistant'; a prompt ends with what is asked"),
        ([{"role": "user"}], 'message 1 lacks a role or a text as its content; write {"role": "user"'),
        ([{"role": "user", "content": [{"type": "image"}]}], "message 1 lacks a role or a text"),
    ],
)
def test_messages_that_ask_nothing_are_refused(write, messages, message):
    path = write("a.jsonl", lines([{"text": "fine"}, {"text": messages}]))
    refused(path, f"{path}, row 2, field 'text': ", message)


# -- whose rows they are

PROMPTFOO = """
prompts: ["{{ context }} Q: {{question}}"]
providers: [openai:gpt]
defaultTest:
  vars: {context: Kites fly.}
  assert: [{type: latency, threshold: 5}]
tests:
  - description: one
    vars: {question: [Do they?, Why?]}
    assert: [{type: icontains, value: wind}, {type: llm-rubric, value: polite}]
  - vars: {question: How?, context: Kites glide.}
    assert: [{type: contains, value: a}, {type: contains, value: b}]
"""


def test_promptfoo_tests_take_their_prompt_defaults_and_lists_of_values(write):
    found = list(read_dataset(write("promptfooconfig.yaml", PROMPTFOO)))
    texts = ["Kites fly. Q: Do they?", "Kites fly. Q: Why?", "Kites glide. Q: How?"]
    assert [prompt.text for prompt in found] == texts
    assert [prompt.reference for prompt in found] == [("wind",), ("wind",), ()]  # both of two texts: no alternatives
    assert found[0].metadata == {"description": "one", "question": "Do they?", "context": "Kites fly."}
    again = read_dataset(write("b.yaml", PROMPTFOO), fields={"text": "{question} ({context})"})
    assert again[0].text == "Do they? (Kites fly.)"


def test_rows_that_may_be_of_two_kinds_are_refused_with_what_to_write(write):
    refused(write("a.jsonl", lines([{"input": "a", "target": "b", "ideal": "c"}])), "row 1: both", "reference=target")
    refused(write("a.jsonl", lines([{"vars": {"a": "b", "c": "d"}}])), "row 1: vars a, c;", "--field text=NAME")
    refused(write("a.jsonl", lines([{"vars": {"a": ["b", "c"]}}])), "row 1: a list among its `vars`")
    refused(
        write("a.jsonl", lines([{"input": "a"}, {"input": ""}])), "row 2, field 'input': the prompt's text is empty"
    )
    refused(write("a.json", '{"data": []}'), "no list; write a list of prompts, or `tests:`")
    refused(write("a.yaml", PROMPTFOO.replace("{{question}}", "{% if x %}")), "row 8: the file's prompt is more than")
    refused(write("a.yaml", PROMPTFOO.replace("{{question}}", "{{query}}")), "row 8: the prompt asks for 'query'")
    lists = ", ".join(f"v{n}: [a, b, c, d]" for n in range(10))
    refused(write("a.yaml", f"tests: [{{vars: {{{lists}}}}}]"), "row 1: its lists make more than 100,000 tests")


def test_choices_of_inspect_stand_below_the_text_and_the_target_is_the_text_of_its_letter(write):
    row = {"input": "Which flies?", "choices": ["A stone", "A kite"], "target": "B"}
    prompt = read_dataset(write("a.jsonl", lines([row])))[0]
    assert prompt.text == "Which flies?\n\nA) A stone\nB) A kite"
    assert (prompt.reference, prompt.metadata) == (("A kite",), {"choices": {"A": "A stone", "B": "A kite"}})


# -- places of what is wrong


def test_what_is_wrong_in_yaml_and_json_is_told_with_its_place(write):
    refused(
        write("a.yaml", "- text: a\n\n- note: b\n  text: ''\n"), "a.yaml, row 3, field 'text': the prompt's text is"
    )
    refused(write("a.yaml", "- text: a\n- b\n"), "a.yaml, row 2: a str, no object")
    refused(write("a.yaml", "- text: a\n  b: [\n"), "a.yaml, line 3: not YAML")
    refused(write("a.json", '[{"text": "a"}, {"text": " "}]'), "a.json, row 2, field 'text'")
    refused(write("a.json", '{"text": "a"}\n{"text": "b"}'), "a.json, line 2, column 1: not JSON", "call such a file")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{BOMB}tests: [{{text: a, b: *h}}]", "values once its aliases are written out"),
        ("- &a {text: hi, more: *a}", "a value that holds itself"),
        ("[" * 100_000, "values nested more than 200 deep"),
        ("- text: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_a_yaml_file_that_is_a_trap_is_refused(write, content, message):
    refused(write("a.yaml", content), message)


def test_a_packed_file_that_is_damaged_or_huge_is_refused(write):
    whole = gzip.compress(lines([{"text": "a"}] * 100))
    for content in (b"", b"text", whole[:-12], whole[:20] + b"xxxx" + whole[24:]):
        refused(write("a.jsonl.gz", content), "no prompts" if not content else "cannot be unpacked")
    bomb = write("b.jsonl.gz", gzip.compress(b" " * 2_000_000))
    with pytest.raises(DataError, match="no ordinary file of at most 1,000,000 bytes"):
        read_bounded(str(bomb), {}, 1_000_000)
    refused(write("a.parquet.gz", whole), "Parquet is packed inside; unpack the file: gunzip a.parquet.gz")


def test_a_packed_file_larger_than_memory_is_read_back_piece_by_piece(write, monkeypatch):
    path = write("a.jsonl.gz", gzip.compress(lines({"text": f"t {n}"} for n in range(100))))
    held = list(read_dataset(path))
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 100)
    assert not isinstance(read_dataset(path).prompts, tuple)
    assert list(read_dataset(path)) == held


# -- frames


def test_a_frame_gives_plain_values_and_its_missing_cells_none():
    frame = pd.DataFrame(
        {
            "id": pd.array([1, None], dtype="Int64"),
            "text": pd.Categorical(["a", "b"]),
            "contexts": [np.array(["x", "y"], dtype=object), None],
            "seen": pd.to_datetime(["2026-01-02", None]),
            "share": [0.5, float("nan")],
        }
    )
    first, second = Dataset.from_pandas(frame)
    assert first == Prompt("1", "a", contexts=("x", "y"), metadata={"seen": "2026-01-02 00:00:00", "share": 0.5})
    assert (second.contexts, second.metadata) == ((), {"seen": None, "share": None})


def test_a_frame_is_refused_with_its_row_and_where_texts_are_meant():
    with pytest.raises(DataError, match=r"^set, row 2, field 'text'"):
        Dataset.from_pandas(pd.DataFrame({"text": ["a", ""]}), "set")
    with pytest.raises(UsageError, match=r"Dataset\.from_pandas\(frame\)"):
        Dataset.of(pd.DataFrame({"text": ["a"]}))
