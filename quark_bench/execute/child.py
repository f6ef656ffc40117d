"""Child: a process that makes agents' calls, one at a time, for the process that started it.

Run as `python -m quark_bench.execute.child FILE_NUMBER`, the number being that of its end of a pair of sockets. Its
output is the agents' own. It ends with the other end of the pair, and so with the process there, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import os
import pickle
import signal
import socket
import sys
from collections.abc import Collection
from typing import BinaryIO

from quark_bench.agent import Agent
from quark_bench.errors import describe
from quark_bench.execute.deadlines import Branch
from quark_bench.execute.process import Process, spare_the_collector, this_process
from quark_bench.execute.step import Wired
from quark_bench.execute.travelling import answered
from quark_bench.pipeline import Shipment

LENGTH_BYTES = 8
"""A message is its length in so many bytes, and then itself."""
LONGEST_END_S = 2
"""What an agent has left behind, a thread or a handler that runs at exit, holds the process up no longer than this."""


def framed(message: bytes) -> bytes:
    """A message as it is sent."""
    return len(message).to_bytes(LENGTH_BYTES) + message


def greeting(shipment: Shipment, agents: Collection[str]) -> bytes:
    """The first message to a child: the pipeline to load, and whose calls it will make."""
    return pickle.dumps((sys.path, sorted(agents), shipment), 5)


def main() -> None:
    """Make calls until the other end is closed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a process that is killed takes no printed line with it
    pipe = socket.socket(fileno=int(sys.argv[1]))
    pipe.set_inheritable(False)
    os.register_at_fork(after_in_child=lambda: _forsake(pipe))
    with pipe.makefile("rb") as messages:
        _serve(pipe, messages)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST_END_S)


def _forsake(pipe: socket.socket) -> None:
    """Close the copy of a process that an agent has forked: that this one has ended is told by the pipe's closing."""
    if pipe.fileno() >= 0:
        os.close(pipe.detach())


def _serve(pipe: socket.socket, messages: BinaryIO) -> None:
    process = this_process()
    wired = _load(pipe, _received(messages))
    while wired is not None and (parcel := _received(messages)) is not None:
        process.submit(_answer(pipe, parcel, wired, process))


def _load(pipe: socket.socket, greeting: bytes | None) -> Wired | None:
    """Load the pipeline and say how that went: None, or the error."""
    if greeting is None:
        return None
    try:
        sys.path[:], agents, shipment = pickle.loads(greeting)
        wired = Wired(shipment.load().with_agents(lambda agent: _for(agents, agent)))
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a set-up is told like any other error
        _send(pipe, pickle.dumps(describe(error)))
        return None
    spare_the_collector()
    _send(pipe, pickle.dumps(None))
    return wired


def _for(agents: Collection[str], agent: Agent) -> Agent:
    """An agent that is not called here is not set up either."""
    return agent if agent.name in agents else dataclasses.replace(agent, setup=None, fallback=None)


def _received(messages: BinaryIO) -> bytes | None:
    """The next message; None when the other end has been closed."""
    try:
        length = messages.read(LENGTH_BYTES)
        message = messages.read(int.from_bytes(length)) if length else None
    except ConnectionError:
        return None
    return message


async def _answer(pipe: socket.socket, parcel: bytes, wired: Wired, process: Process) -> None:
    """No limit is watched here: a call that has outlived its limit is ended with the process."""
    task = asyncio.current_task()
    assert task is not None, "the loop runs tasks"
    _send(pipe, await answered(parcel, wired, Branch(task), process.bench.threads))


def _send(pipe: socket.socket, message: bytes) -> None:
    with contextlib.suppress(OSError):  # the other end has been closed, which `main` is about to see
        pipe.sendall(framed(message))


if __name__ == "__main__":
    main()
