"""Processes: agents' calls made in processes of their own, which are started on demand and released when idle.

Not by `multiprocessing`: it imports the user's script once more in every process it starts, so that a script without a
guard would begin again there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Self

from quark_bench.agent import Agent
from quark_bench.execute import child, travelling
from quark_bench.execute.attempt import FailedElsewhereError
from quark_bench.execute.travelling import LostCallError
from quark_bench.pipeline import Shipment

IDLE_S = 10.0
"""As threads, a process without work ends after this time."""


class Processes:
    """Makes calls of the agents of one pipeline in at most `most` processes, each of them one call at a time.

    A process that has been idle for `idle_s` ends. Lives on one event loop.
    """

    def __init__(self, shipment: Shipment, most: int, idle_s: float = IDLE_S) -> None:
        self._shipment = shipment
        self._agents: set[str] = set()
        self._slots = asyncio.Semaphore(most)
        self._seats = [_Seat(self._greeting, idle_s) for _ in range(most)]
        self._free = list(self._seats)
        """The last one is taken first, so that those that are not needed stay idle."""
        self._closed = False

    def moved(self, agent: Agent) -> Agent:
        """The agent, called in one of the processes."""
        self._agents.add(agent.name)
        return travelling.moved(agent, self._carry)

    async def close(self) -> None:
        """End all processes, those that make a call at once."""
        self._closed = True
        for seat in self._seats:
            if seat not in self._free:
                seat.kill()
        await asyncio.gather(*(seat.close() for seat in self._seats))

    def _greeting(self) -> bytes:
        return child.greeting(self._shipment, self._agents)

    async def _carry(self, parcel: bytes) -> bytes:
        async with self._slots:
            if self._closed:
                raise LostCallError("the processes for agents have been closed")
            seat = self._free.pop()
            try:
                return await seat.ask(parcel)
            finally:
                self._free.append(seat)


class _Seat:
    """Room for one process: none has been started yet, one is starting, is there, or has ended."""

    def __init__(self, greeting: Callable[[], bytes], idle_s: float) -> None:
        self._greeting = greeting
        self._idle_s = idle_s
        self._starting: asyncio.Task[_Child] | None = None
        self._leaving: asyncio.TimerHandle | None = None

    async def ask(self, parcel: bytes) -> bytes:
        """What the process answers to a call. If nobody waits for that any more, it is killed.

        One that is still starting then is left to the next call: it may take longer to start than a call may last.
        """
        if self._leaving is not None:
            self._leaving.cancel()
        try:
            found = await asyncio.shield(self._process())
            return await found.ask(parcel)
        finally:
            self._leaving = asyncio.get_running_loop().call_later(self._idle_s, self._leave)

    def _process(self) -> asyncio.Task[_Child]:
        former = self._there()
        if self._starting is None or (self._starting.done() and (former is None or former.ended)):
            self._starting = asyncio.create_task(self._start(former))
        return self._starting

    async def _start(self, former: _Child | None) -> _Child:
        if former is not None:
            await former.gone()
        return await _Child.start(self._greeting())

    def _there(self) -> _Child | None:
        """The process that was started last, which may have ended."""
        starting = self._starting
        if starting is None or not starting.done() or starting.cancelled() or starting.exception():
            return None
        return starting.result()

    def _leave(self) -> None:
        found = self._there()
        if found is not None:
            found.release()
        elif self._starting is not None and not self._starting.done():
            self._leaving = asyncio.get_running_loop().call_later(self._idle_s, self._leave)

    def kill(self) -> None:
        """End the process, if there is one, and the call that it makes."""
        found = self._there()
        if found is not None:
            found.kill()

    async def close(self) -> None:
        """End the process, and wait until it is gone."""
        if self._leaving is not None:
            self._leaving.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        found = self._there()
        if found is not None:
            found.release()
            await found.gone()


class _Child:
    """A process that has been started, and the way to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._end = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, greeting: bytes) -> Self:
        """A process that has loaded the pipeline. Raises FailedElsewhereError where it could not."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failing:
            failing.enter_context(ours)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", child.__name__, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is ours to handle
            )
            failing.pop_all()
        started = cls(process, *await asyncio.open_connection(sock=ours))
        try:
            fault = pickle.loads(await started.ask(greeting))
            if fault is not None:
                raise FailedElsewhereError(fault)
        except BaseException:
            started.release()
            await started.gone()
            raise
        return started

    @property
    def ended(self) -> bool:
        """It makes no more calls."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, message: bytes) -> bytes:
        """What it answers. Raises LostCallError when it ends instead; ends it when the wait for that is cancelled."""
        try:
            self._writer.write(child.framed(message))
            await self._writer.drain()
            length = int.from_bytes(await self._reader.readexactly(child.LENGTH_BYTES))
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.kill()
            raise LostCallError(f"the process that made the call {_told(await asyncio.shield(self._end))}") from None
        except BaseException:
            self.kill()
            raise

    def release(self) -> None:
        """Let it end by itself."""
        self._writer.close()

    def kill(self) -> None:
        """End it now."""
        self.release()
        if not self._end.done():
            self._kill_group()

    async def gone(self) -> None:
        """Wait until it has ended, which it is made to if it takes too long."""
        await asyncio.wait({self._end}, timeout=child.LONGEST_END_S)
        self.kill()
        await asyncio.shield(self._end)

    async def _watch(self) -> int:
        """Its exit code, once it has ended, and with it whatever its agents had started."""
        code = await self._process.wait()
        self._kill_group()
        return code

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _told(code: int) -> str:
    """How a process ended, by its exit code as `subprocess` has it."""
    if code >= 0:
        return f"ended with exit code {code}"
    hint = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"
