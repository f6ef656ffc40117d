import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import sources
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError
from quark_bench.sources.spool import STRIDE, Spool

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
cells = st.none() | st.booleans() | st.integers(-9, 9) | texts
prompts = st.builds(
    Prompt,
    id=texts,
    text=texts,
    category=st.none() | texts,
    reference=st.lists(texts, max_size=2).map(tuple),
    contexts=st.lists(texts, max_size=2).map(tuple),
    metadata=st.dictionaries(texts, cells, max_size=2),
)
PLENTY = [Prompt(f"p-{n}", f"text {n}") for n in range(5 * STRIDE + 7)]


def spooled(given_prompts):
    return Spool((prompt, prompt.content()) for prompt in given_prompts)


@given(st.lists(prompts, max_size=8, unique_by=lambda prompt: prompt.id))
def test_what_is_put_in_comes_out(given_prompts):
    spool = spooled(given_prompts)
    assert list(spool) == given_prompts
    assert [spool.find(prompt.id) for prompt in given_prompts] == given_prompts


@given(st.slices(len(PLENTY)), st.integers(-len(PLENTY), len(PLENTY) - 1))
def test_a_spool_is_indexed_as_any_sequence(part, place):
    spool = spooled(PLENTY)
    assert list(spool[part]) == PLENTY[part]
    assert spool[place] == PLENTY[place]


def test_a_prompt_that_is_not_in_a_part_is_not_found_there():
    spool = spooled(PLENTY)
    assert spool.find("p-100") == PLENTY[100]
    assert spool[:100].find("p-100") is None
    assert spool.find("p-1000000") is None
    with pytest.raises(IndexError):
        spool[len(PLENTY)]


@pytest.fixture
def large(monkeypatch):
    """Every file is larger than memory."""
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)


@pytest.fixture
def write(tmp_path):
    def written(rows):
        file = tmp_path / "prompts.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return file

    return written


def test_a_large_file_is_the_same_data_set_as_if_it_were_held(monkeypatch, write):
    rows = [{"text": f"t{random.Random(n).randint(0, 50)}", "reference": ["x"] * (n % 2)} for n in range(300)]
    held = Dataset.read(write(rows))
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    read = Dataset.read(write(rows))
    assert isinstance(read.prompts, Spool)
    assert list(read) == list(held)
    assert (read.content_hash, read.has_references) == (held.content_hash, held.has_references)
    assert read.limit(70).content_hash == held.limit(70).content_hash
    assert list(read.subset(20, 1)) == list(held.subset(20, 1))


def test_rows_without_ids_that_are_all_equal_are_numbered_in_a_large_file(large, write):
    ids = [prompt.id for prompt in Dataset.read(write([{"text": "same"}] * 200))]
    assert ids == [ids[0], *(f"{ids[0]}-{n}" for n in range(2, 201))]


@pytest.mark.usefixtures("large")
def test_an_id_used_twice_in_a_large_file_is_refused_with_its_rows(write):
    rows = [{"id": f"q{n % 150}", "text": "t"} for n in range(160)]
    with pytest.raises(DataError, match="row 151: id 'q0' was already used in row 1"):
        Dataset.read(write(rows))
