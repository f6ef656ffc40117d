"""The live orchestrator: prompts as they come, bounded and in fair turns, answered early, counted, remembered."""

import asyncio
import json
import logging
import os
import threading
import time
from collections import Counter

import pytest

from quark_bench import AsyncOrchestrator, Pipeline, Prompt, Router, agent
from quark_bench.errors import ExecutionError, PipelineError, UsageError
from quark_bench.execute import threads
from quark_bench.record import SpanStatus


class Counted:
    """Agents that count their calls, and how many of them are under way."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.under_way = 0
        self.most = 0
        self.order: list[str] = []

    def agent(self, name, *, takes=(), naps_s=0.002, **options):
        async def called(prompt, **given):
            self.calls[name] += 1
            self.order.append(prompt.text)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await asyncio.sleep(naps_s)
                return f"{name} of {prompt.text}"
            finally:
                self.under_way -= 1

        source = f"async def {name}({', '.join(['prompt', *takes])}): return await called(prompt)"
        names = {"called": called}
        exec(source, names)
        return agent(**options)(names[name])

    def pipeline(self, **options):
        a, b = self.agent("a", **options), self.agent("b", **options)
        return Pipeline("counted", [a, b, self.agent("answer", takes=("a", "b"), **options)], answer="answer")


def live(orchestrator, work):
    """What `work(orchestrator)` gives, run on an event loop and shut down."""

    async def run():
        async with orchestrator:
            return await asyncio.wait_for(work(orchestrator), 60)

    return asyncio.run(run())


# -- answers


def test_a_prompt_is_answered_and_the_answer_reads_as_its_text():
    answer = live(AsyncOrchestrator(pipeline=Counted().pipeline()), lambda o: o.handle("hello"))
    assert str(answer) == answer.text == "answer of hello"
    assert (answer.success, answer.status, answer.error, answer.shared) == (True, "ok", None, False)
    assert answer.latency_s > 0


def test_an_answer_is_there_before_the_agents_that_it_does_not_need_have_ended():
    gate = threading.Event()

    @agent
    def answer(prompt):
        return "there"

    @agent
    def tail(answer):
        gate.wait(30)

    async def work(orchestrator):
        answered = await orchestrator.handle("hello")
        under_way = (await orchestrator.get_performance_stats())["performance_metrics"]["in_flight"]
        gate.set()
        handled = await answered.finished()
        return answered, under_way, handled

    answered, under_way, handled = live(
        AsyncOrchestrator(pipeline=Pipeline("tailed", [answer, tail], answer="answer")), work
    )
    assert (str(answered), under_way) == ("there", 1)
    assert [span.agent for span in handled.spans] == ["answer", "tail"]
    assert handled.record.latency_s > handled.record.answer_s
    assert handled.answered_s < handled.record.latency_s


def test_what_agents_do_is_told_in_the_answer_and_never_raised():
    @agent
    def broken(prompt):
        raise ValueError("no idea")

    @agent(optional=True)
    def dear(prompt):
        raise SystemExit(3)

    @agent
    def fine(prompt, dear=None):
        return "fine"

    async def work(orchestrator):
        return await orchestrator.handle("hello")

    failed = live(AsyncOrchestrator(pipeline=Pipeline("broken", [broken])), work)
    assert (failed.text, failed.status, failed.error_agent) == (None, "failed", "broken")
    assert failed.error == "ValueError: no idea"
    degraded = live(AsyncOrchestrator(pipeline=Pipeline("dear", [dear, fine])), work)
    assert (degraded.text, degraded.status, degraded.error_agent) == ("fine", "degraded", "dear")
    assert degraded.error == "SystemExit: 3"


def test_a_failure_of_the_answering_agent_is_told_before_the_others_have_ended():
    gate = threading.Event()

    @agent
    def aside(prompt):
        gate.wait(30)

    @agent
    def answer(prompt):
        raise ValueError("no idea")

    async def work(orchestrator):
        answered = await orchestrator.handle("hello")
        under_way = answered.handled
        gate.set()
        await answered.finished()
        return answered, under_way

    answered, under_way = live(
        AsyncOrchestrator(pipeline=Pipeline("tailed", [aside, answer], answer="answer"), strategy="parallel"), work
    )
    assert (answered.success, answered.error, answered.error_agent) == (False, "ValueError: no idea", "answer")
    assert under_way is None
    assert [span.agent for span in answered.handled.spans] == ["aside", "answer"]


def test_every_asking_has_a_key_of_its_own_although_its_id_and_seed_are_those_of_another():
    met = []

    @agent
    def answer(prompt, call):
        met.append((call.seed, call.idempotency_key))
        return "there"

    async def work(orchestrator):
        for _ in range(2):
            await orchestrator.handle(Prompt("q-1", "hello"))

    live(AsyncOrchestrator(pipeline=Pipeline("asked", [answer])), work)
    (first_seed, first_key), (second_seed, second_key) = met
    assert first_seed == second_seed
    assert first_key != second_key


@pytest.mark.parametrize(("prompt", "told"), [(None, "not a NoneType"), ("  ", "is empty")])
def test_what_is_no_prompt_is_refused_with_words(prompt, told):
    with pytest.raises(UsageError, match=told):
        live(AsyncOrchestrator(pipeline=Counted().pipeline()), lambda o: o.handle(prompt))


def test_agents_never_see_what_a_prompt_is_judged_by():
    @agent
    def spy(prompt):
        return f"{prompt.reference} {prompt.contexts}"

    asked = Prompt("q-1", "hello", reference="the answer", contexts=("c",))
    answer = live(AsyncOrchestrator(pipeline=Pipeline("spy", [spy])), lambda o: o.handle(asked))
    assert "the answer" not in str(answer)
    assert answer.prompt_id == "q-1"


# -- many at once


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_many_prompts_share_the_workers_and_keep_all_of_them_busy(workers):
    counted = Counted()

    async def work(orchestrator):
        return await asyncio.gather(*(orchestrator.handle(f"p{n}") for n in range(40)))

    answers = live(AsyncOrchestrator(workers, pipeline=counted.pipeline()), work)
    assert [str(answer) for answer in answers] == [f"answer of p{n}" for n in range(40)]
    assert counted.calls == {"a": 40, "b": 40, "answer": 40}
    assert counted.most == workers


def test_sync_and_async_agents_share_the_workers():
    under_way, most = 0, 0

    def count(change):
        nonlocal under_way, most
        under_way += change
        most = max(most, under_way)

    @agent
    def blocks(prompt):
        count(1)
        time.sleep(0.003)
        count(-1)

    @agent
    async def waits(prompt):
        count(1)
        await asyncio.sleep(0.003)
        count(-1)

    @agent
    async def answer(blocks, waits):
        return "both"

    async def work(orchestrator):
        return await asyncio.gather(*(orchestrator.handle(f"p{n}") for n in range(20)))

    answers = live(AsyncOrchestrator(3, pipeline=Pipeline("mixed", [blocks, waits, answer])), work)
    assert {str(answer) for answer in answers} == {"both"}
    assert most == 3


@pytest.mark.parametrize(
    ("alone", "named"),
    [
        (("one",), {"conversation": "alone"}),
        ((Prompt("q", "one", metadata={"conversation": "alone"}),), {}),
    ],
    ids=["by the caller", "by the prompt"],
)
def test_a_conversation_with_one_prompt_does_not_wait_for_one_with_a_hundred(alone, named):
    counted = Counted()

    async def work(orchestrator):
        crowd = [asyncio.ensure_future(orchestrator.handle(f"c{n}", conversation="crowd")) for n in range(100)]
        await asyncio.sleep(0.01)
        await orchestrator.handle(*alone, **named)
        left = sum(not each.done() for each in crowd)
        await asyncio.gather(*crowd)
        return left

    assert live(AsyncOrchestrator(2, pipeline=counted.pipeline()), work) > 50


def test_a_caller_that_gives_up_frees_what_its_prompt_held():
    counted = Counted()

    async def work(orchestrator):
        slow = asyncio.ensure_future(orchestrator.handle("slow"))
        await asyncio.sleep(0.05)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        stats = await orchestrator.get_performance_stats()
        return stats["performance_metrics"]["in_flight"], counted.under_way, await orchestrator.handle("next")

    pipeline = Pipeline("slow", [counted.agent("nap", naps_s=0.3)])
    in_flight, under_way, following = live(AsyncOrchestrator(1, pipeline=pipeline), work)
    assert (in_flight, under_way) == (0, 0)
    assert following.success


def test_a_thousand_prompts_are_each_answered_once():
    counted = Counted()

    async def work(orchestrator):
        room = asyncio.Semaphore(200)

        async def one(n):
            async with room:
                return await orchestrator.handle(f"p{n}")

        answers = await asyncio.gather(*(one(n) for n in range(1000)))
        return answers, await orchestrator.get_performance_stats()

    answers, stats = live(AsyncOrchestrator(16, pipeline=counted.pipeline(naps_s=0)), work)
    assert [str(answer) for answer in answers] == [f"answer of p{n}" for n in range(1000)]
    assert set(counted.calls.values()) == {1000}
    assert stats["execution_stats"]["completed_tasks"] == stats["execution_stats"]["total_tasks"] == 1000


def test_threads_are_made_on_demand_and_end_when_idle(monkeypatch):
    monkeypatch.setattr(threads, "IDLE_S", 0.1)

    @agent
    def sync(prompt):
        time.sleep(0.02)
        return "done"

    def there():
        return sum(thread.name == "quark-bench-agent" for thread in threading.enumerate())

    async def work(orchestrator):
        before = there()
        tasks = [asyncio.ensure_future(orchestrator.handle(f"p{n}")) for n in range(20)]
        await asyncio.sleep(0.05)
        during = there() - before
        await asyncio.gather(*tasks)
        until_s = time.monotonic() + 10
        while there() > before and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        return during, there() - before

    during, after = live(AsyncOrchestrator(3, pipeline=Pipeline("sync", [sync])), work)
    assert 1 <= during <= 3
    assert after <= 0


# -- equal prompts, the cache


def cached_pipeline(notes):
    """Its agent notes each call in a file: a list that it appends to would be part of its code."""
    path = str(notes)

    @agent(cache=True)
    def answer(prompt):
        with open(path, "a") as file:
            file.write(f"{prompt.text}\n")
        time.sleep(0.05)
        return f"answer to {prompt.text}"

    return Pipeline("cached", [answer])


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "calls.txt"


def calls(notes):
    return len(notes.read_text().splitlines())


def test_equal_prompts_are_one_execution_and_after_a_restart_none(tmp_path, notes):
    async def work(orchestrator):
        answers = await asyncio.gather(*(orchestrator.handle("the same") for _ in range(32)))
        return answers, await orchestrator.get_performance_stats()

    def begun():
        return AsyncOrchestrator(pipeline=cached_pipeline(notes), cache=tmp_path / "cache.sqlite")

    answers, stats = live(begun(), work)
    assert {str(answer) for answer in answers} == {"answer to the same"}
    assert (calls(notes), sum(answer.shared for answer in answers)) == (1, 31)
    assert (stats["execution_stats"]["shared_tasks"], stats["cache"]["misses"]) == (31, 1)
    answers, stats = live(begun(), work)
    assert {str(answer) for answer in answers} == {"answer to the same"}
    assert (calls(notes), stats["cache"]["hits"]) == (1, 1)
    assert stats["agents"]["answer"]["cached"] == 1


def test_without_a_cache_equal_prompts_are_executed_each(notes):
    async def work(orchestrator):
        return await asyncio.gather(*(orchestrator.handle("the same") for _ in range(4)))

    live(AsyncOrchestrator(pipeline=cached_pipeline(notes)), work)
    assert calls(notes) == 4


def test_of_two_callers_with_an_equal_prompt_one_may_give_up(tmp_path, notes):
    async def work(orchestrator):
        first, second = (asyncio.ensure_future(orchestrator.handle("the same")) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        return await second

    answer = live(AsyncOrchestrator(pipeline=cached_pipeline(notes), cache=tmp_path / "cache.sqlite"), work)
    assert (str(answer), calls(notes)) == ("answer to the same", 1)


def test_prompts_of_equal_text_that_differ_in_what_agents_see_are_not_equal(tmp_path):
    @agent(cache=True)
    async def answer(prompt):
        await asyncio.sleep(0.01)
        return f"{prompt.text} in {prompt.metadata['place']}"

    async def work(orchestrator):
        asked = (Prompt(f"q-{place}", "weather", metadata={"place": place}) for place in ("Rome", "Oslo", "Rome"))
        return await asyncio.gather(*(orchestrator.handle(prompt) for prompt in asked))

    answers = live(AsyncOrchestrator(pipeline=Pipeline("told", [answer]), cache=tmp_path / "cache.sqlite"), work)
    assert [str(answer) for answer in answers] == ["weather in Rome", "weather in Oslo", "weather in Rome"]
    assert [answer.shared for answer in answers] == [False, False, True]


# -- memory


def test_a_conversation_is_remembered_across_orchestrators_and_kept_apart_from_others(tmp_path):
    async def ask(orchestrator):
        await orchestrator.handle("My locker has the number nine.", conversation="mine")
        return await orchestrator.history("mine")

    async def look(orchestrator):
        found = await orchestrator.execute_agent("memory", None, "Which number has my locker?")
        asked = Prompt("q", "Which number has my locker?", metadata={"conversation": "mine"})
        handled = await (await orchestrator.handle(asked)).finished()
        return found, handled, await orchestrator.history("mine"), await orchestrator.history("theirs")

    def begun():
        return AsyncOrchestrator(memory=tmp_path / "memory.sqlite")

    assert [turn.prompt for turn in live(begun(), ask)] == ["My locker has the number nine."]
    unasked, handled, mine, theirs = live(begun(), look)
    assert not any("locker" in each["prompt"] for each in unasked["result"])
    assert handled.record.status == "ok"
    assert [turn.prompt for turn in mine] == ["My locker has the number nine.", "Which number has my locker?"]
    assert theirs == []


# -- routes


def routed():
    @agent
    async def nlu(prompt):
        await asyncio.sleep(0.02)
        return {"category": prompt.text.split()[0]}

    @agent
    async def slow(prompt):
        await asyncio.sleep(0.1)
        return "slow"

    @agent
    async def answer(prompt, nlu, slow="without"):
        return slow

    @agent
    async def after(answer):
        return "after"

    return Pipeline("routed", [nlu, slow, answer, after], answer="answer", router=Router("nlu", {"short": ()}))


@pytest.mark.parametrize("strategy", ["parallel", "sequential"])
def test_a_category_leaves_agents_out_and_the_statistics_say_what_went_where(strategy):
    async def work(orchestrator):
        answers = [await orchestrator.handle(text) for text in ("short one", "long one")]
        handled = [await answer.finished() for answer in answers]
        return answers, handled, await orchestrator.get_performance_stats()

    answers, handled, stats = live(AsyncOrchestrator(pipeline=routed(), strategy=strategy), work)
    assert [(answer.text, answer.category, answer.status) for answer in answers] == [
        ("without", "short", "ok"),
        ("slow", "long", "ok"),
    ]
    how = {span.agent: span.status for span in handled[0].spans}
    assert how["after"] == SpanStatus.SKIPPED
    assert how["slow"] == (SpanStatus.OK if strategy == "parallel" else SpanStatus.SKIPPED)
    assert stats["agents"]["slow"]["unneeded"] == (1 if strategy == "parallel" else 0)
    assert stats["routes"]["short"]["prompts"] == 1
    assert stats["routes"]["short"]["agents"]["after"] == 0


def test_an_unneeded_agent_that_has_begun_is_not_waited_for():
    async def work(orchestrator):
        answer = await orchestrator.handle("short one")
        return answer, await answer.finished()

    answer, handled = live(AsyncOrchestrator(pipeline=routed(), strategy="parallel"), work)
    slow = next(span for span in handled.spans if span.agent == "slow")
    assert answer.latency_s < slow.end_s - slow.start_s


def test_routes_come_from_a_file_and_a_wrong_one_names_the_nearest_agent(tmp_path):
    path = tmp_path / "routes.toml"
    path.write_text('[routes]\nlong = ["after"]\n')
    assert AsyncOrchestrator(pipeline=routed(), routes=path).router.routes == {"long": ("after",)}
    path.write_text('[routes]\nlong = ["aftr"]\n')
    with pytest.raises(PipelineError, match="did you mean 'after'"):
        AsyncOrchestrator(pipeline=routed(), routes=path)


def test_an_agent_that_was_not_needed_and_failed_degrades_no_answer():
    @agent
    async def nlu(prompt):
        await asyncio.sleep(0.01)
        return "short"

    @agent
    async def broken(prompt):
        raise ValueError("never mind")

    @agent
    async def answer(nlu, broken="without"):
        return broken

    async def work(orchestrator):
        answer = await orchestrator.handle("hello")
        return answer, (await answer.finished()).record

    pipeline = Pipeline("routed", [nlu, broken, answer], answer="answer", router=Router("nlu", {"short": ()}))
    answer, record = live(AsyncOrchestrator(pipeline=pipeline, strategy="parallel"), work)
    assert (answer.text, answer.status, record.status, record.error) == ("without", "ok", "ok", None)


def test_categories_without_a_route_are_counted_together_however_many_there_are():
    async def work(orchestrator):
        await asyncio.gather(*(orchestrator.handle(f"category-{n} one") for n in range(20)))
        return await orchestrator.get_performance_stats()

    assert live(AsyncOrchestrator(99, pipeline=routed()), work)["routes"].keys() == {"(whole pipeline)"}


# -- strategy


def test_the_strategy_follows_from_the_dag_and_from_what_agents_take():
    async def chosen(orchestrator, prompts=3):
        for n in range(prompts):
            await (await orchestrator.handle(f"p{n}")).finished()
        return orchestrator.explain_strategy()

    @agent
    async def first(prompt):
        return "first"

    @agent
    async def second(first):
        return "second"

    @agent
    async def third(prompt):
        return "third"

    @agent
    async def last(first, third):
        return "last"

    chain = live(AsyncOrchestrator(pipeline=Pipeline("chain", [first, second])), chosen)
    assert chain.strategy.value == "sequential"
    assert "nothing to run side by side" in chain.reason
    quick = live(AsyncOrchestrator(pipeline=Pipeline("quick", [first, third, last])), chosen)
    assert quick.strategy.value == "sequential"
    assert "starting 2 tasks" in quick.reason
    slow = live(AsyncOrchestrator(pipeline=Counted().pipeline()), chosen)
    assert slow.strategy.value == "parallel"
    assert "side by side" in slow.reason


def test_a_strategy_that_was_asked_for_is_taken():
    answer = live(AsyncOrchestrator(pipeline=Counted().pipeline(), strategy="sequential"), lambda o: o.handle("p"))
    assert (answer.strategy, answer.reason) == ("sequential", "as it was asked for")


def test_where_no_thread_can_be_started_the_agents_go_on_one_after_another(monkeypatch):
    def refused(thread):
        if thread.name == "quark-bench-agent":
            raise RuntimeError("can't start new thread")
        return started(thread)

    @agent
    def left(prompt):
        return "left"

    @agent
    def right(prompt):
        return "right"

    @agent
    def both(left, right):
        return f"{left} {right}"

    async def work(orchestrator):
        answer = await orchestrator.handle("hello")
        return answer, await answer.finished(), await orchestrator.get_performance_stats()

    started = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refused)
    answer, handled, stats = live(AsyncOrchestrator(pipeline=Pipeline("both", [left, right, both])), work)
    assert (str(answer), answer.status, answer.strategy) == ("left right", "degraded", "parallel")
    assert handled.record.error.startswith("EngineFaultError: ")
    assert stats["execution_stats"]["went_sequential"] == 1


# -- agents by name


@pytest.mark.parametrize("how", ["execute_parallel", "execute_sequential"])
def test_named_agents_run_alone_and_the_others_inputs_take_their_defaults(how):
    async def work(orchestrator):
        return await getattr(orchestrator, how)("long one", ["Answer", "After"], "long")

    results = live(AsyncOrchestrator(pipeline=routed()), work)
    assert list(results) == ["Answer", "After"]
    assert results["Answer"]["result"] == "without"
    assert results["After"]["result"] == "after"
    assert all(each["success"] and each["error"] is None for each in results.values())


def test_an_agent_that_cannot_do_without_another_says_so():
    async def work(orchestrator):
        lone = await orchestrator.execute_agent("after", orchestrator.agents["after"], "hello")
        given = await orchestrator.execute_agent("after", None, {"prompt": "hello", "answer": "given"})
        return lone, given

    lone, given = live(AsyncOrchestrator(pipeline=routed()), work)
    assert (lone["success"], lone["error"]) == (False, "skipped: answer is skipped")
    assert (given["success"], given["result"]) == (True, "after")


def test_a_failing_agent_is_a_result_without_success():
    @agent
    def broken(prompt):
        raise ValueError("no idea")

    result = live(
        AsyncOrchestrator(pipeline=Pipeline("broken", [broken])), lambda o: o.execute_agent("broken", None, "hello")
    )
    assert (result["success"], result["result"], result["error"]) == (False, None, "ValueError: no idea")


def test_a_plain_function_is_no_agent_to_execute():
    with pytest.raises(UsageError, match="only this pipeline's agents"):
        live(AsyncOrchestrator(pipeline=routed()), lambda o: o.execute_agent("answer", print, "hello"))


def test_agents_are_found_whatever_their_case():
    orchestrator = AsyncOrchestrator()
    assert orchestrator.agents["SelfImprovement"].name == orchestrator.agents["self_improvement"].name
    with pytest.raises(KeyError):
        orchestrator.agents["nobody"]


# -- statistics, the log


def test_the_statistics_are_plain_data_and_name_the_wall():
    async def work(orchestrator):
        await asyncio.gather(*(orchestrator.handle(f"p{n}") for n in range(30)))
        return await orchestrator.get_performance_stats()

    stats = live(AsyncOrchestrator(2, pipeline=Counted().pipeline(naps_s=0.05)), work)
    assert json.loads(json.dumps(stats)) == stats
    assert stats["wall"]["name"] == "workers"
    assert "--max-workers" in stats["wall"]["advice"]
    assert stats["performance_metrics"]["throughput"] <= stats["wall"]["bound_per_s"]
    assert stats["targets"][0]["text"] == "throughput > 10 req/s"
    assert any("--max-workers" in text for text in stats["warnings"])


def test_the_log_is_quiet_by_default_and_names_prompt_trial_and_agent(caplog, capfd):
    live(AsyncOrchestrator(pipeline=Counted().pipeline()), lambda o: o.handle("hello"))
    assert capfd.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, "quark_bench.live"):
        answer = live(AsyncOrchestrator(pipeline=Counted().pipeline()), lambda o: o.handle("hello"))
    told = [each for each in caplog.records if each.name == "quark_bench.live"]
    assert {each.prompt_id for each in told} == {answer.prompt_id}
    assert len({each.trial_id for each in told}) == 1
    assert {each.agent for each in told if hasattr(each, "agent")} == {"a", "b", "answer"}


def test_whoever_watches_is_told_of_every_agent_and_may_fail_without_harm():
    seen = []

    async def work(orchestrator):
        await (await orchestrator.handle("hello", watch=seen.append)).finished()
        return await orchestrator.handle("again", watch=lambda progress: 1 / 0)

    assert live(AsyncOrchestrator(pipeline=Counted().pipeline()), work).success
    assert [(each.agent, each.status) for each in seen][-1] == ("answer", "ok")
    assert len(seen) == 6


# -- beginning and end


def test_shutting_down_lets_prompts_end_and_takes_no_more():
    async def run():
        orchestrator = AsyncOrchestrator(1, pipeline=Counted().pipeline(naps_s=0.02))
        asked = [asyncio.ensure_future(orchestrator.handle(f"p{n}")) for n in range(5)]
        await asyncio.sleep(0.03)
        await orchestrator.shutdown()
        await orchestrator.shutdown()
        answers = await asyncio.gather(*asked)
        with pytest.raises(UsageError, match="make another one"):
            await orchestrator.handle("late")
        return answers

    assert all(answer.success for answer in asyncio.run(run()))


def test_prompts_that_wait_for_the_set_up_when_it_is_shut_down_begin_and_end_or_are_refused():
    """None of them begins after `shutdown` has returned."""

    def slowly():
        time.sleep(0.1)

    counted = Counted()

    async def run():
        orchestrator = AsyncOrchestrator(pipeline=Pipeline("slow", [counted.agent("answer", setup=slowly)]))
        asked = [asyncio.ensure_future(orchestrator.handle(f"p{n}")) for n in range(3)]
        await asyncio.sleep(0.02)
        await orchestrator.shutdown()
        called = counted.calls["answer"]
        ended = await asyncio.gather(*asked, return_exceptions=True)
        return called, ended

    called, ended = asyncio.run(run())
    answered = [each for each in ended if not isinstance(each, UsageError)]
    assert all(answer.success for answer in answered)
    assert called == counted.calls["answer"] == len(answered) > 0


def test_shutting_down_lets_the_last_answer_be_remembered(tmp_path):
    async def run():
        orchestrator = AsyncOrchestrator(memory=tmp_path / "memory.sqlite")
        asked = asyncio.ensure_future(orchestrator.handle("My locker has the number nine.", conversation="mine"))
        while not orchestrator.execution_stats["total_tasks"]:
            await asyncio.sleep(0.001)
        await orchestrator.shutdown()
        return await asked

    async def look(orchestrator):
        return await orchestrator.history("mine")

    assert asyncio.run(run()).text is not None
    turns = live(AsyncOrchestrator(memory=tmp_path / "memory.sqlite"), look)
    assert [turn.prompt for turn in turns] == ["My locker has the number nine."]


def test_another_event_loop_is_refused_with_words():
    orchestrator = AsyncOrchestrator(pipeline=Counted().pipeline())
    asyncio.run(orchestrator.handle("hello"))
    with pytest.raises(UsageError, match="belongs to the event loop"):
        asyncio.run(orchestrator.handle("hello"))


def test_a_set_up_that_fails_is_told_to_every_caller():
    def broken():
        raise OSError("no index here")

    @agent(setup=broken)
    def answer(prompt):
        return "never"

    async def work(orchestrator):
        await orchestrator.handle("hello")

    unready = AsyncOrchestrator(pipeline=Pipeline("broken", [answer]))
    with pytest.raises(ExecutionError, match="set-up of agent 'answer' failed"):
        live(unready, work)
    with pytest.raises(UsageError, match="make another one"):
        live(unready, work)
    with pytest.raises(ExecutionError, match="no index here"):
        AsyncOrchestrator(pipeline=Pipeline("broken", [answer])).agents["answer"]._ensure_model()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_workers": 0}, "1 or more"),
        ({"max_workers": "4"}, "max_workers"),
        ({"strategy": "fast"}, "give auto"),
        ({"pipeline": print}, "give a Pipeline"),
    ],
)
def test_wrong_options_are_told_at_once(options, told):
    with pytest.raises((UsageError, PipelineError), match=told):
        AsyncOrchestrator(**options)


# -- elsewhere


def test_agents_that_burn_cpu_are_called_in_processes_of_their_own():
    @agent
    async def here(prompt):
        import os

        return os.getpid()

    @agent(cpu=True)
    def there(prompt):
        import os

        return os.getpid()

    @agent
    async def both(here, there):
        return here != there

    async def work(orchestrator):
        return [str(await orchestrator.handle(f"p{n}")) for n in range(3)]

    assert live(AsyncOrchestrator(2, pipeline=Pipeline("places", [here, there, both])), work) == ["yes"] * 3


def test_agents_that_were_set_up_beforehand_are_still_called_elsewhere(cluster):
    @agent
    def there(prompt):
        import os

        return os.getpid()

    async def work(orchestrator):
        return await orchestrator.handle("hello")

    orchestrator = AsyncOrchestrator(pipeline=Pipeline("places", [there]), executor=cluster)
    orchestrator.agents["there"]._ensure_model()
    assert live(orchestrator, work).text not in (None, str(os.getpid()))


def test_the_same_agents_run_on_a_dask_cluster_with_no_other_change(cluster):
    async def work(orchestrator):
        answers = await asyncio.gather(
            *(orchestrator.handle(text) for text in ("What is inertia?", "Define a vaccine."))
        )
        return [str(answer) for answer in answers]

    assert live(AsyncOrchestrator(executor=cluster), work) == live(AsyncOrchestrator(), work)
