import asyncio

import pytest

from quark_bench import Pipeline, Prompt, agent
from quark_bench.agent import Reply, question_hash
from quark_bench.errors import ModelServerError
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.step import Bench, Case, Wired
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
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
        return Reply("yes", 3, 2, 0.5, 0.1, 0.01, finish_reason="stop", kept=messages[0]["content"] == "keep")


def finished(*agents, answer=None):
    async def made():
        wired = Wired(Pipeline("asking", agents, answer=answer, model=Scripted()))
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
    assert [told["asker", n].reply for n in (1, 2)] == [None, "yes"]
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
