"""An agent's call made in this process, in another one, and on a Dask cluster: the trial is the same."""

import asyncio
import dataclasses
import json
import os
import pickle
from contextlib import asynccontextmanager

import pytest

from quark_bench import redact
from quark_bench.agent import Call, agent
from quark_bench.execute.attempt import FailedElsewhereError
from quark_bench.execute.cluster_spec import read_spec
from quark_bench.execute.dask_agents import DaskAgents
from quark_bench.execute.processes import Processes
from quark_bench.execute.travelling import moved
from quark_bench.model import Usage
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy

from .pipelines import kinds
from .places import Trials, moved_to, shipped
from .test_executors import FAULTS

PLACES = ["here", "process", "dask"]


@pytest.fixture(params=PLACES)
def place(request):
    return request.param


@pytest.fixture
def trials_at(request):
    """`trials_at(place, pipeline, texts)`: the trials' records and spans, with all agents called at the place."""

    @asynccontextmanager
    async def at(place, pipeline, shipment):
        if place == "here":
            yield pipeline
            return
        if place == "process":
            agents = Processes(shipment, 2)
        else:
            agents = DaskAgents(read_spec(request.getfixturevalue("cluster")), shipment, 2)
        async with moved_to(agents, pipeline) as elsewhere:
            if place == "dask":
                await agents.open()
            yield elsewhere

    def made(place, pipeline, texts, strategy=Strategy.PARALLEL):
        async def tried():
            async with at(place, *shipped(pipeline)) as elsewhere:
                return await Trials(elsewhere, strategy).all(texts)

        return asyncio.run(tried())

    return made


def essence(trials):
    """What must be equal wherever agents are called: all but times."""
    return [
        (
            [record.status, record.answer, record.error, record.error_agent, record.attempts, record.fallbacks],
            [record.tokens_in, record.tokens_out, record.cost_usd],
            [(s.agent, s.attempt, s.status, s.error, s.tokens_in, s.tokens_out, s.first_token_s) for s in spans],
        )
        for record, spans in trials
    ]


PIPELINES = {
    "kinds.py:pipeline": ["this"],
    "faults.py:in_async": [*(text for text in FAULTS if text != "hang"), "fine"],
    "faults.py:sync": [*(text for text in FAULTS if text != "hang"), "fine"],
    "faults.py:unstorable": ["set", "fine"],
    "faults.py:odd": ["any"],
    "faults.py:optional": ["soup"],
    "faults.py:descendants": ["any"],
    "faults.py:retried": ["any"],
    "policies.py:by_value": ["soup"],
    "policies.py:by_function": ["soup"],
    "policies.py:by_agent": ["soup"],
    "policies.py:broken_too": ["soup"],
    "policies.py:keys": ["up", "down"],
    "told.py:drawn": ["one", "two"],
}


@pytest.mark.parametrize("elsewhere", PLACES[1:])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_trial_is_the_same_wherever_its_agents_are_called(trials_at, elsewhere, pipeline):
    patient, texts = with_limit(pipeline, 30), PIPELINES[pipeline]
    here, there = (trials_at(each, patient, texts) for each in ("here", elsewhere))
    assert essence(there) == essence(here)


def with_limit(pipeline, timeout_s):
    """The pipeline with the same limit for all agents: a process that has to be started first takes its time."""

    def limited(each):
        return dataclasses.replace(each, policy=dataclasses.replace(each.policy, timeout_s=timeout_s))

    return shipped(pipeline)[0].with_agents(limited)


@pytest.mark.parametrize("pipeline", ["faults.py:in_async", "faults.py:sync"])
def test_a_call_has_no_more_time_than_its_limit(trials_at, place, pipeline):
    ((record, spans),) = trials_at(place, with_limit(pipeline, 1.5), ["hang"])
    assert (record.status, record.error) == ("failed", "TimeoutError: no result within 1.5 s")
    assert (spans[0].agent, spans[0].status, spans[0].error) == ("faulty", "failed", record.error)


@pytest.mark.parametrize("strategy", Strategy)
def test_agents_are_called_at_the_place(trials_at, place, strategy):
    ((record, _),) = trials_at(place, "placed.py:somewhere", ["any"], strategy)
    assert (record.answer == str(os.getpid())) is (place == "here")


def test_every_kind_of_agent_works(trials_at, place):
    ((record, _),) = trials_at(place, "kinds.py:pipeline", ["this"])
    assert json.loads(record.answer) == [f"{word} this" for word in kinds.SAID]


@pytest.mark.parametrize("elsewhere", PLACES[1:])
def test_what_is_spent_at_a_model_is_in_the_span_also_where_the_call_failed(trials_at, elsewhere):
    here, there = (trials_at(each, "placed.py:asking", ["hello", "fail"]) for each in ("here", elsewhere))
    assert essence(there) == essence(here)
    spent = [(span.tokens_in, span.tokens_out, span.first_token_s) for span in there[0][1]]
    assert spent == [(3, 4, 0.25), (1, 2, 0.25)]
    assert [span.tokens_in for span in there[1][1]] == [1, 0]
    assert there[0][0].simulated_s == 3.0


def test_a_call_has_its_circumstances_and_what_was_set_up_at_the_place(trials_at, place):
    ((record, _),) = trials_at(place, "placed.py:circumstantial", ["any"])
    word, name, prompt_id, attempt, *_, limit_s, _ = json.loads(record.answer)
    assert (word, name, prompt_id, attempt, limit_s) == ("ready", "circumstances", "p-0", 1, 20)
    ((here, _),) = trials_at("here", "placed.py:circumstantial", ["any"])
    assert record.answer == here.answer


def test_a_class_of_the_script_is_the_same_class_when_it_comes_back(trials_at, place):
    ((record, _),) = trials_at(place, "placed.py:finding", ["any"])
    assert (record.status, record.answer) == ("ok", "any"), record.error


@pytest.mark.filterwarnings("ignore:Sending large graph")
def test_a_value_as_large_as_a_file_travels(trials_at, place):
    ((record, _),) = trials_at(place, "placed.py:heavy", ["any"])
    assert record.answer == "20000000"


def test_a_plain_value_stands_in_where_the_place_is_gone():
    async def gone(parcel):
        raise ConnectionError("nobody there")

    fragile = agent(name="fragile", fallback="sorry")(lambda prompt: "never")
    pipeline = Pipeline("gone", [fragile]).with_agents(lambda each: moved(each, gone))
    record, _ = asyncio.run(Trials(pipeline)())
    assert (record.status, record.answer, record.error) == ("degraded", "sorry", "ConnectionError: nobody there")


def test_secrets_of_this_process_are_no_part_of_an_error_from_elsewhere(monkeypatch):
    monkeypatch.setenv("HIDDEN_API_KEY", "correct-horse-battery")
    redact.refresh()

    async def failing(parcel):
        return pickle.dumps((None, "ValueError: correct-horse-battery refused", Usage()))

    sent = moved(agent(name="any")(lambda prompt: "never"), failing).function
    call = Call("any", "p-1", 0, 1, 0, None, None, "run", None, False)
    with pytest.raises(FailedElsewhereError, match=r"ValueError: \[redacted\] refused"):
        asyncio.run(sent(call=call))
    monkeypatch.undo()
    redact.refresh()
