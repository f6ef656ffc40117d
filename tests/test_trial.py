"""One trial on one event loop: order, containment, limits, cancellation."""

import asyncio
import gc
import sys
import time

import pytest

from quark_bench.agent import agent
from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import Bench, Case, Wired, run_trial
from quark_bench.execute.values import answer_text, check_travels
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy

PARALLEL, SEQUENTIAL = Strategy.PARALLEL, Strategy.SEQUENTIAL
both = pytest.mark.parametrize("strategy", Strategy)


def new_bench(*wired):
    bench = Bench("here:1", Threads(), Deadlines())
    for each in wired:
        bench.deadlines.refine(each.shortest_limit_s)
    return bench


def case(text="hello", arm="arm"):
    return Case.of(Prompt("p-1", text), arm, 0, 0, "run")


def tried(strategy, *agents, answer=None, trials=1):
    """Record and spans of the last of some trials, one after another in one task."""
    wired = Wired(Pipeline("tried", agents, answer=answer))

    async def made():
        bench = new_bench(wired)
        for _ in range(trials):
            ended = await asyncio.wait_for(run_trial(wired, case(), strategy, bench), 30)
        return ended

    return asyncio.run(made())


@both
def test_a_trial_calls_every_agent_once_with_what_it_needs(strategy):
    async def one(prompt):
        return prompt.text

    def two(prompt, one):
        return [one, one]

    async def three(one, two):
        return [one, *two]

    record, spans = tried(strategy, three, two, one)
    assert (record.status, record.answer) == ("ok", '["hello", "hello", "hello"]')
    assert [(span.agent, span.attempt, span.status) for span in spans] == [
        ("one", 1, "ok"),
        ("two", 1, "ok"),
        ("three", 1, "ok"),
    ]
    assert record.attempts == 3
    assert record.critical_path_s <= record.work_s <= record.latency_s


def test_sequential_calls_agents_one_at_a_time_in_declared_order():
    order = []

    def named(name):
        async def step(prompt):
            order.append(name)
            await asyncio.sleep(0.002)
            order.append(name)

        return agent(name=name)(step)

    tried(SEQUENTIAL, *map(named, "cab"), answer="a")
    assert "".join(order) == "ccaabb"


def test_parallel_begins_every_agent_whose_inputs_are_there():
    begun = set()

    def named(name):
        async def step(prompt):
            begun.add(name)
            while len(begun) < 3:
                await asyncio.sleep(0)
            return name

        return agent(name=name, timeout_s=20)(step)

    record, _ = tried(PARALLEL, *map(named, "abc"), answer="a")
    assert record.status == "ok"


@both
@pytest.mark.parametrize(
    "raised", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration]
)
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_an_agent_raises_is_its_records_error(strategy, raised, is_async):
    if is_async:

        async def culprit(prompt):
            raise raised

    else:

        def culprit(prompt):
            raise raised

    record, _ = tried(strategy, culprit, agent(name="other")(lambda prompt: "fine"), answer="other")
    assert (record.status, record.error_agent, record.answer) == ("failed", "culprit", "fine")


@both
def test_an_agent_that_clings_to_its_task_harms_no_later_one(strategy):
    """It swallows two cancellations; afterwards another agent's own CancelledError is still that agent's."""

    @agent(timeout_s=0.05)
    async def clinging(prompt):
        for _ in range(2):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                continue
        return "at last"

    @agent
    async def cancelling(prompt, clinging=None):
        raise asyncio.CancelledError

    record, spans = tried(strategy, clinging, cancelling)
    assert record.error == "TimeoutError: no result within 0.05 s"
    assert [span.status for span in spans] == ["failed", "failed"]
    assert spans[1].error.startswith("CancelledError")


@both
def test_a_limit_ends_an_attempt_and_not_the_next_one(strategy):
    @agent(timeout_s=0.05, retries=1, backoff_s=0)
    async def slow_at_first(prompt, call):
        await asyncio.sleep(30 if call.attempt == 1 else 0)
        return call.attempt

    record, spans = tried(strategy, slow_at_first)
    assert (record.status, record.answer, record.attempts) == ("ok", "2", 2)
    assert spans[0].error == "TimeoutError: no result within 0.05 s"


def test_a_sync_agent_that_hangs_is_left_behind():
    @agent(timeout_s=0.05)
    def hung(prompt):
        time.sleep(1)

    record, _ = tried(PARALLEL, hung)
    assert record.error == "TimeoutError: no result within 0.05 s"
    assert record.latency_s < 1


@both
def test_a_trial_that_is_cancelled_from_outside_stops_its_agents(strategy):
    stopped = []

    def waiting(name):
        async def step(prompt):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                stopped.append(name)
                raise

        return agent(name=name)(step)

    async def cancelled():
        wired = Wired(Pipeline("cancelled", map(waiting, "ab"), answer="a"))
        task = asyncio.create_task(run_trial(wired, case(), strategy, new_bench(wired)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)

    asyncio.run(cancelled())
    assert stopped == (["a", "b"] if strategy is PARALLEL else ["a"])


def test_a_trial_that_is_thrown_away_calls_no_further_agent(monkeypatch):
    unraisable, called = [], []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    async def first(prompt):
        await asyncio.sleep(30)

    async def second(prompt):
        called.append("second")
        await asyncio.sleep(0)

    async def begun():
        wired = Wired(Pipeline("thrown", [first, second], answer="first"))
        kept.append(asyncio.create_task(run_trial(wired, case(), SEQUENTIAL, new_bench(wired))))
        await asyncio.sleep(0)

    kept = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begun())
    loop.close()
    kept.clear()
    gc.collect()
    assert (unraisable, called) == ([], [])


def test_arms_share_seeds_and_not_what_calls_are_known_by():
    one, other = case(arm="sync"), case(arm="async")
    assert one.seed == other.seed
    assert one.run_key != other.run_key


def test_a_set_up_that_fails_names_its_agent():
    def fail():
        raise OSError("no such index")

    with pytest.raises(ExecutionError, match="set-up of agent 'reader' failed: OSError: no such index"):
        Wired(Pipeline("unready", [agent(name="reader", setup=fail)(lambda prompt: "never")]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("text", "text"),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        ({"b": 1, "a": "ü"}, '{"a": "ü", "b": 1}'),
        ({"answer": "this", "passages": {1, 2}}, "this"),
        ({"answer": None}, None),
    ],
)
def test_an_answer_is_stored_as_text(value, text):
    assert answer_text(value) == text


def test_a_text_of_a_class_of_its_own_becomes_a_plain_one():
    class Loud(str):
        def __str__(self):
            return self.upper()

    assert type(answer_text(Loud("quiet"))) is str
    assert answer_text(Loud("quiet")) == "quiet"


@pytest.mark.parametrize("value", [{1}, b"bytes", object(), [object()]])
def test_what_is_neither_text_nor_json_is_no_answer(value):
    with pytest.raises(TypeError, match="cannot be stored as text"):
        answer_text(value)


class OneWayError(Exception):
    def __init__(self, order, customer):
        super().__init__(f"{order} {customer}")


@pytest.mark.parametrize("value", [(n for n in "ab"), OneWayError(1, 2), {"open": [time, OneWayError(1, 2)]}])
def test_what_does_not_come_back_whole_cannot_be_passed_on(value):
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        check_travels(value)


@pytest.mark.parametrize("value", [[1, {"a": (2, 3)}], {1, 2}, time.sleep, lambda: 1])
def test_what_pickles_either_way_can_be_passed_on(value):
    check_travels(value)
