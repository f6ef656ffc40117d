"""Connections of the server: bytes in, requests to the service, its scripts played by absolute deadlines."""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from quark_bench.testing.parsing import BadRequestError, read_request
from quark_bench.testing.scripts import End, Script, refused
from quark_bench.testing.service import Service

BACKLOG = 4_096
LARGEST_SELECTED = 1_023
"""The largest descriptor that select takes."""


class Connection(asyncio.Protocol):
    """One client's connection. Requests that come before the answer to the last are answered after it."""

    def __init__(self, service: Service, open_connections: set[Connection]) -> None:
        self._service = service
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._script: Script | None = None
        self._next = 0
        self._read_s = 0.0
        self._closes = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)
        self._service.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._timer:
            self._timer.cancel()
        if self._script is not None:
            self._script = None
            self._service.end(abandoned=True)
        self._service.disconnected()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._script is None:
            self._read()

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    def _read(self) -> None:
        """Answer what has come whole, one request after another."""
        while self._script is None and self._buffer and not self._transport.is_closing():
            try:
                found = read_request(self._buffer)
            except BadRequestError as error:
                self._transport.write(refused(error.status, str(error), "invalid_request_error", None).parts[0])
                self._transport.close()
                return
            if found is None:
                return
            request, length = found
            del self._buffer[:length]
            self._read_s = self._loop.time()
            self._closes = request.head.closes
            self._next = 0
            self._script = self._service.begin(request, self._read_s, time.time())
            self._play()

    def _play(self) -> None:
        """Send every part that is due; the first token's in a write of its own, so that clients can see it come."""
        script = self._script
        assert script is not None
        place, due_s, count = self._next, script.due_s, len(script.parts)
        passed_s = self._loop.time() - self._read_s
        while place < count and due_s[place] <= passed_s:
            place += 1
        if place > self._next:
            self._service.sent(late_s=passed_s - due_s[self._next])
            self._write(script, place)
        if place < count:
            self._timer = self._loop.call_at(self._read_s + due_s[place], self._resume)
        else:
            self._end(script.end)

    def _write(self, script: Script, until: int) -> None:
        if self._next == 0:
            self._transport.write(script.parts[0])
            self._next = 1
        if until > self._next:
            self._transport.write(b"".join(script.parts[self._next : until]))
        self._next = until

    def _resume(self) -> None:
        self._timer = None
        self._play()
        if self._script is None:
            self._read()

    def _end(self, end: End) -> None:
        if end is End.HOLD:
            return
        self._script = None
        self._service.end(abandoned=False)
        if end is End.DROP:
            self._transport.abort()
        elif self._closes:
            self._transport.close()


class _PunctualSelector(selectors.DefaultSelector):
    """Waits to the microsecond where epoll, rounding up, waits to the millisecond.

    A selector's own descriptor can be waited for, by select, whose time limit is in microseconds. (uvloop is faster
    still, but its timers are in whole milliseconds too.)
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and self.fileno() <= LARGEST_SELECTED:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def punctual_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are exact to some 0.1 ms."""
    return asyncio.SelectorEventLoop(_PunctualSelector())


def serve(
    service: Service,
    port: int,
    until: Callable[[], Coroutine[Any, Any, None]],
    ready: Callable[[int], None],
) -> None:
    """Serve on loopback in an event loop of its own, until what `until` makes has ended; a port of 0 is any free one.

    `ready` is told the port. Raises OSError where the port is taken.
    """

    async def served() -> None:
        connections: set[Connection] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(service, connections), "127.0.0.1", port, backlog=BACKLOG)
        try:
            ready(server.sockets[0].getsockname()[1])
            await until()
        finally:
            server.close()
            for connection in list(connections):
                connection.abort()

    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        runner.run(served())
