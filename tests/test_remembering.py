"""The built-in assistant with a store of conversations: what it recalls, and what it learns."""

import asyncio
import json
import pickle
import time
from contextlib import closing
from functools import cache

import pytest

from quark_bench.agents.memory import RECALLED, merged
from quark_bench.agents.nlu import train_classifier
from quark_bench.agents.quark import quark
from quark_bench.conversations import Conversations, Lesson
from quark_bench.dataset import Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.model import Reply
from quark_bench.plan import Arm

from . import assistant
from .assistant import results, run, write

ASKED = "Which bird flies backwards?"
ALIKE = "Can a bird fly backwards?"
OTHER = "How deep is the river?"
KNOWLEDGE = [
    {"id": "k-1", "text": "A bird flies backwards over rivers."},
    {"id": "k-2", "text": "A bird flies backwards: hummingbirds hover while they do."},
    {"id": "k-3", "text": "The river is deep."},
]


def ready(pipeline):
    """With a classifier that was trained once: it takes longest, and remembers nothing."""
    return assistant.ready(pipeline, nlu=classifier())


@cache
def classifier():
    return train_classifier()


class Fixed:
    """A model that always says the same."""

    name = "fixed"

    def __init__(self, text):
        self.text = text

    async def reply(self, messages, call):
        return Reply(self.text)

    def reply_blocking(self, messages, call):
        return Reply(self.text)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
def store(path):
    with closing(Conversations(path)) as made:
        yield made


@pytest.fixture
def knowledge(tmp_path):
    return write(tmp_path / "knowledge.jsonl", KNOWLEDGE)


def recalled(path, text, **metadata):
    pipeline = quark(memory=path)
    return run(pipeline, ready(pipeline), text, **metadata)["memory"]


def lessons_in(path, *stems):
    with closing(Conversations(path)) as store:
        return store.lessons(stems)


# -- turns


def test_a_prompt_recalls_the_turns_of_its_conversation_and_no_other_s(store, path):
    store.add("ann", "Who chairs the kite club?", "Mira chairs it.", time.time(), turn_id="7")
    store.add("bob", "Who chairs the kite club?", "Nobody does.", time.time())
    assert recalled(path, "When does the kite club meet?", conversation="ann")[0] == {
        "id": "turn:7",
        "prompt": "Who chairs the kite club?",
        "answer": "Mira chairs it.",
    }
    assert not [found for found in recalled(path, "kite club", conversation="eve") if found["id"].startswith("turn:")]


def test_a_follow_up_that_shares_no_word_recalls_what_was_said_last(store, path):
    for n in range(9):
        store.add("ann", f"Tell me of kite {n}", f"It is kite {n}.", time.time() + n)
    prompts = [found["prompt"] for found in recalled(path, "and what about that?", conversation="ann")]
    assert prompts == ["Tell me of kite 8", "Tell me of kite 7", "Tell me of kite 6"]


@pytest.mark.parametrize("metadata", [{}, {"conversation": None}, {"conversation": 7}])
def test_a_prompt_of_no_conversation_recalls_what_it_would_without_a_store(store, path, metadata):
    store.add("ann", "Who discovered Pluto?", "Tombaugh.", time.time())
    plain = quark()
    assert (
        recalled(path, "Who discovered Pluto?", **metadata)
        == run(plain, ready(plain), "Who discovered Pluto?")["memory"]
    )


def test_the_best_turn_and_the_best_memory_are_both_recalled(store, path):
    for n in range(5):
        store.add("ann", f"Who discovered Pluto, asked {n}?", f"Tombaugh {n}.", time.time() + n)
    ids = [found["id"] for found in recalled(path, "Who discovered Pluto?", conversation="ann")]
    assert [id_.partition(":")[0] for id_ in ids] == ["turn", "m-003", "turn"]


def test_two_rankings_are_merged_by_rank_without_an_exchange_twice():
    def told(*names):
        return [{"id": f"{n} {name}", "prompt": name, "answer": name} for n, name in enumerate(names)]

    assert [each["prompt"] for each in merged(told("a", "a", "b"), told("c", "b", "d"), 9)] == ["a", "c", "b", "d"]
    assert len(merged(told(*"abcd"), told(*"efgh"))) == RECALLED
    assert merged([], told("a")) == told("a")


def test_what_was_said_before_can_be_answered_from(store, path):
    store.add("ann", "What is a grobnik?", "A grobnik is a folding spoon.", time.time())
    pipeline = quark(memory=path)
    values = run(pipeline, ready(pipeline), "What is a grobnik?", conversation="ann")
    assert "folding spoon" in values["reasoning"]["answer"]
    assert json.loads(json.dumps(values)) == values


# -- lessons


def test_a_lesson_changes_what_a_similar_prompt_retrieves_and_nothing_else(path, knowledge):
    def retrieved(text, learning=False):
        pipeline = quark(knowledge=knowledge, model=Fixed("hummingbirds hover"), memory=path, learn=learning)
        return run(pipeline, ready(pipeline), text)["retrieval"]

    before = {text: retrieved(text) for text in (ALIKE, OTHER)}
    assert [found["id"] for found in before[ALIKE]] == ["k-1", "k-2"]
    retrieved(ASKED, learning=True)
    after = retrieved(ALIKE)
    assert [found["id"] for found in after] == ["k-2", "k-1"]
    assert [list(found) for found in after] == [["id", "title", "text", "score"]] * 2
    assert after[0]["score"] > before[ALIKE][1]["score"]
    assert after[1]["score"] < before[ALIKE][0]["score"]
    assert retrieved(OTHER) == before[OTHER]


def test_a_passage_that_was_just_too_far_down_comes_in(path, tmp_path):
    crowd = [{"id": f"k-{n}", "text": "A bird flies backwards."} for n in range(5)]
    last = {"id": "k-9", "text": "A bird flies backwards, hovering."}
    pipeline = quark(knowledge=write(tmp_path / "knowledge.jsonl", [*crowd, last]), memory=path)
    made_ready = ready(pipeline)
    assert "k-9" not in [found["id"] for found in run(pipeline, made_ready, ASKED)["retrieval"]]
    with closing(Conversations(path)) as store:
        store.learn(Lesson(frozenset({"bird", "fly", "backward"}), frozenset({"k-9"}), frozenset({"gone"})))
    assert run(pipeline, made_ready, ASKED)["retrieval"][0]["id"] == "k-9"


@pytest.mark.parametrize("said", ["zorbs glimmer softly", "yes", "I do not know."])
def test_a_doubtful_answer_and_one_that_claims_nothing_reinforce_nothing(path, knowledge, said):
    pipeline = quark(knowledge=knowledge, model=Fixed(said), memory=path, learn=True)
    made_ready = ready(pipeline)
    assert run(pipeline, made_ready, ASKED) == run(pipeline, made_ready, ASKED)
    assert lessons_in(path, "bird") == []


def test_without_learning_a_store_is_read_and_its_file_stays_as_it_is(path, knowledge, store):
    store.add("ann", ASKED, "hummingbirds", time.time())
    store.learn(Lesson(frozenset({"bird", "fly", "backward"}), frozenset({"k-2"}), frozenset({"k-1"})))
    store.close()
    before = path.read_bytes()
    pipeline = quark(knowledge=knowledge, model=Fixed("hummingbirds hover"), memory=path)
    values = run(pipeline, ready(pipeline), ASKED, conversation="ann")
    assert values["retrieval"][0]["id"] == "k-2"
    assert path.read_bytes() == before
    assert pipeline.learns_in is None


def test_learning_changes_the_shape_of_no_agent_s_result(path, knowledge):
    model = Fixed("hummingbirds hover")
    plain, learning = (
        quark(knowledge=knowledge, model=model),
        quark(knowledge=knowledge, model=model, memory=path, learn=True),
    )
    assert run(learning, ready(learning), ASKED) == run(plain, ready(plain), ASKED)


def test_the_version_of_what_an_agent_was_given_changes_with_what_it_draws_on(path, store):
    made_ready = ready(quark(memory=path))
    memory, retrieval = made_ready["memory"].version, made_ready["retrieval"].version
    store.add("ann", "p", "a", time.time())
    assert made_ready["memory"].version != memory
    assert made_ready["retrieval"].version == retrieval
    store.learn(Lesson(frozenset({"bird"}), frozenset({"k-1"}), frozenset()))
    assert made_ready["retrieval"].version != retrieval


# -- many at once


def test_a_process_opens_one_connection_for_all_its_agents(path):
    pipeline = quark(memory=path, learn=True)
    travelled = pickle.loads(pickle.dumps(pipeline))
    made_ready, again = ready(pipeline), ready(travelled)
    one = made_ready["self_improvement"]
    assert made_ready["memory"].store is made_ready["retrieval"].store is again["memory"].store is one


def test_prompts_that_run_at_once_remember_each_its_own(path, knowledge):
    pipeline = quark(knowledge=knowledge, model=Fixed("hummingbirds hover"), memory=path, learn=True)
    made_ready = ready(pipeline)

    async def ask(store, n):
        prompt = Prompt(f"p-{n}", f"{ASKED} {n}", metadata={"conversation": f"user {n % 7}"})
        await asyncio.to_thread(store.add, f"user {n % 7}", f"bird {n}", "backwards", time.time())
        return n, (await results(pipeline, made_ready, prompt))[0]["memory"]

    async def all_of_them():
        with closing(Conversations(path)) as store:
            return await asyncio.gather(*(ask(store, n) for n in range(40)))

    for n, found in asyncio.run(all_of_them()):
        turns = [each["prompt"] for each in found if each["id"].startswith("turn:")]
        assert turns
        assert {int(prompt.split()[1]) % 7 for prompt in turns} == {n % 7}
    assert len(lessons_in(path, "bird")) == 32


def test_a_run_learns_wherever_its_agents_are(way, run_with, path, knowledge):
    pipeline = quark(knowledge=knowledge, model=Fixed("hummingbirds hover"), memory=path, learn=True)
    run_ = run_with(way, [ASKED, OTHER], pipeline, arms=[Arm("async", in_flight=2)])
    assert set(run_.records["status"]) == {"ok"}
    assert run_.manifest["pipeline"]["learns_in"] == str(path)
    (lesson,) = lessons_in(path, "bird")
    assert (lesson.bore, lesson.idle) == ({"k-2"}, {"k-1"})


def test_a_run_of_which_one_arm_learns_is_one_that_learns(inline, run_with, path, knowledge):
    model = Fixed("hummingbirds hover")
    learning = quark(knowledge=knowledge, model=model, memory=path, learn=True)
    run_ = run_with(
        inline, [ASKED], quark(knowledge=knowledge, model=model), arms=[Arm("plain"), Arm("taught", pipeline=learning)]
    )
    assert run_.findings.titled("Latency") == "Latency, learning as it goes"


# -- what is refused


def test_learning_needs_a_memory():
    with pytest.raises(UsageError, match=r"learn=True needs a file to keep what is learnt: give memory=PATH"):
        quark(learn=True)


def test_a_memory_that_is_something_else_is_known_at_once(knowledge):
    with pytest.raises(DataError, match=r"knowledge\.jsonl: no store of conversations, or a damaged one"):
        quark(memory=knowledge)
