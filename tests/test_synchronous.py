"""The synchronous orchestrator: one prompt and one agent at a time, in a loop of its own."""

import asyncio
import threading
import time

import pytest

from quark_bench import Orchestrator, Pipeline, agent
from quark_bench.errors import ExecutionError, UsageError


class Noted:
    """Agents that note when each of their calls began and ended."""

    def __init__(self):
        self.events = []

    def pipeline(self):
        @agent
        async def look(prompt):
            self.events.append("look")
            await asyncio.sleep(0.002)
            self.events.append("looked")

        @agent
        def read(prompt):
            self.events.append("read")
            time.sleep(0.002)
            self.events.append("done")
            return f"answer to {prompt.text}"

        @agent
        def tail(read):
            self.events.append("tail")

        return Pipeline("noted", [look, read, tail], answer="read")


IN_TURN = ["look", "looked", "read", "done", "tail"]


def threads_of_ours():
    return [thread for thread in threading.enumerate() if thread.name == "quark-bench-orchestrator"]


def test_prompts_and_agents_go_one_after_another_to_their_end():
    noted = Noted()
    with Orchestrator(pipeline=noted.pipeline()) as orchestrator:
        answers = [orchestrator.handle(text) for text in ("one", "two")]
        stats = orchestrator.get_performance_stats()
    assert [str(answer) for answer in answers] == ["answer to one", "answer to two"]
    assert noted.events == IN_TURN * 2
    assert (stats["strategy"]["strategy"], stats["execution_stats"]["completed_tasks"]) == ("sequential", 2)


def test_callers_in_several_threads_take_turns():
    noted = Noted()
    with Orchestrator(pipeline=noted.pipeline()) as orchestrator:
        callers = [threading.Thread(target=orchestrator.handle, args=(f"p{number}",)) for number in range(5)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert noted.events == IN_TURN * 5


def test_it_works_inside_a_running_loop():
    async def run():
        with Orchestrator(pipeline=Noted().pipeline()) as orchestrator:
            return orchestrator.handle("hello")

    assert str(asyncio.run(run())) == "answer to hello"


def test_after_its_end_it_refuses_prompts_with_words_and_leaves_no_thread():
    before = len(threads_of_ours())
    with Orchestrator(pipeline=Noted().pipeline()) as orchestrator:
        orchestrator.handle("hello")
        orchestrator.shutdown()
        with pytest.raises(UsageError, match="make another one"):
            orchestrator.handle("late")
    orchestrator.shutdown()
    assert len(threads_of_ours()) == before


def test_agents_are_set_up_on_entering_and_what_fails_there_leaves_no_thread():
    def broken():
        raise OSError("no index here")

    before = len(threads_of_ours())
    unready = Orchestrator(pipeline=Pipeline("broken", [agent(name="reader", setup=broken)(lambda prompt: "never")]))
    with pytest.raises(ExecutionError, match="no index here"), unready:
        pass
    with pytest.raises(UsageError, match="make another one"):
        unready.handle("hello")
    assert len(threads_of_ours()) == before


def test_an_agent_that_fails_is_told_in_the_answer():
    @agent
    def broken(prompt):
        raise ValueError("no idea")

    with Orchestrator(pipeline=Pipeline("broken", [broken])) as orchestrator:
        answer = orchestrator.handle("hello")
    assert (answer.success, answer.error) == (False, "ValueError: no idea")
    assert answer.handled.record.error_agent == "broken"
