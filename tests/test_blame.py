"""Which agent was wrong: the first in the order of the DAG, of those that the answer comes from."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from quark_bench import Dataset, Pipeline, Prompt, agent, bench
from quark_bench.agents.quark import quark
from quark_bench.blame import Judge, blame
from quark_bench.errors import UsageError
from quark_bench.record import NOT_KEPT
from quark_bench.stats import wilson
from quark_bench.summary import summary
from quark_bench.trials import FrameTrials

LAYOUT = (("nlu", ()), ("retrieval", ()), ("reasoning", ("nlu", "retrieval")), ("aside", ("reasoning",)))
JUDGES = [Judge("nlu", "nlu.accuracy", 0.5), Judge("retrieval", "retrieval.recall@5", 0.5)]
FAST = {"on": "inline", "granularity": "chunk", "warmup": 1, "arms": ["async"]}
NAN = float("nan")


def trial(prompt, score=0.0, nlu=1.0, retrieval=1.0, *, fell=(), repeat=0, status=None):
    """A record with its scores, and two attempts of each agent: those in `fell` failed twice, the others at first."""
    place = {"arm": "async", "repeat": repeat, "prompt_id": prompt}
    scores = {"score_exact": score, "score_nlu.accuracy": nlu, "score_retrieval.recall@5": retrieval}
    attempts = [(name, n, "failed" if n == 1 or name in fell else "ok") for name, _ in LAYOUT for n in (1, 2)]
    spans = [place | {"agent": name, "attempt": n, "status": how} for name, n, how in attempts]
    return place | {"status": status or ("failed" if fell else "ok")} | scores, spans


def blamed(*trials):
    """Trials and failures by agent, and the whole of it."""
    records, spans = zip(*trials, strict=True)
    frames = FrameTrials(pd.DataFrame(records), pd.DataFrame([span for each in spans for span in each]))
    (found,) = blame(frames, ["async"], "exact", LAYOUT, "reasoning", JUDGES).arms
    return {each.agent: (each.trials, each.failed) for each in found.blamed if each.trials}, found


def test_the_first_agent_in_the_order_of_the_dag_that_went_wrong_is_blamed():
    wrong = [trial("a", nlu=0.0, retrieval=0.0), trial("b", retrieval=0.4), trial("c")]
    found, told = blamed(*wrong, trial("d", score=1.0, nlu=0.0))
    assert found == {"nlu": (1, 0), "retrieval": (1, 0), None: (1, 0)}
    assert (told.trials, told.wrong) == (4, 3)
    assert {each.agent: each.prompts for each in told.blamed} == {"nlu": ("a",), "retrieval": ("b",), None: ("c",)}


def test_an_agent_that_failed_is_blamed_and_one_that_succeeded_at_last_is_not():
    fallen = [trial(name, fell=[name]) for name in ("retrieval", "reasoning", "aside")]
    found, _ = blamed(*fallen, trial("lost", status="failed"))
    assert found == {"retrieval": (1, 1), "reasoning": (1, 1), "aside": (1, 1), None: (1, 0)}


def test_an_agent_that_the_answer_does_not_come_from_made_no_answer_wrong():
    found, _ = blamed(trial("a", fell=["aside"], status="degraded"), trial("b", fell=["nlu"], status="degraded"))
    assert found == {"nlu": (1, 1), None: (1, 0)}


def test_only_agents_that_the_answer_comes_from_are_judges():
    aside = Judge("aside", "aside.steps", 0.5)
    frames = FrameTrials(pd.DataFrame([trial("a")[0] | {"score_aside.steps": 0.0}]), pd.DataFrame(trial("a")[1]))
    found = blame(frames, ["async"], "exact", LAYOUT, "reasoning", [*JUDGES, aside])
    assert [each.agent for each in found.judges] == ["nlu", "retrieval"]
    assert [each.agent for each in found.arms[0].blamed] == ["nlu", "retrieval", None]


def test_a_score_that_is_missing_blames_nobody_and_an_answer_that_could_not_be_judged_is_not_wrong():
    found, told = blamed(trial("a", nlu=NAN, retrieval=0.0), trial("b", score=NAN, nlu=0.0))
    assert found == {"retrieval": (1, 0)}
    assert (told.trials, told.wrong) == (1, 1)


def test_repeats_of_a_prompt_make_no_interval_narrower():
    once = [trial("a", nlu=0.0), trial("b")]
    again = [trial("a", nlu=0.0, repeat=1), trial("b", repeat=1)]
    one, two = (blamed(*trials)[1].blamed[0].share for trials in (once, once + again))
    assert one == two == wilson(1, 2)


# -- the assistant, whole and broken


async def worst(prompt, call):
    """The passages of the knowledge that have least to do with the prompt."""
    return call.ready.search(prompt.text, limit=1_000)[-5:][::-1]


def broken(each):
    return replace(each, function=worst) if each.name == "retrieval" else each


@pytest.fixture(scope="module")
def assistants(tmp_path_factory):
    """Runs of the assistant as it is, and with a Retrieval that is broken."""
    prompts, out = Dataset.read(Path(__file__).parents[1] / "datasets/quickstart.jsonl"), tmp_path_factory.mktemp("out")
    return [bench(prompts, each, out=out, **FAST) for each in (quark(), quark().with_agents(broken))]


def test_a_broken_retrieval_is_the_culprit_and_a_healthy_one_is_not(assistants):
    whole, spoilt = ({each.agent: each.share for each in run.blame().arms[0].blamed} for run in assistants)
    assert whole["retrieval"].value == 0
    assert spoilt["retrieval"].low > 0.5
    assert "retrieval" in repr(assistants[1].blame())


def test_the_blame_table_is_told_everywhere(assistants):
    run = assistants[1]
    data = json.loads(json.dumps(summary(run)))
    assert data["blame"] == run.blame().as_data()
    assert data["discrimination"][0]["auroc"]["low"] > 0.5
    page = run.report().read_text()
    assert "The blame table, async: " in page
    assert "AUROC" in page


def test_another_scorer_may_say_what_is_wrong_and_only_one_of_answers(assistants):
    assert assistants[0].blame("exact").arms[0].wrong > assistants[0].blame().arms[0].wrong
    with pytest.raises(UsageError, match=r"no score 'exat' of answers; did you mean 'exact'"):
        assistants[0].blame("exat")
    with pytest.raises(UsageError, match=r"no score 'nlu\.accuracy' of answers"):
        assistants[0].blame("nlu.accuracy")


# -- what is kept to judge by


def finder():
    @agent(cache=True)
    async def find(prompt):
        return {"set": {1}, "large": ["x" * 70_000]}.get(prompt.text, [prompt.text])

    @agent
    async def reply(prompt, find):
        return prompt.text

    return Pipeline("finder", [find, reply])


def test_outputs_are_kept_for_agents_that_are_scored_and_for_no_other(tmp_path):
    prompts = Dataset(Prompt(text, text, reference=text, contexts=text) for text in ("set", "large", "fine"))
    run = bench(prompts, finder(), scores=["find.recall", "exact"], out=tmp_path, **FAST)
    kept = run.spans.set_index(["agent", "prompt_id"])["output"]
    assert kept["find", "fine"] == '["fine"]'
    assert kept["find", "set"].startswith(f"{NOT_KEPT}a set that is no JSON")
    assert kept["find", "large"] == f"{NOT_KEPT}70,004 bytes of JSON, more than 64,000"
    assert kept["reply"].isna().all()
    scores = run.records.set_index("prompt_id")["score_find.recall"]
    assert scores["fine"] == 1
    assert scores[["set", "large"]].isna().all()
    silent = bench(prompts, finder(), scores=["exact"], out=tmp_path, **FAST)
    assert silent.spans["output"].isna().all()
    with pytest.raises(UsageError, match="there is no blame without"):
        silent.blame()


def test_an_output_that_comes_from_the_cache_is_kept_as_well(tmp_path):
    prompts = Dataset([Prompt("fine", "fine", contexts="fine")])
    how = FAST | {"scores": ["find.recall"], "cache": tmp_path / "cache.db", "out": tmp_path}
    first, again = (bench(prompts, finder(), **how).spans.set_index("agent") for _ in range(2))
    assert again.loc["find", "status"] == "cached"
    assert again.loc["find", "output"] == first.loc["find", "output"] == '["fine"]'
