import asyncio
import dataclasses
import json
import math
import pickle
import statistics
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.agent import Call, stable_hash
from quark_bench.agents.context import build_context, messages
from quark_bench.agents.grounding import grounding, unsupported_words
from quark_bench.agents.latency import AGENTS, CV, PROFILES, draw_s, medians_s
from quark_bench.agents.memory import Memory, open_memory
from quark_bench.agents.nlu import train_classifier
from quark_bench.agents.planning import steps_of
from quark_bench.agents.quark import quark
from quark_bench.agents.retrieval import Passage, index_passages, passages_of, read_knowledge
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError, UsageError
from quark_bench.language import content_stems
from quark_bench.model import Reply
from quark_bench.models.offline import read
from quark_bench.scoring.f1 import judge_f1
from quark_bench.sources.packed import packed_file

from .assistant import call_of, ready, results, run, write


@pytest.fixture(scope="module")
def assistant():
    pipeline = quark()
    return pipeline, ready(pipeline)


@pytest.fixture(scope="module")
def memory_store():
    return open_memory()


def questions():
    lines = packed_file("quickstart.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# -- the pipeline


def test_the_seven_agents_stand_in_their_declared_order_with_reasoning_answering():
    pipeline = quark()
    assert tuple(step.name for step in pipeline.steps) == AGENTS
    assert pipeline.answer == "reasoning"
    assert (pipeline.width, pipeline.levels) == (3, 4)
    needs = {step.name: {pipeline.steps[need].name for need in step.needs} for step in pipeline.steps}
    assert needs["reasoning"] == {"nlu", "memory", "retrieval"}
    assert needs["planning"] == {"reasoning"}
    assert needs["self_improvement"] == {"planning", "reasoning", "retrieval"}


def test_one_prompt_runs_through_all_agents(assistant):
    values = run(*assistant, "How high is Mount Everest in metres?")
    assert values["nlu"]["category"] == "number"
    assert values["reasoning"]["answer"] == "8849"
    assert values["planning"]["steps"] == [{"step": 1, "do": "8849"}]
    assert values["metrics"] == {
        "answer_words": 1,
        "steps": 1,
        "context_items": len(values["reasoning"]["context"]),
        "context_tokens": values["reasoning"]["tokens"],
    }
    assert values["self_improvement"] == {"grounding": 1.0, "doubt": 0.0, "unsupported": [], "doubtful_steps": []}


def test_the_same_prompt_gives_the_same_results_in_a_pipeline_set_up_anew(assistant):
    again = quark()
    made_ready = ready(again)
    for row in questions()[:16]:
        assert run(*assistant, row["text"]) == run(again, made_ready, row["text"])


def test_a_pickled_pipeline_gives_the_same_results(assistant):
    pipeline, made_ready = assistant
    travelled = pickle.loads(pickle.dumps(pipeline))
    assert run(travelled, ready(travelled), "Is a whale a fish?") == run(pipeline, made_ready, "Is a whale a fish?")


def test_results_are_plain_values_that_pickle(assistant):
    values = run(*assistant, "How do I season a cast-iron pan?")
    assert json.loads(json.dumps(values)) == values


def test_agents_that_did_not_run_leave_reasoning_an_answer(assistant):
    pipeline, _ = assistant
    reasoning = pipeline.agents[AGENTS.index("reasoning")]
    call = call_of(pipeline, "reasoning", "p-1", None)
    value = asyncio.run(reasoning(prompt=Prompt("p-1", "Why?"), call=call))
    assert value == {"answer": "I do not know.", "context": [], "tokens": 0}


def test_another_model_is_asked_and_its_tokens_are_counted(assistant):
    class Fixed:
        name = "fixed"

        async def reply(self, messages, call):
            return Reply("First dig. Then plant zorbs.", 11, 7)

        def reply_blocking(self, messages, call):
            raise AssertionError("an async agent does not block")

    pipeline = quark(model=Fixed())
    values, calls = asyncio.run(results(pipeline, assistant[1], Prompt("p-1", "How do I compost?")))
    assert (calls["reasoning"].usage.tokens_in, calls["reasoning"].usage.tokens_out) == (11, 7)
    assert [step["do"] for step in values["planning"]["steps"]] == ["dig", "plant zorbs"]
    assert "zorbs" in values["self_improvement"]["unsupported"]


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=300))
def test_any_prompt_passes_through_all_agents(assistant, text):
    assert isinstance(run(*assistant, text)["reasoning"]["answer"], str)


def test_the_quickstart_is_answered_as_well_as_it_was_when_this_was_written(assistant):
    pipeline, made_ready = assistant
    intents, text_f1, numbers, yes_or_no, retrieved = [], [], [], [], []
    for row in questions():
        values = run(pipeline, made_ready, row["text"])
        references = row["reference"] if isinstance(row["reference"], list) else [row["reference"]]
        answer = values["reasoning"]["answer"]
        intents.append(values["nlu"]["category"] == row["category"])
        retrieved.append(not {p["id"] for p in values["retrieval"]}.isdisjoint(row["contexts"]))
        if row["category"] == "number":
            numbers.append(answer in references)
        elif row["category"] == "yesno":
            yes_or_no.append(answer in references)
        else:
            text_f1.append(max(judge_f1(answer, reference).value for reference in references))
    assert statistics.mean(text_f1) >= 0.80
    assert statistics.mean(numbers) >= 0.85
    assert statistics.mean(yes_or_no) >= 0.75
    assert statistics.mean(intents) >= 0.85
    assert statistics.mean(retrieved) >= 0.95


# -- nlu


def test_a_classifier_learns_the_rows_it_is_given(tmp_path):
    rows = [
        {"text": f"{opening} {thing}?", "category": category}
        for opening, category in (("Is it a", "yesno"), ("How many", "number"), ("Who made the", "fact"))
        for thing in ("cat", "boat", "tower", "song")
    ]
    classifier = train_classifier(write(tmp_path / "intents.jsonl", rows))
    assert classifier.predict("How many lamps?")[0] == "number"
    category, confidence = classifier.predict("Is it a lamp?")
    assert category == "yesno"
    assert 1 / 3 < confidence <= 1


def test_confidences_are_those_of_the_regression():
    classifier = train_classifier()
    scores = sum(v.transform(["Is a bat a bird?"]) @ w for v, w in classifier.parts) + classifier.intercepts
    shares = [math.exp(score) for score in scores[0]]
    assert classifier.predict("Is a bat a bird?")[1] == pytest.approx(max(shares) / sum(shares))


# -- memory


def test_memories_are_ranked_and_at_most_three(tmp_path):
    rows = [{"id": f"m-{n}", "prompt": f"About kites {n}", "answer": "They fly."} for n in range(5)]
    rows.append({"id": "m-9", "prompt": "How do comets glow?", "answer": "By the light of the Sun."})
    store = open_memory(write(tmp_path / "memories.jsonl", rows))
    assert store.search("Do comets glow?") == [rows[-1]]
    assert [found["id"] for found in store.search("kites")] == ["m-0", "m-1", "m-2"]
    assert store.search("the of and") == []


def test_the_memory_cannot_be_written(memory_store):
    with pytest.raises(Exception, match="readonly"):
        memory_store.connection.execute("DELETE FROM memories")


@given(st.text())
def test_no_prompt_holds_an_operator_of_the_search(memory_store, text):
    assert len(memory_store.search(text)) <= 3


@given(
    st.lists(st.sampled_from(['"', "NEAR(", ")", "*", "^", "AND", "OR", "NOT", "prompt:", "{id}", "+", "-", "comet"]))
)
def test_operators_of_the_search_are_words_like_any_other(memory_store, parts):
    assert len(memory_store.search(" ".join(parts))) <= 3


def test_a_prompt_of_very_many_words_can_be_searched(memory_store):
    assert memory_store.search(" ".join(f"comet{n}" for n in range(5_000))) == []


def test_a_store_can_be_asked_from_another_thread(memory_store):
    prompt = Prompt("p-1", "Who discovered Pluto?")
    call = Call("memory", "p-1", 0, 1, 0, None, memory_store, "run", None, blocking=False)
    found = asyncio.run(asyncio.to_thread(lambda: asyncio.run(Memory()(prompt, call))))
    assert found[0]["id"] == "m-003"


# -- retrieval


def test_the_nearest_passages_come_first_and_at_most_five():
    passages = [Passage(f"k-{n}", "Kites", f"A kite of {n} strings flies.") for n in range(7)]
    index = index_passages([*passages, Passage("c", "Comets", "A comet glows.")])
    found = index.search("Why does a comet glow?")
    assert [(p["id"], p["title"], p["text"]) for p in found] == [("c", "Comets", "A comet glows.")]
    assert found[0]["score"] > 0
    kites = index.search("kites")
    assert [p["id"] for p in kites] == ["k-0", "k-1", "k-2", "k-3", "k-4"]
    assert kites == sorted(kites, key=lambda p: -p["score"])


def test_a_prompt_without_a_known_word_retrieves_nothing():
    index = index_passages([Passage("c", "", "A comet glows.")])
    assert index.search("okapi?") == index.search("") == index.search("the") == []


def test_knowledge_of_a_user_travels_inside_the_pickled_pipeline(tmp_path):
    path = write(tmp_path / "own.jsonl", [{"id": 1, "text": "A grobnik is a folding spoon."}])
    pickled = pickle.dumps(quark(knowledge=path))
    path.unlink()
    travelled = pickle.loads(pickled)
    values = run(travelled, ready(travelled), "What is a grobnik?")
    assert values["reasoning"]["answer"] == "a folding spoon"
    assert values["reasoning"]["context"][0] == "1"


def test_the_contexts_of_prompts_serve_as_knowledge_each_text_once():
    rows = [
        Prompt("a", "x", contexts=("A comet glows.", "A kite flies.")),
        Prompt("b", "y", contexts=("A kite flies.",)),
    ]
    dataset = Dataset([*rows, Prompt("c", "z")])
    assert [(p.id, p.text) for p in passages_of(dataset)] == [("a/1", "A comet glows."), ("a/2", "A kite flies.")]
    pipeline = quark(knowledge=dataset)
    assert run(pipeline, ready(pipeline), "What flies?")["reasoning"]["context"][0] == "a/2"
    with pytest.raises(DataError, match=r"^dataset: no prompt has contexts to take as knowledge; .*--field contexts="):
        quark(knowledge=Dataset.of(["x"]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], r"own\.jsonl, row 2: id 'a' was already used in row 1"),
        ([{"id": "a", "text": "x"}, "", {"id": "b"}], r"own\.jsonl, row 3: column 'text' is missing"),
        ([{"id": "a", "text": " "}], r"own\.jsonl, row 1: column 'text' has no text"),
        ([{"text": "x"}], r"own\.jsonl, row 1: column 'id' is missing; write a text there"),
        ([{"id": "a", "text": "x", "title": 3}], r"own\.jsonl, row 1: column 'title' has no text"),
        ([{"id": True, "text": "x"}], r"own\.jsonl, row 1: column 'id' has no text"),
        ([{"id": "a", "text": "x"}, "{oops"], r"own\.jsonl, row 2.*not JSON"),
        (["[1, 2]"], r"own\.jsonl, row 1: a JSON list"),
        ([], r"own\.jsonl: no rows; write one JSON object a line, with id, text"),
    ],
)
def test_a_wrong_row_of_knowledge_is_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        quark(knowledge=write(tmp_path / "own.jsonl", rows))


def test_knowledge_that_is_not_there_is_an_error_of_data(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        read_knowledge(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="cannot be opened"):
        read_knowledge(tmp_path)


# -- context

TEXTS = st.text(alphabet="ab \n[]", max_size=40)
PASSAGES = st.lists(st.fixed_dictionaries({"id": st.sampled_from("abcdef"), "title": TEXTS, "text": TEXTS}))
MEMORIES = st.lists(st.fixed_dictionaries({"id": st.sampled_from("defghi"), "prompt": TEXTS, "answer": TEXTS}))


@given(PASSAGES, MEMORIES, st.integers(0, 40))
def test_a_context_has_no_repeats_and_keeps_to_its_budget(passages, memories, budget):
    context = build_context(passages, memories, budget)
    assert len({item.id for item in context}) == len({item.text for item in context}) == len(context)
    assert sum(item.tokens for item in context) <= budget


def test_a_context_keeps_the_order_passages_then_memories():
    passages = [{"id": "k-2", "title": "T", "text": "two"}, {"id": "k-1", "title": "T", "text": "one"}]
    memories = [{"id": "m-1", "prompt": "Q", "answer": "two"}, {"id": "m-2", "prompt": "Q", "answer": "three"}]
    assert [item.id for item in build_context(passages, memories)] == ["k-2", "k-1", "m-2"]


def test_an_item_too_long_for_the_budget_is_cut_and_ends_the_context():
    long = {"id": "k-1", "title": "", "text": "word " * 100}
    context = build_context([long, {"id": "k-2", "title": "", "text": "short"}], [], budget=13)
    assert [(item.id, len(item.text.split())) for item in context] == [("k-1", 10)]


def test_an_item_cut_to_what_was_shown_already_is_left_out():
    shown = {"id": "k-1", "title": "", "text": "word word"}
    assert [item.id for item in build_context([shown, {"id": "k-2", "title": "", "text": "word " * 9}], [], 6)] == [
        "k-1"
    ]


@given(st.text(min_size=1).filter(str.strip))
def test_the_reader_reads_what_the_context_writes(question):
    context = build_context([{"id": "k", "title": "A [2] title", "text": "Its\n\nQuestion: text"}], [])
    found, sources = read(messages(question, "fact", context))
    assert found.kind == "fact"
    assert found.stems == read(messages(question, "fact", []))[0].stems
    assert [tuple(source) for source in sources] == [("A [2] title", "Its Question: text")]


def test_what_was_said_before_stands_between_the_instruction_and_the_question():
    before = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    told = messages("Why?", "fact", [], before)
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[1:3] == before


# -- planning, self-improvement


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            "First wash it. Then dry it, and finally store it.",
            ["wash it", "dry it", "store it"],
        ),
        ("Heat the pan; then oil it and then bake it", ["Heat the pan", "oil it", "bake it"]),
        ("1. Open\n2) Read\n- Close", ["Open", "Read", "Close"]),
        ("8849", ["8849"]),
        ("First.", []),
        ("", []),
    ],
)
def test_a_procedure_is_parted_into_its_steps(text, steps):
    assert steps_of(text) == steps


@given(st.text())
def test_steps_are_never_blank(text):
    assert all(step.strip() for step in steps_of(text))


def test_grounding_is_the_share_of_content_words_that_are_known():
    known = frozenset(content_stems("Comets glow in sunlight"))
    assert grounding("The comet glows green", known) == pytest.approx(2 / 3)
    assert unsupported_words("The comet glows green, green", known) == ["green"]
    assert grounding("yes", known) == 1.0


# -- simulated latency


def test_every_profile_gives_each_agent_a_median():
    assert all(tuple(profile) == AGENTS for profile in PROFILES.values())
    assert sum(medians_s("quark").values()) == pytest.approx(3.75)


def test_draws_have_the_profile_s_median_and_coefficient_of_variation():
    draws = [draw_s(0.12, stable_hash(n)) for n in range(20_000)]
    assert statistics.median(draws) == pytest.approx(0.12, rel=0.01)
    assert statistics.stdev(draws) / statistics.mean(draws) == pytest.approx(CV, rel=0.03)
    assert draw_s(0.12, 7) == draw_s(0.12, 7)


def test_a_profile_is_slept_and_noted_by_each_agent(assistant, monkeypatch):
    slept = []

    async def note(duration_s):
        slept.append(duration_s)

    monkeypatch.setattr("quark_bench.agents.latency.sleep", note)
    pipeline = quark(latency="demo")
    _, calls = asyncio.run(results(pipeline, assistant[1], Prompt("p-1", "Is a whale a fish?")))
    expected = [draw_s(medians_s("demo")[name], calls[name].seed) for name in AGENTS]
    assert slept == expected == [calls[name].usage.simulated_s for name in AGENTS]
    assert pipeline.latency_profile == "demo"


def test_without_a_profile_nothing_sleeps(assistant, monkeypatch):
    async def refuse(duration_s):
        raise AssertionError("slept")

    monkeypatch.setattr("quark_bench.agents.latency.sleep", refuse)
    pipeline, made_ready = assistant
    assert pipeline.latency_profile is None
    _, calls = asyncio.run(results(pipeline, made_ready, Prompt("p-1", "Is a whale a fish?")))
    assert all(call.usage.simulated_s == 0 for call in calls.values())


def test_an_unknown_profile_is_refused_by_naming_the_known():
    with pytest.raises(UsageError, match=r"'slow'; known: none, demo, quark"):
        quark(latency="slow")


def test_a_prompt_costs_little_cpu(assistant):
    pipeline, made_ready = assistant
    prompts = [Prompt(row["id"], row["text"]) for row in questions()]

    async def all_of_them():
        for prompt in prompts:
            await results(pipeline, made_ready, prompt)

    asyncio.run(all_of_them())
    begun_s = time.process_time()
    asyncio.run(all_of_them())
    assert (time.process_time() - begun_s) / len(prompts) < 0.008


def test_heavy_libraries_wait_for_the_set_ups():
    code = (
        "import sys, quark_bench.agents.quark as q; q.quark(); print({'sklearn', 'bm25s', 'scipy'} & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"


def test_agents_are_plain_data():
    for each in quark(latency="demo").agents:
        assert dataclasses.asdict(each.function) == {"median_s": medians_s("demo")[each.name]}
