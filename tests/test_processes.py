"""Agents' calls in processes of their own: what ends one, what it costs, and that none is left."""

import asyncio
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

from quark_bench.execute.child import LONGEST_END_S
from quark_bench.execute.processes import Processes

from .clusters import until
from .places import Trials, moved_to, shipped

SOON_S = 0.2


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
        assert record.error.startswith(f"LostCallError: the process that made the call {end}")


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
            if each.cmdline() == ["sleep", "60"]:
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


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("any", "any"), ("exit", "LostCallError: the process that made the call ended with exit code 4")],
)
def test_what_an_agent_has_forked_does_not_hide_the_end_of_its_process(text, outcome):
    async def scenario(trials):
        return await trials(text)

    began_s = time.monotonic()
    record, _ = tried("placed.py:forks", scenario)
    assert time.monotonic() - began_s < 15
    assert (record.answer or record.error) in (
        "any",
        "LostCallError: the process that made the call ended with exit code 4",
    )


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
    assert killed.startswith("LostCallError: the process that made the call was killed by SIGKILL")
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
    import asyncio, os, sys
    from quark_bench import Pipeline, agent
    from quark_bench.execute.processes import Processes
    from quark_bench.user_code import pack_pipeline
    from tests.places import Trials

    class Finding:
        def __init__(self, text):
            self.text = text

    @agent(cpu=True)
    def find(prompt):
        if prompt.text == "wait":
            print("waiting", os.getpid(), flush=True)
            import time
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
    assert err == ""
    assert process.returncode == 0
    until(lambda: not members_of(process.pid))


def test_a_process_dies_with_the_one_that_started_it(script):
    process = script("wait")
    assert process.stdout.readline() == "begun\n"
    pid = int(process.stdout.readline().split()[1])
    assert psutil.pid_exists(pid)
    process.kill()
    until(lambda: not psutil.pid_exists(pid), timeout_s=LONGEST_END_S + 10)


def test_ctrl_c_in_a_terminal_does_not_reach_the_processes(script):
    process = script("wait")
    process.stdout.readline()
    pid = int(process.stdout.readline().split()[1])
    assert os.getpgid(pid) != os.getpgid(process.pid)
    assert os.getsid(pid) != os.getsid(process.pid)


def members_of(session):
    """Processes that were started in a script's session, or by one of it."""
    found = []
    for each in psutil.process_iter():
        try:
            if session in (each.pid, each.ppid()) and is_child(each):
                found.append(each.pid)
        except psutil.Error:
            continue
    return found
