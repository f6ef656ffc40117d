"""Agents' calls in processes of their own: what ends one, what it costs, and that none is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from quark_bench.execute.processes import Processes

from .clusters import until
from .pipelines import placed
from .places import Trials, moved_to, shipped

SOON_S = 0.2
LOST = "LostCallError: the process that made the call"


def children():
    """Processes that this one has started for agents."""
    mine = psutil.Process().children(recursive=True)
    return {each.pid for each in mine if is_child(each)}


def is_child(process):
    try:
        return "quark_bench.execute.child" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def tried(pipeline, scenario, most=2, only=lambda agent: True, **options):
    """What `scenario(trials)` returns, with the pipeline's agents called in processes; none is left afterwards."""

    async def run():
        named, shipment = shipped(pipeline)
        async with moved_to(Processes(shipment, most, **options), named, only) as moved:
            return await scenario(Trials(moved))

    before = children()
    try:
        return asyncio.run(run())
    finally:
        assert children() == before


def told(trials):
    return [(record.status, record.answer or record.error) for record, _ in trials]


def test_a_process_is_started_when_it_is_needed_and_used_again():
    async def scenario(trials):
        assert not children()
        ended = [await trials() for _ in range(5)]
        return {record.answer for record, _ in ended}, {str(pid) for pid in children()}

    used, there = tried("placed.py:somewhere", scenario)
    assert len(used) == 1
    assert used == there


def test_there_are_never_more_processes_than_allowed():
    async def scenario(trials):
        ended = await trials.all(["any"] * 30)
        return {record.answer for record, _ in ended}, {str(pid) for pid in children()}

    used, there = tried("placed.py:somewhere", scenario, most=2)
    assert used <= there
    assert len(there) == 2


def test_an_idle_process_is_released_and_the_next_call_starts_another():
    async def scenario(trials):
        (first, _), (second, _) = await trials.all(["any", "any"])
        assert children()
        await asyncio.to_thread(until, lambda: not children())
        return {first.answer, second.answer}, (await trials())[0].answer

    earlier, later = tried("placed.py:somewhere", scenario, idle_s=SOON_S)
    assert later not in earlier


def test_only_agents_that_are_called_there_are_set_up_there(tmp_path, monkeypatch):
    async def scenario(trials):
        return await trials()

    notes = tmp_path / "notes"
    monkeypatch.setenv("QUARK_BENCH_TEST_NOTES", str(notes))
    record, _ = tried("placed.py:noting", scenario, only=lambda agent: agent.name == "there")
    assert record.status == "ok"
    noted = [line.split() for line in notes.read_text().splitlines()]
    assert [(name, pid == str(os.getpid())) for name, pid in noted] == [("here", True), ("there", False)]


def test_a_set_up_that_fails_is_the_error_of_the_calls():
    async def scenario(trials):
        return await trials.all(["one", "two", "three"])

    error = "ExecutionError: the set-up of agent 'unready' failed: FileNotFoundError: no index here"
    assert told(tried("told.py:never_ready", scenario)) == [("failed", error)] * 3


@pytest.mark.parametrize(
    ("deed", "end"),
    [("exit", "ended with exit code 3"), ("crash", "was killed by SIGSEGV"), ("kill", "was killed by SIGKILL")],
)
def test_a_process_that_dies_costs_its_own_call_only(deed, end):
    async def scenario(trials):
        return await trials.all(["one", deed, "two", "three", deed, "four"])

    ended = tried("deadly.py:pipeline", scenario, only=lambda agent: agent.name == "doer")
    assert [record.answer for record, _ in ended] == ["ONE", None, "TWO", "THREE", None, "FOUR"]
    for record, _ in (ended[1], ended[4]):
        assert (record.status, record.error_agent) == ("failed", "doer")
        assert record.error.startswith(f"{LOST} {end}")


def test_a_process_that_died_while_it_was_idle_costs_nothing():
    async def scenario(trials):
        first = (await trials())[0].answer
        os.kill(int(first), signal.SIGKILL)
        await asyncio.to_thread(until, lambda: not children())
        await asyncio.sleep(0.1)
        return first, (await trials())[0]

    first, record = tried("placed.py:somewhere", scenario)
    assert record.status == "ok"
    assert record.answer != first


def test_a_call_that_is_out_of_time_takes_its_process_along_and_what_that_had_started():
    async def scenario(trials):
        first = (await trials("any"))[0].answer
        late, _ = await trials("linger")
        await asyncio.to_thread(until, lambda: not psutil.pid_exists(int(first)))
        return first, late, (await trials("any"))[0].answer

    started_before = sleepers()
    first, late, again = tried("placed.py:lingers", scenario, most=1)
    assert late.error == "TimeoutError: no result within 1.5 s"
    assert again != first
    until(lambda: sleepers() <= started_before)


def sleepers():
    found = set()
    for each in psutil.process_iter():
        try:
            if each.cmdline() == placed.LINGER:
                found.add(each.pid)
        except psutil.Error:
            continue
    return found


def test_a_process_that_takes_longer_to_start_than_a_call_may_last_serves_the_next_ones():
    async def scenario(trials):
        ended = []
        while not ended or ended[-1].status != "ok":
            ended.append((await trials())[0])
        return ended, len(children())

    ended, there = tried("placed.py:starting", scenario, most=1)
    assert {record.error for record in ended[:-1]} == {"TimeoutError: no result within 0.4 s"}
    assert there == 1


def test_an_async_agent_that_blocks_its_loop_is_ended_at_its_limit():
    async def scenario(trials):
        while (await trials("fine"))[0].status != "ok":
            continue
        return await trials("block")

    record, _ = tried("deadly.py:blocking", scenario, most=1)
    assert record.error == "TimeoutError: no result within 0.3 s"


def test_a_trial_that_is_cancelled_ends_the_process_of_its_call():
    async def scenario(trials):
        first = (await trials())[0].answer
        trial = asyncio.create_task(trials("linger"))
        await asyncio.sleep(0.3)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        await asyncio.to_thread(until, lambda: int(first) not in children())

    tried("placed.py:lingers", scenario, most=1)


def test_what_agents_print_comes_out_and_disturbs_nothing(capfd):
    async def scenario(trials):
        return await trials.all(["one", "two", "three"])

    assert told(tried("placed.py:loud", scenario)) == [("ok", "ONE"), ("ok", "TWO"), ("ok", "THREE")]
    out = capfd.readouterr().out
    assert (out.count("said by the agent\n"), out.count("written by the agent\n")) == (3, 3)


@pytest.mark.parametrize("text", ["any", "exit"])
def test_what_an_agent_has_forked_ends_with_its_process_and_does_not_hide_that_end(text):
    async def scenario(trials):
        before = await trials("none")
        return before[0].answer, (await trials(text))[0]

    group, record = tried("placed.py:forks", scenario, most=1)
    assert record.error == (
        None if text == "any" else "LostCallError: the process that made the call ended with exit code 4"
    )
    until(lambda: not members_of(int(group)))


def test_closing_ends_calls_that_are_under_way_and_further_ones():
    async def scenario():
        named, shipment = shipped("placed.py:lingers")
        processes = Processes(shipment, 1)
        trials = Trials(named.with_agents(processes.moved))
        await trials()
        under_way = [asyncio.create_task(trials(text)) for text in ("linger", "any")]
        await asyncio.sleep(0.3)
        await processes.close()
        assert not children()
        await processes.close()
        return [(await each)[0].error for each in under_way]

    killed, refused = asyncio.run(scenario())
    assert killed.startswith(f"{LOST} was killed by SIGKILL")
    assert refused == "LostCallError: the processes for agents have been closed"


def test_processes_are_started_from_a_loop_of_any_thread():
    async def scenario(trials):
        return await trials.all(["any"] * 4)

    ended = []
    thread = threading.Thread(target=lambda: ended.extend(tried("placed.py:somewhere", scenario)))
    thread.start()
    thread.join(60)
    assert [record.status for record, _ in ended] == ["ok"] * 4


@pytest.mark.timed
def test_cpu_agents_in_two_processes_run_side_by_side():
    def lasted_s(most):
        async def scenario(trials):
            await trials.all(["any"] * most)  # started and warm
            began_s = time.perf_counter()
            await trials.all(["any"] * 6)
            return time.perf_counter() - began_s

        return tried("placed.py:burning", scenario, most=most)

    ratios = [lasted_s(2) / lasted_s(1) for _ in range(3)]
    assert min(ratios) < 0.65, ratios


SCRIPT = """
    import asyncio, os, sys, time
    from quark_bench import Pipeline, agent
    from quark_bench.execute.processes import Processes
    from quark_bench.user_code import pack_pipeline
    from tests.places import Trials

    class Finding:
        def __init__(self, text):
            self.text = text

    @agent(cpu=True)
    def find(prompt):
        print(os.getpid(), file=sys.stderr)
        if prompt.text == "wait":
            time.sleep(60)
        return Finding(prompt.text.upper())

    def tell(find):
        assert isinstance(find, Finding)
        return find.text

    async def run():
        pipeline = Pipeline("script", [find, tell])
        processes = Processes(pack_pipeline(pipeline), 2)
        trials = Trials(pipeline.with_agents(lambda each: processes.moved(each) if each.cpu else each))
        for record, _ in await trials.all(sys.argv[1:]):
            print(record.status, record.answer or record.error)
        {close}

    print("begun")
    asyncio.run(run())
"""


@pytest.fixture
def script(tmp_path):
    """Starts a script as a user would write one: everything at its top, and nothing guarded."""
    started = []

    def run(*texts, close="await processes.close()"):
        (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT).replace("{close}", close))
        process = subprocess.Popen(
            [sys.executable, "script.py", *texts],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize("close", ["await processes.close()", "pass"])
def test_a_script_without_a_guard_runs_once_and_leaves_nothing(script, close):
    process = script("one", "two", "three", close=close)
    out, err = process.communicate(timeout=60)
    assert out.splitlines() == ["begun", "ok ONE", "ok TWO", "ok THREE"]
    assert process.returncode == 0
    used = {int(pid) for pid in err.split()}
    assert 1 <= len(used) <= 2
    until(lambda: not any(map(psutil.pid_exists, used)))


def test_a_process_dies_with_the_one_that_started_it(script):
    process = script("wait")
    pid = int(process.stderr.readline())
    assert psutil.pid_exists(pid)
    process.kill()
    until(lambda: not psutil.pid_exists(pid))


def test_ctrl_c_in_a_terminal_does_not_reach_the_processes(script):
    process = script("wait")
    pid = int(process.stderr.readline())
    assert os.getsid(pid) != os.getsid(process.pid)


def members_of(session):
    """Processes of a session that are still there."""
    found = []
    for each in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(each) == session and psutil.Process(each).status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found
