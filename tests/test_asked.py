import asyncio

import pytest

from quark_bench import Pipeline, Prompt, agent
from quark_bench.errors import ModelRateLimitedError, ModelRefusedError, ModelServerError, ModelTimeoutError
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.permits import Permits
from quark_bench.execute.ration import Ended
from quark_bench.execute.step import Bench, Case, Wired
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
from quark_bench.model import Reply, question_hash
from quark_bench.model_use import AS_IT_COMES, Limits, ModelUse
from quark_bench.plan import Strategy

HELLO = [{"role": "user", "content": "hello"}]


class Scripted:
    """Answers, raises or hangs, as the message says."""

    name = "scripted"

    async def reply(self, messages, call):
        if messages[0]["content"] == "hang":
            await asyncio.sleep(60)
        return self.reply_blocking(messages, call)

    def reply_blocking(self, messages, call):
        if messages[0]["content"] == "fail":
            raise ModelServerError("500 Internal Server Error")
        return Reply("yes", 3, 2, 0.5, 0.1, 0.01, finish_reason="stop")


def finished(*agents, answer=None, model=None, use=AS_IT_COMES):
    async def made():
        wired = Wired(Pipeline("asking", agents, answer=answer, model=model or Scripted()).using(use))
        bench = Bench("here:1", Threads(), Deadlines())
        bench.deadlines.refine(wired.shortest_limit_s)
        case = Case.of(Prompt("p-1", "hi"), "arm", 0, 0, "run")
        return await asyncio.wait_for(run_trial(wired, case, Strategy.PARALLEL, bench), 30)

    return asyncio.run(made())


def asking(*contents, **policy):
    @agent(name="asker", **policy)
    async def asker(call):
        return [(await call.model([{"role": "user", "content": each}])).text for each in contents][-1]

    return asker


def test_every_question_of_an_attempt_is_told_with_its_times_within_the_span():
    @agent
    def blocking(call):
        return call.model(HELLO).text

    ended = finished(asking("hello", "keep"), blocking, answer="asker")
    told = {(call.agent, call.number): call for call in ended.calls}
    assert sorted(told) == [("asker", 1), ("asker", 2), ("blocking", 1)]
    for call in ended.calls:
        span = next(span for span in ended.spans if span.agent == call.agent)
        assert span.start_s <= call.start_s <= call.sent_s <= call.end_s <= span.end_s
        assert (call.status, call.model, call.finish_reason, call.attempt) == ("ok", "scripted", "stop", 1)
    assert {call.reply for call in ended.calls} == {None}
    assert told["asker", 1].asked == told["blocking", 1].asked == question_hash(HELLO)
    assert (ended.record.tokens_in, ended.record.cost_usd) == (9, 1.5)


@pytest.mark.parametrize(
    ("content", "status", "error"), [("fail", "failed", "ModelServerError: 500"), ("hang", "cancelled", None)]
)
def test_a_question_without_an_answer_is_told_by_attempt(content, status, error):
    ended = finished(asking(content, timeout_s=0.1, retries=1, backoff_s=0.0))
    assert [(call.attempt, call.status) for call in ended.calls] == [(1, status), (2, status)]
    assert all((call.error or "").startswith(error or "CancelledError") for call in ended.calls)
    assert ended.record.status == "failed"


class Busy:
    """Refuses the first so many requests, each in its way."""

    name = "busy"

    def __init__(self, *errors):
        self.errors = list(errors)

    async def reply(self, messages, call):
        return self.reply_blocking(messages, call)

    def reply_blocking(self, messages, call):
        if self.errors:
            raise self.errors.pop(0)
        return Reply("at last")


@pytest.mark.parametrize("is_async", [True, False])
def test_a_busy_model_is_asked_again_after_the_time_it_says_which_is_not_the_agents(is_async):
    @agent(name="asker", timeout_s=0.2)
    async def patient(call):
        return (await call.model(HELLO)).text

    @agent(name="asker", timeout_s=0.2)
    def blocking(call):
        return call.model(HELLO).text

    model = Busy(ModelRateLimitedError("429", retry_after_s=0.3), ModelServerError("503", retry_after_s=0.1))
    record, (span,), (call,) = finished(patient if is_async else blocking, model=model)
    assert (record.status, record.answer, record.attempts) == ("ok", "at last", 1)
    assert (call.status, call.retries, call.number) == ("ok", 2, 1)
    assert 0.4 <= call.waited_s <= call.sent_s - call.start_s + 1e-9
    assert span.waited_s == call.waited_s
    assert record.service_s <= record.latency_s - call.waited_s + 1e-6


@pytest.mark.parametrize(
    ("error", "times"),
    [(ModelRefusedError("401"), 1), (ModelTimeoutError("late"), 1), (ModelServerError("500", final=True), 1)],
)
def test_what_would_fail_again_is_asked_once(error, times):
    record, _, (call,) = finished(asking("hello"), model=Busy(*[error] * 9))
    assert (record.status, call.status, call.retries) == ("failed", "failed", times - 1)


class Counted:
    """Knows how many questions were under way at most."""

    name = "counted"

    def __init__(self):
        self.now = self.most = 0

    async def reply(self, messages, call):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        return Reply("yes")

    def reply_blocking(self, messages, call):
        raise AssertionError("asked by async agents only")


def test_no_more_questions_are_under_way_than_allowed_and_all_are_answered():
    @agent
    async def crowd(call):
        return [reply.text for reply in await asyncio.gather(*(call.model(HELLO) for _ in range(12)))]

    model = Counted()
    record, _, calls = finished(crowd, model=model, use=ModelUse(Limits(calls=3), record=True))
    assert (record.answer, model.most, len(calls)) == (str(["yes"] * 12).replace("'", '"'), 3, 12)
    assert sorted(call.number for call in calls) == list(range(1, 13))
    assert {call.reply for call in calls} == {"yes"}


def test_who_gives_up_waiting_leaves_the_permits_to_others_and_nothing_spins():
    async def made():
        permits, place = Permits(), ("run", "m")
        assert permits.pass_freely(place, Limits(calls=1), 0) is None
        first = await permits.enter(place, 0)
        waiters = [asyncio.create_task(permits.enter(place, 0)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for waiter in waiters[:2]:
            waiter.cancel()
        rounds = 0
        exchange = permits.hub.exchange

        def counted(*arguments):
            nonlocal rounds
            rounds += 1
            return exchange(*arguments)

        permits.hub.exchange = counted
        await asyncio.sleep(0.2)
        assert rounds < 30
        permits.leave(place, first, Ended.ANSWERED, 0)
        await asyncio.wait_for(waiters[2], 5)
        permits.leave(place, waiters[2].result(), Ended.ANSWERED, 0)
        waiters = [asyncio.create_task(permits.enter(place, 0)) for _ in range(2)]
        await asyncio.sleep(0.05)
        waiters[1].cancel()  # now only one that was cancelled is left in the queue
        await asyncio.sleep(0.05)
        rounds = 0
        await asyncio.sleep(0.2)
        assert rounds < 30

    asyncio.run(made())
