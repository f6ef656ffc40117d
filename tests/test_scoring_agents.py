"""Agents judged by what they returned themselves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Prompt
from quark_bench.agents.quark import quark
from quark_bench.errors import UsageError
from quark_bench.record import NOT_KEPT
from quark_bench.resolve import resolve_scorers
from quark_bench.scoring import Answered, judged_agents, score_records, scorers_named

GOLD = ("k-1", "The Eiffel Tower is in Paris.")


def judged(spec, output, prompt, *, kept=True):
    """The score that an output gives its agent."""
    text = None if output is None else json.dumps(output) if kept else output
    outputs = {spec.partition(".")[0]: text}
    return scorers_named([spec])[0].scorer.score(Answered("sync", 0, "p", "a", outputs=outputs), prompt)


def value(spec, output, prompt):
    return judged(spec, output, prompt).value


def about(*contexts, **more):
    return Prompt("p", "?", contexts=contexts, **more)


@pytest.mark.parametrize(
    "output",
    [
        ["x", "k-1", "the eiffel tower is in paris"],
        [7, {"id": "k-1"}, {"text": "The  Eiffel Tower is in\nParis"}],
        [{"id": "x", "text": "no"}, {"id": "k-1", "text": "?"}, {"id": "y", "text": "Eiffel tower is in Paris!"}],
    ],
)
def test_passages_are_found_by_id_or_by_text_in_lists_of_ids_of_texts_and_of_dicts(output):
    assert value("retrieval.recall", output, about(*GOLD)) == 1
    assert value("retrieval.recall@2", output, about(*GOLD)) == 1 / 2
    assert value("retrieval.precision@3", output, about(*GOLD)) == 2 / 3
    assert value("retrieval.mrr", output, about(*GOLD)) == 1 / 2
    assert value("retrieval.mrr@1", output, about(*GOLD)) == 0


@given(
    st.lists(st.sampled_from("abcdef"), max_size=8), st.sets(st.sampled_from("abcdef"), min_size=1), st.integers(1, 9)
)
def test_recall_and_precision_are_shares_of_the_same_hits_and_recall_grows_with_k(found, gold, k):
    prompt = about(*sorted(gold))
    hits = len(set(found[:k]) & gold)
    assert value(f"r.recall@{k}", found, prompt) == hits / len(gold)
    assert value(f"r.precision@{k}", found, prompt) == (hits / len(found[:k]) if found else 0)
    assert value(f"r.recall@{k}", found, prompt) <= value("r.recall", found, prompt)
    assert (value("r.mrr", found, prompt) > 0) == (value("r.recall", found, prompt) > 0)


def test_accuracy_reads_a_text_or_a_dict_and_is_told_as_what_it_was_for_what():
    prompt = about(category="How-to")
    assert value("nlu.accuracy", "how-to ", prompt) == value("nlu.accuracy", {"category": "how-to"}, prompt) == 1
    assert judged("nlu.accuracy", {"intent": "fact"}, prompt).explanation == "fact for How-to"


def test_memories_are_relevant_by_what_the_metadata_names():
    recalled = [{"id": "m-1", "prompt": "How high is it?", "answer": "8 m"}, {"id": "m-2", "prompt": "?", "answer": ""}]
    assert value("memory.relevance", recalled, about(metadata={"memories": ["m-2", "how high is it"]})) == 1
    assert value("memory.relevance", recalled, about(metadata={"memories": []})) == 0
    assert value("memory.relevance", [], about(metadata={"memories": []})) == 1


def test_steps_are_aligned_one_to_one_in_any_order_and_those_that_are_missing_count_zero():
    prompt = about(metadata={"decomposition": ["Boil the water", "Grind the beans", "Pour it over"]})
    plan = {"steps": [{"step": 1, "do": "grind the beans"}, {"step": 2, "do": "boil the water"}]}
    assert value("planning.steps", plan, prompt) == pytest.approx(2 / 3)
    assert value("planning.steps", ["boil the water"] * 3, prompt) == pytest.approx(1 / 3)
    assert value("planning.steps", ["pour it over", "grind beans", "boil water"], prompt) == 1
    assert value("planning.steps", {"steps": []}, prompt) == 0


@pytest.mark.parametrize("spec", ["nlu.accuracy", "r.recall@5", "r.mrr", "r.precision", "memory.relevance", "p.steps"])
def test_a_prompt_without_gold_is_not_judged_an_agent_that_failed_scores_zero_and_one_not_called_nothing(spec):
    assert judged(spec, [], Prompt("p", "?")) is None
    full = about(*GOLD, category="fact", metadata={"memories": ["m"], "decomposition": ["do"]})
    assert judged(spec, None, full).value == 0
    assert judged(spec, None, Prompt("p", "?")) is None
    assert scorers_named([spec])[0].scorer.score(Answered("sync", 0, "p", "a"), full) is None


@pytest.mark.parametrize(
    ("spec", "output", "told"),
    [
        ("r.recall", {"passages": []}, "a dict with passages is no list; return ids, texts, or dicts with id or text"),
        ("r.recall", ["k", {"score": 1}], "item 2 of the list is a dict with score; return ids"),
        ("nlu.accuracy", {"confidence": 1}, "a dict with confidence names no category; return a text"),
        ("p.steps", "do it", "a str is no plan; return a list of steps, or a dict with steps"),
        ("p.steps", [3], "step 1 is a int; return a text, or a dict with do or text"),
    ],
)
def test_what_cannot_be_read_is_unscored_and_told_with_what_can(spec, output, told):
    full = about(*GOLD, category="fact", metadata={"decomposition": ["do"]})
    found = judged(spec, output, full)
    assert found.value is None
    assert told in found.explanation


def test_an_output_that_was_not_kept_is_unscored_and_told():
    found = judged("r.recall", f"{NOT_KEPT}a set that is no JSON", about(*GOLD), kept=False)
    assert (found.value, found.explanation) == (None, "the output of r: not kept: a set that is no JSON")


# -- calibration


def calibrated(output, answer):
    scorers = scorers_named(["critic.calibration", "exact"])
    given = Answered("sync", 0, "p", answer, outputs={"critic": json.dumps(output)})
    rows = score_records([given], {"p": Prompt("p", "?", reference="yes")}, scorers, lambda: 0.0)
    return {row.scorer: row for row in rows}["critic.calibration"]


@pytest.mark.parametrize("output", [0.3, {"doubt": 0.3}, {"confidence": 0.7}])
def test_a_doubt_is_judged_by_whether_the_answer_was_wrong(output):
    assert calibrated(output, "yes").value == pytest.approx(1 - 0.3**2)
    assert calibrated(output, "no").value == pytest.approx(1 - 0.7**2)
    assert calibrated(output, "no").explanation == "doubt 0.30, wrong by exact"


def test_what_tells_no_doubt_is_unscored():
    assert "tells no doubt; return a number from 0 to 1" in calibrated({"doubt": 3}, "yes").explanation


def test_a_calibration_needs_a_score_of_answers_and_judges_by_the_overall_one_if_there_is_one():
    with pytest.raises(UsageError, match="name a scorer of answers too"):
        scorers_named(["critic.calibration", "nlu.accuracy"])
    made = scorers_named(["critic.calibration", "nlu.accuracy", "exact:weight=2", "f1"])
    assert [each.name for each in made] == ["nlu.accuracy", "exact", "f1", "overall", "critic.calibration"]
    assert made[-1].version == "1 by=overall"
    assert dict(made[-2].weights) == {"exact": 2.0, "f1": 1.0}


# -- how they are written, and which fit


def test_names_are_of_agent_and_measure_whatever_the_options():
    made = scorers_named(["r.recall@5", "r.recall@5:threshold=0.8", "r.mrr:name=rank"])
    assert [each.name for each in made] == ["r.recall@5", "r.recall@5_pass", "r.rank"]
    assert judged_agents(made) == ("r",)
    assert judged_agents(scorers_named(["exact"])) == ()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("retrieval.recal@5", "an agent has no measure 'recal'; did you mean 'recall'"),
        ("nlu.accuracy@3", "@ and a number of 1 or more stand after recall, precision, mrr and relevance only"),
        ("retrieval.recall@0", "@ and a number of 1 or more"),
        ("retrival.recall@5", "pipeline 'quark': agent='retrival' is no agent of it; did you mean 'retrieval'"),
        ("self_improvement.calibration:weight=2", "it takes no options"),
    ],
)
def test_what_is_written_wrong_is_told_with_the_nearest(spec, told):
    with pytest.raises(UsageError, match=rf"^--score {spec.partition(':')[0]}.*{told}"):
        resolve_scorers([spec, "exact"], Dataset([about()]), [quark()])


def test_agents_are_named_as_the_pipeline_does():
    (scorer,) = resolve_scorers(["SelfImprovement.accuracy"], Dataset([about()]), [quark()])
    assert scorer.name == "self_improvement.accuracy"


@pytest.mark.parametrize(
    ("prompt", "fit"),
    [
        (about(), []),
        (about("k-1"), ["retrieval.recall@5"]),
        (about(category="fact"), ["nlu.accuracy"]),
        (about(category="stem"), []),
        (about(metadata={"decomposition": ["do"], "memories": []}), ["memory.relevance", "planning.steps"]),
        (about(reference="yes"), ["exact", "contains", "number", "f1", "self_improvement.calibration"]),
    ],
)
def test_where_nobody_says_agents_are_scored_by_what_the_data_set_has_gold_for(prompt, fit):
    assert [each.name for each in resolve_scorers(None, Dataset([prompt]), [quark()])] == fit
