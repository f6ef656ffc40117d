"""Threads for sync agents: made on demand, reused, never waited for at exit.

`concurrent.futures.ThreadPoolExecutor` joins its threads when the interpreter ends, so one agent that hangs
would keep the whole program alive; and a hung call would hold one of a fixed number of places for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

IDLE_S = 10.0
"""A thread without work ends after this time."""


class EngineFaultError(Exception):
    """No thread or task could be started for a call: a fault of the engine, which has not called the agent."""


class Threads:
    """Runs calls in daemon threads, as many as there are calls under way."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    async def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call the function in a thread. Whatever it raises, also SystemExit, is raised here.

        Raises EngineFaultError when there is no thread for it and none can be started; it has not been called then.
        If the waiting task is cancelled, the thread is abandoned: it cannot be stopped, only outlived.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = (context.run(lambda: function(**arguments)), None)
            except BaseException as error:  # noqa: BLE001 - an agent may raise anything; the trial records it
                outcome = (None, error)
            try:
                loop.call_soon_threadsafe(_settle, future, outcome)
            except RuntimeError:
                return  # the loop has closed: nobody waits for this call any more

        self._start(job)
        value, error = await future
        if error is not None:
            raise error
        return value

    def _start(self, job: Callable[[], None]) -> None:
        with self._lock:
            fresh = self._idle == 0
            if not fresh:
                self._idle -= 1
        if fresh:
            thread = threading.Thread(target=self._work, args=(job,), name="quark-bench-agent", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise EngineFaultError(f"no thread could be started for a call ({error})") from error
        else:
            self._jobs.put(job)

    def _work(self, job: Callable[[], None]) -> None:
        while True:
            job()
            with self._lock:
                self._idle += 1
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                job = self._jobs.get()  # a call counted on this thread in the meantime


def _settle(future: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    if not future.done():
        future.set_result(outcome)
