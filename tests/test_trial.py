"""One trial on one event loop: order, containment, limits, cancellation."""

import asyncio
import gc
import sys
import time

import pytest

from quark_bench.agent import Call, agent
from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.step import Bench, Case, Wired
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
from quark_bench.execute.values import answer_text, check_travels
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy
from quark_bench.policy import Breaker
from quark_bench.record import Span

from .places import CANT_START, Starved

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
        return ended[:2]

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


def failing(name="fragile", times=99, **options):
    """An agent that fails so many times."""
    calls = []

    @agent(name=name, backoff_s=0, **options)
    async def made(prompt, call):
        calls.append(call.attempt)
        if len(calls) <= times:
            raise ValueError(f"{name} {len(calls)}")
        return f"{name} at last"

    return made


async def reading(fragile):
    return f"read {fragile}"


@both
@pytest.mark.parametrize(
    ("fallback", "answer"),
    [
        ("a value", "read a value"),
        (None, "read None"),
        (lambda prompt: f"told {prompt.text}", "read told hello"),
        (agent(name="second")(lambda call: call.agent), "read second"),
    ],
)
def test_a_fallback_answers_for_an_agent_that_failed_and_degrades_the_record(strategy, fallback, answer):
    record, spans = tried(strategy, failing(retries=1, fallback=fallback), reading)
    assert (record.status, record.answer, record.fallbacks) == ("degraded", answer, 1)
    assert (record.error, record.error_agent) == ("ValueError: fragile 2", "fragile")
    assert [(span.agent, span.attempt, span.status) for span in spans] == [
        ("fragile", 1, "failed"),
        ("fragile", 2, "failed"),
        ("fragile", 3, "fallback"),
        ("reading", 1, "ok"),
    ]
    assert spans[2].error is None


@both
def test_a_fallback_runs_under_its_own_policy_and_has_a_fallback_in_turn(strategy):
    @agent(timeout_s=0.05, fallback="at last")
    async def slow(prompt):
        await asyncio.sleep(30)

    second = failing("second", times=1, retries=1)
    record, spans = tried(strategy, failing(fallback=second), reading)
    assert (record.status, record.answer, record.attempts) == ("degraded", "read second at last", 4)
    assert [span.status for span in spans[:3]] == ["failed", "failed", "fallback"]
    record, spans = tried(strategy, failing(fallback=slow), reading)
    assert (record.answer, spans[1].error) == ("read at last", "TimeoutError: no result within 0.05 s")
    assert record.error == "ValueError: fragile 1"


@both
def test_an_agent_whose_fallback_fails_as_well_has_failed_and_says_both(strategy):
    record, spans = tried(strategy, failing(fallback=failing("second")), reading)
    assert (record.status, record.fallbacks, record.error_agent) == ("failed", 0, "fragile")
    assert record.error == "ValueError: fragile 1; its fallback failed too: ValueError: second 1"
    assert [(span.agent, span.status) for span in spans] == [
        ("fragile", "failed"),
        ("fragile", "failed"),
        ("reading", "skipped"),
    ]


@both
def test_a_fallback_takes_what_its_agent_was_given_and_its_own_set_up(strategy):
    async def memory(prompt):
        return "kept"

    @agent(setup=lambda: "ready")
    def second(call, Memory, prompt):  # noqa: N803 - names compare without case
        return [call.ready, Memory, prompt.text, call.attempt]

    @agent(fallback=second)
    async def fragile(memory):
        raise ValueError

    record, _ = tried(strategy, memory, fragile)
    assert record.answer == '["ready", "kept", "hello", 2]'


@both
def test_a_fallback_whose_value_is_no_answer_has_failed(strategy):
    record, _ = tried(strategy, failing(fallback={1, 2}))
    assert record.status == "failed"
    assert "its fallback failed too: TypeError: the answer, a set" in record.error


@both
def test_an_open_breaker_refuses_calls_and_no_retry_is_made_against_it(strategy):
    fragile = failing(retries=3, breaker=Breaker(failures=2, reset_s=60), fallback="sorry")
    record, spans = tried(strategy, fragile, reading, trials=2)
    refused = spans[0]
    assert [span.status for span in spans] == ["failed", "fallback", "ok"]
    assert refused.error.startswith("CircuitOpenError: breaker 'fragile' is open; it probes again at ")
    assert refused.start_s == refused.end_s
    assert (record.status, record.error) == ("degraded", refused.error)
    record, spans = tried(strategy, failing(retries=3, breaker=Breaker(failures=2, reset_s=60)))
    assert [span.error.partition(":")[0] for span in spans] == ["ValueError", "ValueError", "CircuitOpenError"]
    assert (record.status, record.attempts) == ("failed", 3)


@both
def test_a_breaker_probes_after_its_time_and_closes(strategy):
    fragile = failing(times=1, breaker=Breaker(failures=1, reset_s=0.02))
    slow = agent(name="slow")(lambda prompt: time.sleep(0.03))
    record, _ = tried(strategy, fragile, slow, answer="fragile", trials=2)
    assert (record.status, record.answer) == ("ok", "fragile at last")


def test_a_warm_up_opens_no_breaker_of_what_is_measured():
    wired = Wired(Pipeline("warm", [failing(breaker=Breaker(failures=1))]))

    async def made():
        bench = new_bench(wired)
        warm = Case.of(Prompt("p-1", "hello"), "arm", -1, 0, "run")
        return [(await run_trial(wired, each, PARALLEL, bench))[0].error for each in (warm, warm, case())]

    errors = asyncio.run(made())
    assert errors[1].startswith("CircuitOpenError")
    assert errors[2] == "ValueError: fragile 2"


def starved(strategy, threads, *agents, answer=None):
    wired = Wired(Pipeline("starved", agents, answer=answer))

    async def made():
        bench = Bench("here:1", Starved(threads), Deadlines())
        return (await asyncio.wait_for(run_trial(wired, case(), strategy, bench), 30))[:2]

    return asyncio.run(made())


@both
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_without_threads_all_agents_are_called_once_one_after_another_and_the_record_is_degraded(strategy, threads):
    calls = []

    def blocking(name):
        def step(prompt):
            calls.append(name)
            time.sleep(0.002)
            return name

        return agent(name=name)(step)

    async def b(prompt):
        calls.append("b")
        await asyncio.sleep(0.001)
        return "b"

    def last(a, b, c):
        calls.append("last")
        return [a, b, c]

    record, spans = starved(strategy, threads, blocking("a"), b, blocking("c"), last)
    assert sorted(calls) == ["a", "b", "c", "last"]
    assert (record.status, record.answer, record.error_agent) == ("degraded", '["a", "b", "c"]', None)
    assert record.error.startswith("EngineFaultError: no thread could be started")
    assert [span.status for span in spans] == ["ok"] * 4
    assert calls[-1] == "last"


def test_agents_under_way_at_a_fault_run_to_their_end_and_the_rest_follow_in_declared_order():
    order = []

    async def slow(prompt):
        await asyncio.sleep(0.05)
        order.append("slow")
        return "slow"

    def named(name):
        return agent(name=name)(lambda prompt: order.append(name))

    record, _ = starved(PARALLEL, 0, slow, named("b"), named("c"), named("d"), answer="slow")
    assert order == ["slow", "b", "c", "d"]
    assert (record.status, record.answer) == ("degraded", "slow")


def test_a_retry_for_which_there_is_no_thread_is_made_and_no_attempt_twice():
    attempts = []

    @agent(retries=2, backoff_s=0)
    def flaky(prompt, call):
        attempts.append(call.attempt)
        if call.attempt < 3:
            raise ValueError
        return "at last"

    record, spans = starved(PARALLEL, 1, flaky)
    assert attempts == [1, 2, 3]
    assert [span.attempt for span in spans] == [1, 2, 3]
    assert (record.status, record.answer) == ("degraded", "at last")
    assert record.error.startswith("EngineFaultError: ")


def test_a_loop_that_starts_no_task_leaves_the_agents_to_be_called_one_by_one(monkeypatch):
    async def one(prompt):
        await asyncio.sleep(0)
        return 1

    async def two(prompt):
        return 2

    async def both_of(one, two):
        return [one, two]

    wired = Wired(Pipeline("taskless", [one, two, both_of]))

    async def made():
        bench = new_bench(wired)

        def refuse(coroutine):
            raise RuntimeError("the loop is closing")

        monkeypatch.setattr(asyncio, "create_task", refuse)
        return await run_trial(wired, case(), PARALLEL, bench)

    record, *_ = asyncio.run(made())
    assert (record.status, record.answer) == ("degraded", "[1, 2]")
    assert record.error.startswith("EngineFaultError: the event loop started no task (the loop is closing)")


@both
@pytest.mark.parametrize("is_async", [True, False])
def test_an_agents_own_error_of_the_same_text_is_its_own(strategy, is_async):
    async def awaited(prompt):
        raise CANT_START

    def blocking(prompt):
        raise CANT_START

    record, _ = tried(strategy, agent(name="culprit")(awaited if is_async else blocking))
    assert (record.status, record.error_agent) == ("failed", "culprit")
    assert record.error == "RuntimeError: can't start new thread"


@both
def test_an_agent_that_fails_after_a_fault_of_the_engine_is_still_to_blame(strategy):
    def culprit(prompt):
        raise ValueError("mine")

    record, _ = starved(strategy, 0, culprit, answer="culprit")
    assert (record.status, record.error, record.error_agent) == ("failed", "ValueError: mine", "culprit")


@both
def test_the_key_of_a_call_follows_what_the_agents_before_it_gave(strategy):
    def keyed(value, times):
        async def reading(fragile="a default", call=None):
            return call.idempotency_key

        async def fragile(prompt):
            if times:
                raise ValueError
            return value

        return tried(strategy, agent(optional=True)(fragile), reading)[0].answer

    keys = [keyed("one", 0), keyed("two", 0), keyed("one", 1), keyed("two", 1)]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_arms_share_seeds_and_not_what_calls_are_known_by():
    one, other = case(arm="sync"), case(arm="async")
    assert one.seed == other.seed
    assert one.run_key != other.run_key


@both
def test_a_trial_leaves_no_garbage_to_be_collected(strategy):
    """Collections walk through all that is under way: cycles would make them longer with every prompt in flight."""

    @agent(breaker=Breaker())
    async def keyed(prompt, call):
        return call.idempotency_key

    def blocking(prompt):
        return prompt.text

    async def joined(keyed, blocking):
        await asyncio.sleep(0)
        return [keyed, blocking]

    wired = Wired(Pipeline("clean", [keyed, blocking, failing(optional=True), joined], answer="joined"))

    async def left():
        bench, own = new_bench(wired), Case.of(Prompt("clean", "hello"), "arm", 0, 0, "run")
        await run_trial(wired, own, strategy, bench)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(5):
                await run_trial(wired, own, strategy, bench)
            gc.collect()
            found = [each for each in gc.garbage if isinstance(each, Call | Prompt | Span)]
            return [each for each in found if "clean" in (getattr(each, "id", ""), getattr(each, "prompt_id", ""))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()

    assert asyncio.run(left()) == []


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
