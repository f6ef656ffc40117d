import csv
import datetime
import decimal
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.sources import read_dataset
from quark_bench.sources.fields import check_fields
from quark_bench.sources.packed import packed_file
from quark_bench.sources.rows import prompts_of

PUBLIC_FILES = [  # prompts, those with a reference, contexts
    ("gsm8k.jsonl", 200, 200, 0),
    ("mt_bench.jsonl", 80, 32, 0),
    ("pubmedqa.jsonl.gz", 1_000, 1_000, 3_358),
    ("strategyqa.jsonl", 200, 200, 519),
]


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.fixture
def write_rows(write):
    return lambda *rows: write("prompts.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def write_table(tmp_path):
    def written(columns):
        path = tmp_path / "prompts.parquet"
        pq.write_table(pa.table(columns) if isinstance(columns, dict) else columns, path)
        return path

    return written


def refused(path, message, kind=DataError, **fields):
    with pytest.raises(kind) as caught:
        read_dataset(path, fields=fields)
    assert message in str(caught.value)
    return str(caught.value)


# --- the public files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rows", "with_reference", "contexts"), PUBLIC_FILES)
def test_a_public_prompt_file_is_read_whole(name, rows, with_reference, contexts) -> None:
    dataset = read_dataset(packed_file(f"public/{name}"))
    assert len(dataset) == rows
    assert sum(bool(prompt.reference) for prompt in dataset) == with_reference
    assert sum(len(prompt.contexts) for prompt in dataset) == contexts
    assert all(prompt.text.strip() for prompt in dataset)
    assert not any("answer" in prompt.metadata or "reference" in prompt.metadata for prompt in dataset)


def test_rows_shaped_like_the_public_files_become_prompts(write_rows) -> None:
    answered = {"text": "question", "reference": "answer"}
    maths = read_dataset(write_rows({"question": "2 + 2?", "answer": "2 + 2 = 4\n#### 4"}), fields=answered)
    assert (maths[0].reference, maths[0].metadata) == (("2 + 2 = 4\n#### 4",), {})
    turns = {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."], "reference": ["", "so"]}
    talk = read_dataset(write_rows(turns), fields={"id": "question_id", "text": "turns"})
    assert talk[0] == Prompt(
        "81", "Again.", "writing", ("so",), (), {"history": [{"role": "user", "content": "Write."}]}
    )
    hops = {"id": "e0", "question": "Is it?", "answer": False, "facts": ["One.", "Two."], "decomposition": ["#1?"]}
    plan = read_dataset(write_rows(hops), fields={"text": "question", "reference": "answer", "contexts": "facts"})
    assert plan[0] == Prompt("e0", "Is it?", None, ("no",), ("One.", "Two."), {"decomposition": ["#1?"]})


# --- formats ----------------------------------------------------------------------------------------------------------

SAME = [
    {"id": "a", "text": "What is 6 x 7?", "category": "maths", "reference": "42", "source": "book"},
    {"id": "b", "text": 'Say "hi",\nthen go.', "category": "talk", "reference": "hi", "source": ""},
]


def test_every_format_gives_the_same_data_set(write, write_rows, write_table, tmp_path) -> None:
    for name, separator in (("p.csv", ","), ("p.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(SAME[0]), delimiter=separator)
            writer.writeheader()
            writer.writerows(SAME)
    paths = [
        write_rows(*SAME),
        write("p.NDJSON", "\n".join(map(json.dumps, SAME))),
        tmp_path / "p.csv",
        tmp_path / "p.tsv",
        write_table({name: [row[name] for row in SAME] for name in SAME[0]}),
    ]
    first, *others = [read_dataset(path) for path in paths]
    assert first[0] == Prompt("a", "What is 6 x 7?", "maths", ("42",), (), {"source": "book"})
    assert all(other.prompts == first.prompts for other in others)
    assert [dataset.name for dataset in (first, *others)] == [path.name for path in paths]


def test_a_path_may_be_text(write_rows) -> None:
    assert len(read_dataset(str(write_rows({"text": "a"})))) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_line(write) -> None:
    assert read_dataset(write("a.jsonl", b'\xef\xbb\xbf{"text": "x"}\n'))[0].text == "x"
    assert read_dataset(write("a.csv", b"\xef\xbb\xbftext\nx\n"))[0].text == "x"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_another_encoding_is_refused_with_its_place(write, name) -> None:
    rows = ["text", '"b"', '"café"'] if name == "a.csv" else ['{"text": "a"}', '{"text": "b"}', '{"text": "café"}']
    path = write(name, "\n".join(rows).encode("latin-1"))
    byte = rows[2].index("é") + 1
    refused(path, f"{path}, row 3: byte {byte} of the line (0xe9) is not UTF-8; save the file as UTF-8")


def test_utf_16_is_refused_at_its_first_byte(write) -> None:
    refused(write("a.jsonl", '{"text": "a"}\n'.encode("utf-16")), "row 1: byte 1 of the line (0xff) is not UTF-8")


def test_a_separator_that_only_unicode_knows_does_not_end_a_line(write) -> None:
    assert read_dataset(write("a.jsonl", '{"text": "a\u2028b\x85c"}\n'))[0].text == "a\u2028b\x85c"


# --- JSONL ------------------------------------------------------------------------------------------------------------


def test_blank_lines_are_passed_over_but_counted(write) -> None:
    path = write("a.jsonl", '\n{"text": "a"}\r\n  \n\n{"text": ""}\n')
    refused(path, f"{path}, row 5, field 'text': the prompt's text is empty")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a" "b": 1}', "row 2, column 14: not JSON: Expecting ',' delimiter; each line is one whole JSON"),
        ("[", "row 2, column 2: not JSON: Expecting value"),
        ('{"text": "a"} {"text": "b"}', "row 2, column 15: not JSON: Extra data"),
        ('["a"]', 'row 2: a JSON list, not an object; write {"text": "..."}'),
        ("[" * 100_000, "row 2: JSON that cannot be read"),
        ('{"text": ' + "9" * 5_000 + "}", "row 2: JSON that cannot be read"),
        (r'{"text": "half \ud83d"}', "row 2: '\\ud83d' is half of a character"),
        (r'{"text": "a", "more": {"x": "\udc00"}}', "row 2: '\\udc00' is half of a character"),
        (r'{"text": "a", "id": "\udc00"}', "row 2: '\\udc00' is half of a character"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused_with_its_place(write, line, message) -> None:
    path = write("a.jsonl", '{"text": "fine"}\n' + line + "\n")
    assert refused(path, message).startswith(str(path))


def test_a_file_without_rows_is_refused(write) -> None:
    for name, content in (("a.jsonl", "\n\n"), ("a.csv", "text\n")):
        refused(write(name, content), f"{name}: no prompts")


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_a_csv_record_is_numbered_by_its_first_line(write) -> None:
    path = write("a.csv", 'id,text\n1,"two\nlines"\n\n2,"\n\n"\n')
    refused(path, f"{path}, row 5, field 'text': the prompt's text is empty")


@pytest.mark.parametrize(("record", "cells"), [("1", 1), ("1,a,b", 3)])
def test_a_csv_record_with_other_cells_than_the_header_is_refused(write, record, cells) -> None:
    refused(write("a.csv", f"id,text\n0,fine\n{record}\n"), f"row 3: {cells} cells, but the header names 2 (id, text)")


def test_a_quote_that_is_never_closed_is_refused_where_it_opens(write) -> None:
    refused(write("a.csv", 'id,text\n1,fine\n2,"open\n3,lost\n'), "row 3: not CSV: unexpected end of data")


def test_a_csv_file_needs_a_header_of_different_names(write) -> None:
    refused(write("a.csv", ""), "no header; the first line names the columns, as in: id,text")
    refused(write("a.csv", "text,text\na,b\n"), "row 1: two columns are called 'text'")


def test_a_long_cell_is_read_and_the_limit_of_the_csv_module_is_left_as_it_was(write) -> None:
    limit = csv.field_size_limit()
    assert len(read_dataset(write("a.csv", "text\n" + "x" * 300_000))[0].text) == 300_000
    assert csv.field_size_limit() == limit
    refused(write("b.csv", "text,id\nx\n"), "row 2")
    assert csv.field_size_limit() == limit


def test_an_empty_cell_is_a_missing_one_for_a_prompt_and_itself_in_metadata(write) -> None:
    prompt = read_dataset(write("a.csv", "id,text,category,reference,note\n,a,,,\n"))[0]
    assert (prompt.category, prompt.reference, prompt.metadata) == (None, (), {"note": ""})
    assert len(prompt.id) == 12


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_keeps_types_and_metadata_stays_json(write_table) -> None:
    path = write_table(
        {
            "id": pa.array([81]),
            "text": ["a"],
            "reference": pa.array([True]),
            "contexts": pa.array([["x", None, "y"]]),
            "day": pa.array([datetime.date(2026, 1, 2)]),
            "price": pa.array([decimal.Decimal("1.50")]),
            "raw": pa.array([b"\x00\xff"]),
            "share": pa.array([float("nan")]),
            "nested": pa.array([{"deep": [float("inf"), 1.5]}]),
        }
    )
    prompt = read_dataset(path)[0]
    assert (prompt.id, prompt.reference, prompt.contexts) == ("81", ("yes",), ("x", "y"))
    assert prompt.metadata == {
        "day": "2026-01-02",
        "price": "1.50",
        "raw": "00ff",
        "share": None,
        "nested": {"deep": ["inf", 1.5]},
    }
    json.dumps(prompt.metadata, allow_nan=False)


def test_ids_that_a_missing_one_turned_into_floats_are_written_as_the_integers_they_were(write_table) -> None:
    ids = [prompt.id for prompt in read_dataset(write_table({"id": [81.0, 82.0, None], "text": ["a", "b", "c"]}))]
    assert ids[:2] == ["81", "82"]
    assert len(ids[2]) == 12


def test_parquet_rows_are_numbered_from_1_through_all_batches(write_table) -> None:
    refused(write_table({"text": ["a"] * 2_500 + [""]}), "row 2501, field 'text'")


def test_a_damaged_parquet_file_is_refused(write, write_table) -> None:
    whole = write_table({"text": ["a"] * 100}).read_bytes()
    for content in (b"", b"not parquet", whole[:-20]):
        path = write("damaged.parquet", content)
        refused(path, f"{path}: cannot be read as Parquet")


def test_two_parquet_columns_of_one_name_are_refused(write_table) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    refused(write_table(table), "two columns are called 'text'")


def test_bytes_are_no_text(write_table) -> None:
    refused(write_table({"text": [b"a"]}), "row 1, field 'text': bytes, where a prompt needs text")


def test_reading_text_files_does_not_load_pyarrow(write_rows) -> None:
    script = "import sys; from quark_bench.sources import read_dataset; read_dataset(sys.argv[1])"
    check = "; assert not {'pyarrow', 'pandas', 'dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script + check, str(write_rows({"text": "a"}))], check=True)


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_answered_with_the_nearest(write, tmp_path) -> None:
    write("prompts.jsonl", "")
    refused(tmp_path / "promts.jsonl", f"promts.jsonl: no such file; did you mean {tmp_path / 'prompts.jsonl'}?")
    refused(tmp_path / "zzz.parquet", "no such file; prompt files there: prompts.jsonl")
    refused(tmp_path / "none" / "a.csv", f"no such file; nor is there a folder {tmp_path / 'none'}")


def test_a_missing_file_in_a_folder_without_prompt_files_is_answered_so(tmp_path) -> None:
    refused(tmp_path / "a.csv", "no such file; no prompt file is in that folder")


def test_a_folder_is_refused_with_the_prompt_files_in_it(write, tmp_path) -> None:
    refused(tmp_path, "a folder, not a file; name a prompt file")
    write("b.csv", "")
    write("a.jsonl", "")
    refused(tmp_path, "a folder, not a file; name a file in it: a.jsonl, b.csv")


@pytest.mark.parametrize("name", ["prompts.xlsx", "prompts"])
def test_an_unknown_ending_is_refused_with_the_known_ones(write, name) -> None:
    refused(write(name, ""), "tells no format; save the prompts as one of .jsonl, .ndjson, .json, .csv, .tsv, .parquet")


def test_a_file_that_cannot_be_opened_is_refused(write, monkeypatch) -> None:
    path = write("a.jsonl", "{}")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refused(path, f"{path}: cannot be read: Permission denied")


# --- fields -----------------------------------------------------------------------------------------------------------


def prompts(*rows, **fields):
    return [prompt for prompt, _ in prompts_of("FILE", enumerate(rows, 1), fields)]


def test_a_mapped_column_feeds_its_field_and_the_column_of_the_same_name_becomes_metadata() -> None:
    (prompt,) = prompts({"question": "Why?", "text": "a passage", "id": 7}, text="question")
    assert (prompt.id, prompt.text, prompt.metadata) == ("7", "Why?", {"text": "a passage"})


def test_columns_that_no_field_takes_become_metadata_as_they_are() -> None:
    (prompt,) = prompts({"text": "a", "level": 3, "tags": ["x", {"y": None}], "ok": True})
    assert prompt.metadata == {"level": 3, "tags": ["x", {"y": None}], "ok": True}


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("as it is ", ("as it is ",)),
        (True, ("yes",)),
        (False, ("no",)),
        (81, ("81",)),
        (81.0, ("81",)),
        (-0.5, ("-0.5",)),
        (1e300, ("1e+300",)),
        (float("nan"), ()),
        (None, ()),
        (" ", ()),
        ([], ()),
        (["one", None, "", 2, True], ("one", "2", "yes")),
        (datetime.date(2026, 1, 2), ("2026-01-02",)),
    ],
)
def test_a_value_becomes_text_and_each_entry_of_a_list_counts(value, texts) -> None:
    (prompt,) = prompts({"text": "a", "reference": value, "contexts": value, "category": value})
    assert prompt.reference == prompt.contexts == texts
    assert prompt.category == ("\n\n".join(texts) or None)


@pytest.mark.parametrize(
    ("value", "kind"),
    [({"x": 1}, "an object"), (["fine", {"x": 1}], "an object"), ([["x"]], "a list within a list"), (b"x", "bytes")],
)
@pytest.mark.parametrize("field", ["id", "text", "category", "reference", "contexts"])
def test_a_value_that_is_no_text_is_refused_with_file_row_and_field(field, value, kind) -> None:
    row = {"text": "a", "column": value}
    with pytest.raises(DataError, match=f"^FILE, row 2, field 'column': {kind}, where a prompt needs text"):
        prompts({"text": "fine", "column": "x"}, row, **{field: "column"})


@pytest.mark.parametrize("empty", ["", " \n", None, [], [""]])
def test_an_empty_text_is_refused(empty) -> None:
    with pytest.raises(DataError, match="FILE, row 1, field 'text': the prompt's text is empty"):
        prompts({"text": empty})


def test_a_row_without_text_is_refused_with_what_it_has() -> None:
    with pytest.raises(DataError) as caught:
        prompts({"question": "a", "answer": "b"})
    assert str(caught.value) == (
        "FILE, row 1: no field 'text' to take the prompt's text from; this row has: question, answer; "
        "say which with --field text=COLUMN"
    )


@pytest.mark.parametrize("field", ["id", "text", "category", "contexts"])
def test_a_row_without_a_mapped_column_is_refused(field) -> None:
    with pytest.raises(DataError, match=f"FILE, row 2: no field 'x' .* this row has: text; .*--field {field}=COLUMN"):
        prompts({"text": "a", "x": "1"}, {"text": "b"}, **{field: "x"})


def test_a_reference_may_be_missing_in_some_rows() -> None:
    read = prompts({"text": "a"}, {"text": "b", "answer": "yes"}, {"text": "c", "answer": None}, reference="answer")
    assert [prompt.reference for prompt in read] == [(), ("yes",), ()]


def test_a_reference_that_no_row_has_is_refused() -> None:
    with pytest.raises(DataError, match=r"^FILE: no row has a field 'answr'; its rows have: text, answer; say which"):
        prompts({"text": "a"}, {"text": "b", "answer": "yes"}, reference="answr")


def test_a_reversed_mapping_is_answered_with_the_right_one() -> None:
    with pytest.raises(UsageError, match=r"'question' is no field of a prompt .* --field text=question$"):
        check_fields({"question": "text"})
    with pytest.raises(UsageError, match="'txt' is no field of a prompt"):
        check_fields({"txt": "question"})


def test_a_wrong_mapping_is_told_before_the_file_is_looked_for(tmp_path) -> None:
    refused(tmp_path / "none.csv", "--field text=question", kind=UsageError, question="text")


# --- ids --------------------------------------------------------------------------------------------------------------


def test_an_id_made_of_content_is_stable_and_equal_rows_are_numbered() -> None:
    read = prompts({"text": "same"}, {"text": "other"}, {"text": "same"}, {"text": "same"})
    first = read[0].id
    assert [prompt.id for prompt in read[2:]] == [f"{first}-2", f"{first}-3"]
    assert first == prompts({"text": "same"})[0].id
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")


def test_an_id_used_twice_is_refused_with_the_rows_of_the_file() -> None:
    rows = [(2, {"id": "a", "text": "1"}), (5, {"id": "a", "text": "2"})]
    with pytest.raises(DataError, match=r"^FILE, row 5: id 'a' was already used in row 2; .*--field id=COLUMN"):
        list(prompts_of("FILE", rows, {}))


JSONABLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(
    st.dictionaries(st.text(max_size=5).filter(lambda name: name not in ("id", "category")), JSONABLE, max_size=4),
    min_size=1,
    max_size=6,
)


@given(ROWS)
def test_any_rows_with_a_text_become_a_data_set_of_as_many_prompts(rows) -> None:
    rows = [
        {key: value for key, value in row.items() if key not in ("reference", "contexts")} | {"text": "a"}
        for row in rows
    ]
    dataset = Dataset(prompts(*rows))
    assert len(dataset) == len(rows)
    assert dataset.content_hash == Dataset(prompts(*rows)).content_hash
    json.dumps([prompt.metadata for prompt in dataset], allow_nan=False)


@given(st.permutations([{"text": text} for text in "abcde"]))
def test_an_id_made_of_content_does_not_depend_on_the_place_of_the_row(rows) -> None:
    expected = {text: prompts({"text": text})[0].id for text in "abcde"}
    assert {prompt.text: prompt.id for prompt in prompts(*rows)} == expected
