import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from quark_bench.execute.threads import EngineFaultError, Threads


def call_all(*functions):
    """The outcomes of calls begun together."""

    async def gathered():
        threads = Threads()
        return await asyncio.gather(*(threads.call(each, {}) for each in functions), return_exceptions=True)

    return asyncio.run(gathered())


def exits():
    raise SystemExit(3)


def stops():
    raise StopAsyncIteration


@pytest.mark.parametrize("raised", [exits, stops])
def test_what_a_call_raises_is_raised_where_it_is_awaited(raised):
    async def awaited():
        await Threads().call(raised, {})

    with pytest.raises((SystemExit, StopAsyncIteration)):
        asyncio.run(awaited())


def test_a_call_takes_its_arguments_and_sees_the_callers_context():
    told = contextvars.ContextVar("told")

    async def asked():
        told.set("context")
        return await Threads().call(lambda word: f"{word} {told.get()}", {"word": "in"})

    assert asyncio.run(asked()) == "in context"


def test_calls_that_wait_for_each_other_all_get_a_thread():
    met = threading.Barrier(40, timeout=20)
    assert len(set(call_all(*[met.wait] * 40))) == 40


def test_a_thread_is_used_again():
    async def one_by_one():
        threads = Threads()
        return {await threads.call(threading.get_ident, {}) for _ in range(20) if await asyncio.sleep(0.001) is None}

    assert len(asyncio.run(one_by_one())) < 20


def test_a_call_that_hangs_holds_up_no_other():
    released = threading.Event()

    async def beside_a_hung_one():
        threads = Threads()
        hung = asyncio.create_task(threads.call(released.wait, {}))
        others = [await threads.call(threading.get_ident, {}) for _ in range(10)]
        hung.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hung
        return others

    assert len(asyncio.run(beside_a_hung_one())) == 10
    released.set()


def test_a_call_that_ends_after_its_loop_has_closed_is_forgotten(recwarn):
    released = threading.Event()
    ended = threading.Event()

    def late():
        released.wait()
        ended.set()

    async def abandoned():
        task = asyncio.create_task(Threads().call(late, {}))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(abandoned())
    released.set()
    assert ended.wait(20)
    assert not recwarn


def test_where_no_thread_can_start_the_call_is_not_made_and_a_later_one_is(monkeypatch):
    called = []

    async def tried():
        threads = Threads()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(
                EngineFaultError, match=r"no thread could be started for a call .can't start new thread"
            ):
                await threads.call(lambda: called.append(1), {})
        await threads.call(lambda: called.append(2), {})

    asyncio.run(tried())
    assert called == [2]


def refuse(thread):
    raise RuntimeError("can't start new thread")


def test_a_call_that_raises_the_text_of_a_fault_is_no_fault_of_ours():
    def fails():
        raise RuntimeError("can't start new thread")

    (raised,) = call_all(fails)
    assert type(raised) is RuntimeError


HUNG = """
import asyncio, threading
from quark_bench.execute.threads import EngineFaultError, Threads

async def main():
    asyncio.create_task(Threads().call(threading.Event().wait, {}))
    await asyncio.sleep(0.05)

asyncio.run(main())
print("over")
"""


def test_a_call_that_hangs_does_not_keep_the_interpreter_alive():
    ended = subprocess.run([sys.executable, "-c", HUNG], check=False, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr
