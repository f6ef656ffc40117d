import contextlib
import dataclasses
import json
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench import store
from quark_bench.errors import ExecutionError, RunNotFoundError
from quark_bench.parts import MEASURED, SCHEMAS, list_parts, list_tables, next_number, part_number
from quark_bench.record import CLOCKS, Batch, ModelCall, Record, Span, columns
from quark_bench.store import RunWriter

from .test_shape import WHOLE

seconds = st.floats(-1e6, 1e6)
texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(0, 2**31 - 1)
BY_TYPE = {
    str: st.text(st.characters(codec="utf-8"), max_size=8),
    str | None: texts,
    bool: st.booleans(),
    int | None: st.none() | counts,
    int: counts,
    float: seconds,
    float | None: st.none() | seconds,
}


def of(kind):
    """Any rows of Record, Span or ModelCall."""
    return st.builds(kind, **{name: BY_TYPE[annotation] for name, annotation in get_type_hints(kind).items()})


batches = st.builds(
    lambda arm, place, records, spans, calls, offset_s: Batch(
        arm, *place, columns(Record, records), columns(Span, spans), columns(ModelCall, calls), offset_s
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.tuples(counts, counts, counts),
    st.lists(of(Record), min_size=1, max_size=4),
    st.lists(of(Span), max_size=6),
    st.lists(of(ModelCall), max_size=3),
    seconds,
)


def row(**changes):
    """A record of nothing in particular."""
    known = {str: "x", str | None: None, int: 1, float: 0.5, float | None: None}
    return Record(**{name: known[annotation] for name, annotation in get_type_hints(Record).items()} | changes)


def batch(*records, chunk=0, **options):
    return Batch("arm", 0, 0, chunk, columns(Record, records or [row()]), columns(Span, []), **options)


def read(path, kind):
    """A table as it stands now."""
    return getattr(list_tables(path), kind).read()


@pytest.fixture
def run_path(tmp_path):
    return store.new_run(tmp_path, "prompts")


@settings(deadline=None, max_examples=40)  # it writes files
@given(
    batches=st.lists(batches, max_size=4, unique_by=lambda each: (each.block, each.chunk)),
    origin_s=seconds,
    session=st.integers(0, 9),
)
def test_what_is_written_is_read_with_its_clocks_shifted(tmp_path_factory, batches, origin_s, session):
    path = store.new_run(tmp_path_factory.mktemp("runs"), "prompts")
    with RunWriter(path, session, origin_s) as writer:
        for each in batches:
            writer.append(each)
    for kind in MEASURED:
        table = read(path, kind)
        expected = [line for each in batches for line in lines(each, kind, session, origin_s)]
        assert list(table.columns) == SCHEMAS[kind].names
        found = table.astype(object).where(table.notna(), None).to_dict("records")
        assert found == expected


def lines(batch, kind, session, origin_s):
    """The rows of a batch as they should be read."""
    held = getattr(batch, kind)
    shift_s = batch.clock_offset_s - origin_s
    for values in zip(*held.values(), strict=True):
        place = {"session": session, **{name: getattr(batch, name) for name in ("arm", "repeat", "block", "chunk")}}
        fields = dict(zip(held, values, strict=True))
        yield place | {name: value + shift_s if name in CLOCKS else value for name, value in fields.items()}


def test_a_part_is_there_at_once_where_prompts_are_long(run_path):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(batch(row(latency_s=0.1)))
        assert not list((run_path / "records").iterdir())
        writer.append(batch(row(latency_s=1.5), chunk=1))
        assert list(read(run_path, "records")["chunk"]) == [0, 1]


def test_a_further_session_appends(run_path):
    for session in range(3):
        with RunWriter(run_path, session, 0.0) as writer:
            writer.append(batch(chunk=session))
    assert [part.name for part in sorted((run_path / "records").iterdir())] == [
        f"part-{n:06d}.parquet" for n in range(3)
    ]
    assert list(read(run_path, "records")["session"]) == [0, 1, 2]


def test_a_writer_that_is_left_by_an_error_writes_what_it_has(run_path):
    with contextlib.suppress(KeyboardInterrupt), RunWriter(run_path, 0, 0.0) as writer:
        writer.append(batch())
        raise KeyboardInterrupt
    assert len(read(run_path, "records")) == 1


def test_a_part_that_cannot_be_finished_is_not_there_at_all(run_path, monkeypatch):
    def half(table, place, **options):
        place.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(ExecutionError, match="No space left"), RunWriter(run_path, 0, 0.0) as writer:
        writer.append(batch())
    assert not list((run_path / "records").iterdir())
    assert read(run_path, "records").empty


def test_a_part_that_is_being_written_is_not_read(run_path):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(batch())
    (run_path / "records" / ".part-000001.parquet.99").write_bytes(b"PAR1")
    assert len(read(run_path, "records")) == 1


def test_tables_are_read_as_they_stood_when_they_were_listed(run_path):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(with_span(batch(row(prompt_id="p-1"))))
        writer.write()
        before = list_tables(run_path)
        writer.append(with_span(batch(row(prompt_id="p-2"), chunk=1)))
    for table in (before.records, before.spans):
        assert list(table.read()["prompt_id"]) == ["p-1"]
    for kind in ("records", "spans"):
        assert list(read(run_path, kind)["prompt_id"]) == ["p-1", "p-2"]


def test_spans_whose_records_are_not_there_yet_are_not_read(run_path):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(with_span(batch()))
    (run_path / "records" / "part-000000.parquet").unlink()
    assert read(run_path, "spans").empty


@pytest.mark.parametrize("kind", ["records", "spans"])
def test_a_part_that_is_gone_is_told(run_path, kind):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(with_span(batch()))
    tables = list_tables(run_path)
    (run_path / kind / "part-000000.parquet").unlink()
    with pytest.raises(RunNotFoundError, match=f"{kind} cannot be read"):
        getattr(tables, kind).read()


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(run_path):
    with RunWriter(run_path, 0, 0.0) as writer:
        writer.append(batch(row(answer="half \ud83d"), row(answer=None), row(answer="whole \U0001f600")))
    stored = read(run_path, "records")["answer"]
    assert list(stored.fillna("missing")) == ["half ?", "missing", "whole \U0001f600"]


def test_the_offset_of_another_machines_clock_is_added_to_clocks_only(run_path):
    far = dataclasses.replace(batch(row(start_s=10.0, latency_s=0.25)), clock_offset_s=5.0)
    with RunWriter(run_path, 0, 12.0) as writer:
        writer.append(far)
    (record,) = read(run_path, "records").to_dict("records")
    assert (record["start_s"], record["latency_s"]) == (3.0, 0.25)


def test_a_run_without_rows_has_empty_tables_of_every_column(run_path):
    for kind, schema in SCHEMAS.items():
        table = read(run_path, kind)
        assert table.empty
        assert list(table.columns) == schema.names


def test_scores_are_read_as_they_were_written(run_path):
    rows = [
        ("sync", 0, "p-1", "exact", 1.0, None, 0.5, 0.0, None),
        ("sync", 0, "p-2", "exact", None, "no answer", 0.5, 0.0, 0.25),
    ]
    store.write_scores(run_path, rows)
    store.write_scores(run_path, [])
    scores = read(run_path, "scores")
    assert list(scores["prompt_id"]) == ["p-1", "p-2"]
    assert scores["value"][0] == 1.0
    assert np.isnan(scores["value"][1])


def test_runs_of_the_same_moment_get_folders_of_their_own(tmp_path):
    paths = [store.new_run(tmp_path, "Prompts & more!.jsonl") for _ in range(3)]
    assert len(set(paths)) == 3
    assert all("Prompts-more-jsonl" in path.name for path in paths)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExecutionError, match="--out"):
        store.new_run(tmp_path / "file", "prompts")


def test_a_run_is_found_by_path_by_id_and_as_the_last_one(tmp_path):
    for name in ("20260101-one", "20260102-two"):
        (tmp_path / name).mkdir()
        store.write_manifest(tmp_path / name, {"format": store.FORMAT})
    (tmp_path / "20260103-no-run").mkdir()
    first, last = tmp_path / "20260101-one", tmp_path / "20260102-two"
    assert store.list_runs(tmp_path) == [first, last]
    assert store.find_run(first, "elsewhere") == first
    assert store.find_run("20260101-one", tmp_path) == first
    assert store.find_run("last", tmp_path) == last


def test_a_run_that_is_not_there_is_told_with_the_newest(tmp_path):
    with pytest.raises(RunNotFoundError, match="there are no runs in"):
        store.find_run("last", tmp_path)
    (tmp_path / "20260101-one").mkdir()
    store.write_manifest(tmp_path / "20260101-one", {"format": store.FORMAT})
    with pytest.raises(RunNotFoundError, match="the newest is 20260101-one"):
        store.find_run("20250101-none", tmp_path)


def test_a_manifest_is_read_as_it_was_written(run_path):
    manifest = WHOLE | {"text": "ü \U0001f600", "blocks": [["sync", 0, 0, 3]]}
    store.write_manifest(run_path, manifest)
    assert store.read_manifest(run_path) == manifest
    assert sorted(path.name for path in run_path.iterdir()) == ["calls", "manifest.json", "records", "scores", "spans"]


@pytest.mark.parametrize("version", [0, store.FORMAT + 1, "1", None])
def test_a_format_that_is_not_known_is_refused(run_path, version):
    (run_path / store.MANIFEST).write_text(json.dumps({"format": version}))
    with pytest.raises(RunNotFoundError, match="use the version that wrote it"):
        store.read_manifest(run_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", "{}", "\x00"])
def test_a_damaged_manifest_is_told(run_path, damage):
    (run_path / store.MANIFEST).write_text(damage)
    with pytest.raises(RunNotFoundError, match="cannot be read"):
        store.read_manifest(run_path)


def test_a_disk_that_is_full_for_a_moment_leaves_no_record_without_its_spans(run_path, monkeypatch):
    written, full = store.write_part, []

    def sometimes_full(folder, table, number):
        if full and folder.name == "records":
            raise ExecutionError("no space left")
        written(folder, table, number)

    monkeypatch.setattr(store, "write_part", sometimes_full)
    with RunWriter(run_path, 0, 0.0) as writer:
        full.append(True)
        writer.append(with_span(batch(row(prompt_id="p-1"), chunk=0)))
        with pytest.raises(ExecutionError):
            writer.write()
        full.clear()
        writer.append(with_span(batch(row(prompt_id="p-2"), chunk=1)))
    with RunWriter(run_path, 1, 0.0) as writer:  # drops spans that have no records
        assert writer.finished_chunks(0) == {0, 1}
    for kind in ("records", "spans"):
        assert list(read(run_path, kind)["prompt_id"]) == ["p-1", "p-2"]


def with_span(made):
    """The batch with a span for each of its records."""
    never = ("agent", 1, "ok", 0.0, 0.1, 0.0, None, 0, 0, None, 0.0, 0.0, "here:1")
    return replace(made, spans=columns(Span, [Span(prompt, *never) for prompt in made.records["prompt_id"]]))


def written_blocks(path, *blocks):
    """Two parts, each with one chunk of every block, and their scores."""
    for chunk in range(2):
        with RunWriter(path, 0, 0.0) as writer:
            for block in blocks:
                made = with_span(batch(row(prompt_id=f"p-{block}-{chunk}"), chunk=chunk))
                writer.append(replace(made, block=block))
        rows = [("arm", 0, f"p-{block}-{chunk}", "exact", 1.0, None, 0.5, 0.0, None) for block in blocks]
        store.write_scores(path, rows)


@settings(deadline=None, max_examples=20)  # it writes files
@given(forgotten=st.sets(st.integers(0, 3)))
def test_of_forgotten_blocks_nothing_is_left_and_all_else_stays(tmp_path_factory, forgotten):
    path = store.new_run(tmp_path_factory.mktemp("runs"), "prompts")
    written_blocks(path, 0, 1, 2)
    store.forget_blocks(path, forgotten)
    kept = sorted(f"p-{block}-{chunk}" for block in {0, 1, 2} - forgotten for chunk in range(2))
    for kind in ("records", "spans", "scores"):
        assert sorted(read(path, kind)["prompt_id"]) == kept
    assert store.scored_trials(path) == {("arm", 0, prompt) for prompt in kept}


def test_a_forgotten_block_is_made_anew(run_path):
    written_blocks(run_path, 0, 1)
    store.forget_blocks(run_path, [1])
    with RunWriter(run_path, 1, 0.0) as writer:
        assert (writer.finished_chunks(0), writer.finished_chunks(1)) == ({0, 1}, set())
        assert writer.finished_trials == {"arm": 2}
        writer.append(replace(with_span(batch(row(prompt_id="again"))), block=1))
    for kind in ("records", "spans"):
        assert list(read(run_path, kind)["prompt_id"]) == ["p-0-0", "p-0-1", "again"]


def test_forgetting_what_is_not_there_writes_nothing(run_path):
    written_blocks(run_path, 0)
    before = {part: part.stat().st_mtime_ns for part in run_path.rglob("*.parquet")}
    store.forget_blocks(run_path, [7])
    assert {part: part.stat().st_mtime_ns for part in run_path.rglob("*.parquet")} == before


def test_forgetting_that_was_broken_off_can_be_done_again(run_path, monkeypatch):
    written_blocks(run_path, 0, 1)
    written = store.write_part

    def full(folder, table, number):
        if folder.name == "spans":
            raise ExecutionError("no space left")
        written(folder, table, number)

    monkeypatch.setattr(store, "write_part", full)
    with pytest.raises(ExecutionError):
        store.forget_blocks(run_path, [1])
    assert list(read(run_path, "records")["block"]) == [0, 0]
    monkeypatch.setattr(store, "write_part", written)
    store.forget_blocks(run_path, [1])
    assert list(read(run_path, "spans")["block"]) == [0, 0]


def test_a_part_is_named_by_its_number(run_path):
    written_blocks(run_path, 0)
    assert [part_number(part) for part in list_parts(run_path, "records")] == [0, 1]
    assert next_number(run_path / "records") == 2
