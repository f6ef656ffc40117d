import json
import random
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError, UsageError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2)
PROMPT = st.builds(
    Prompt,
    id=TEXT,
    text=TEXT,
    category=st.none() | TEXT,
    reference=st.lists(TEXT, max_size=2).map(tuple),
    contexts=st.lists(TEXT, max_size=2).map(tuple),
    metadata=st.dictionaries(TEXT, VALUE, max_size=2),
)
PROMPTS = st.lists(PROMPT, min_size=1, max_size=6, unique_by=lambda prompt: prompt.id)


def numbered(n):
    return Dataset.of([f"question {number}" for number in range(n)])


def test_a_prompt_given_to_agents_lacks_what_would_give_the_answer_away() -> None:
    prompt = Prompt("a", "What is 6 x 7?", "maths", ("42",), ("6 x 7 is 42",), {"source": "book"})
    assert prompt.blind() == Prompt("a", "What is 6 x 7?", "maths", (), (), {"source": "book"})


def test_a_prompt_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Prompt("a", "text").text = "other"


def test_the_content_of_a_prompt_leaves_out_its_id_and_the_order_of_metadata() -> None:
    one = Prompt("a", "text", metadata={"x": 1, "y": 2})
    other = Prompt("b", "text", metadata={"y": 2, "x": 1})
    assert one.content() == other.content()
    assert json.loads(one.content()) == ["text", None, [], [], {"x": 1, "y": 2}]


def test_a_data_set_without_prompts_is_refused() -> None:
    with pytest.raises(DataError, match="empty: no prompts; give a file"):
        Dataset([], "empty")


def test_an_id_used_twice_is_refused_with_both_rows() -> None:
    with pytest.raises(DataError, match=r"set, row 3: id 'a' was already used in row 1.*--field id=COLUMN"):
        Dataset([Prompt("a", "1"), Prompt("b", "2"), Prompt("a", "3")], "set")


def test_bare_texts_are_named_by_position() -> None:
    assert [(prompt.id, prompt.text) for prompt in Dataset.of(["x", "y"])] == [("p-1", "x"), ("p-2", "y")]


@given(PROMPTS)
def test_equal_prompts_have_an_equal_hash_whatever_the_data_set_is_called(prompts) -> None:
    assert Dataset(prompts, "a").content_hash == Dataset(list(prompts), "b").content_hash


@given(PROMPTS, st.data())
def test_the_hash_changes_with_any_content(prompts, data) -> None:
    position = data.draw(st.integers(0, len(prompts) - 1))
    field = data.draw(st.sampled_from(["id", "text", "category", "reference", "contexts", "metadata"]))
    old = prompts[position]
    changed = replace(old, **{field: getattr(data.draw(PROMPT), field)})
    assume((changed.id, changed.content()) != (old.id, old.content()))
    others = [*prompts[:position], changed, *prompts[position + 1 :]]
    assume(len({prompt.id for prompt in others}) == len(others))
    assert Dataset(others).content_hash != Dataset(prompts).content_hash


@given(PROMPTS)
def test_the_hash_changes_with_the_order(prompts) -> None:
    assume(len(prompts) > 1)
    assert Dataset(prompts[::-1]).content_hash != Dataset(prompts).content_hash


@given(st.integers(1, 30), st.integers(1, 40), st.integers())
def test_a_subset_is_seeded_and_keeps_the_order(size, n, seed) -> None:
    dataset = numbered(size)
    subset = dataset.subset(n, seed)
    positions = [dataset.prompts.index(prompt) for prompt in subset]
    assert len(subset) == min(n, size)
    assert positions == sorted(set(positions))
    assert subset.prompts == dataset.subset(n, seed).prompts


def test_another_seed_draws_another_subset() -> None:
    assert numbered(1_000).subset(10, 0).prompts != numbered(1_000).subset(10, 1).prompts


def test_a_subset_leaves_the_global_generator_alone() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    numbered(10).subset(5, 3)
    assert random.random() == expected


def test_a_limit_takes_the_first_prompts() -> None:
    dataset = numbered(5)
    assert dataset.limit(2).prompts == dataset.prompts[:2]
    assert len(dataset.limit(9)) == 5


@pytest.mark.parametrize("n", [0, -1])
def test_a_limit_or_a_subset_of_nothing_is_refused(n) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        numbered(5).limit(n)
    with pytest.raises(UsageError, match="1 or more"):
        numbered(5).subset(n, 0)


@given(st.integers(1, 60), st.integers(1, 12))
def test_shards_part_a_data_set_evenly_in_its_order_and_have_hashes_of_their_own(size, parts) -> None:
    dataset, parts = numbered(size), min(size, parts)
    shards = [dataset.shard(part, parts) for part in range(1, parts + 1)]
    assert sorted((dataset.find(p.id).id for shard in shards for p in shard), key=lambda i: int(i[2:])) == [
        prompt.id for prompt in dataset
    ]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert all([*shard] == sorted(shard, key=dataset.prompts.index) for shard in shards)
    assert len({shard.content_hash for shard in shards}) == parts


def test_an_index_gives_a_prompt_and_a_slice_a_data_set() -> None:
    dataset = numbered(5)
    assert dataset[-1].id == "p-5"
    assert isinstance(dataset[1:3], Dataset)
    assert [prompt.id for prompt in dataset[1:3]] == ["p-2", "p-3"]


def test_the_prompts_of_a_category_are_chosen_in_order() -> None:
    dataset = Dataset([Prompt("a", "1", "x"), Prompt("b", "2", "y"), Prompt("c", "3", "x")])
    assert [prompt.id for prompt in dataset.where("x")] == ["a", "c"]


def test_an_unknown_category_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="categories here: x, y"):
        Dataset([Prompt("a", "1", "y"), Prompt("b", "2", "x")]).where("z")
    with pytest.raises(UsageError, match="no prompt here has a category"):
        numbered(1).where("z")


def test_a_data_set_has_references_when_one_prompt_has() -> None:
    assert not numbered(2).has_references
    assert Dataset([Prompt("a", "1"), Prompt("b", "2", reference=("yes",))]).has_references


def test_a_data_set_tells_its_name_size_and_hash() -> None:
    dataset = numbered(2)
    assert repr(dataset) == f"Dataset('dataset', 2 prompts, {dataset.content_hash[:12]})"
