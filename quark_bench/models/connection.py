"""One HTTP/1.1 connection to a model server: a request goes out, the pieces of its answer come in, each with its time.

h11 knows the protocol. A piece's time is read when its bytes arrive, before anything is made of them. One timer a
request watches both limits, so that pieces cost none.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import h11

from quark_bench.errors import MalformedReplyError, ModelConnectionError, ModelError, ModelTimeoutError

clock: Callable[[], float] = time.perf_counter

BETWEEN_S = 60.0
"""Longest silence within an answer that has begun."""
LARGEST_HEAD = 65_536


class Receiver(Protocol):
    """Takes an answer as it comes; an exception of its own ends it."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer; names of headers are in lower case."""
        ...

    def take(self, piece: bytes, now_s: float) -> None:
        """Bytes of the body that arrived at `now_s` of `clock`."""
        ...


class _Exchange:
    """A request that has been sent."""

    __slots__ = ("began", "done", "heard_s", "receiver", "timer", "until_s")

    def __init__(self, receiver: Receiver, done: asyncio.Future[None], sent_s: float, until_s: float) -> None:
        self.receiver = receiver
        self.done = done
        self.heard_s = sent_s
        self.until_s = until_s
        self.began = False
        self.timer: asyncio.TimerHandle | None = None


class Connection(asyncio.Protocol):
    """`place` is what errors call the server."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._exchange: _Exchange | None = None
        self._transport: Any = None

    async def ask(self, request: h11.Request, body: bytes, receiver: Receiver, until_s: float) -> float:
        """Send a request and wait for the end of its answer, at most until `until_s` of `clock`; when it was sent.

        Cancelling closes the connection. Raises ModelTimeoutError, ModelConnectionError, MalformedReplyError, and what
        the receiver raises.
        """
        loop = asyncio.get_running_loop()
        told = [request, h11.Data(body), h11.EndOfMessage()] if body else [request, h11.EndOfMessage()]
        parts = [self._http.send(event) for event in told]
        sent_s = clock()
        exchange = self._exchange = _Exchange(receiver, loop.create_future(), sent_s, until_s)
        self._transport.write(b"".join(part for part in parts if part))
        self._watch(exchange)
        try:
            await exchange.done
        finally:
            if exchange.timer is not None:
                exchange.timer.cancel()
            self._exchange = None
            if not self._is_whole:
                self.close()
        return sent_s

    @property
    def _is_whole(self) -> bool:
        """Whether the connection stands between two requests."""
        return self._http.our_state is h11.IDLE and not self._transport.is_closing()

    @property
    def is_fit(self) -> bool:
        """Whether another request may be sent. What is readable between requests is the connection's end, or nothing
        that was asked for: the request is then not sent here at all, so that none is ever sent twice."""
        return self._is_whole and not _readable(self._transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        """At once: what is under way fails."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now_s = clock()
        exchange = self._exchange
        if exchange is None or exchange.done.done():
            self.close()
            return
        exchange.heard_s = now_s
        self._read(exchange, data, now_s)

    def eof_received(self) -> None:
        """Some answers end with their connection."""
        exchange = self._exchange
        if exchange is not None and not exchange.done.done():
            self._read(exchange, b"", clock())

    def connection_lost(self, error: Exception | None) -> None:
        if self._exchange is not None:
            self._fail(self._exchange, self._lost(self._exchange))

    def _read(self, exchange: _Exchange, data: bytes, now_s: float) -> None:
        try:
            self._http.receive_data(data)
            self._take(exchange, now_s)
        except h11.RemoteProtocolError as error:
            if data:
                told = f"{self._place} sends what is no HTTP answer: {error}; see what --base-url is"
                self._fail(exchange, MalformedReplyError(told))
            else:
                self._fail(exchange, self._lost(exchange))
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer is told
            self._fail(exchange, error)

    def _take(self, exchange: _Exchange, now_s: float) -> None:
        pieces: list[bytes] = []
        ended = False
        while (event := self._http.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
            if isinstance(event, h11.Data):
                pieces.append(event.data)
            elif isinstance(event, h11.Response):
                exchange.began = True
                exchange.receiver.begin(event.status_code, {n.decode(): v.decode("latin-1") for n, v in event.headers})
            elif isinstance(event, h11.EndOfMessage):
                ended = True
                break
        if pieces:
            exchange.receiver.take(b"".join(pieces), now_s)
        if ended:
            # What follows an answer was not asked for: it must not be taken for the next one.
            unasked, _ = self._http.trailing_data
            if not unasked and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
            exchange.done.set_result(None)

    def _lost(self, exchange: _Exchange) -> ModelConnectionError:
        when = "before the end of its answer" if exchange.began else "before it answered"
        return ModelConnectionError(f"{self._place} closed the connection {when}; see the server's log")

    def _fail(self, exchange: _Exchange, error: Exception) -> None:
        if not exchange.done.done():
            exchange.done.set_exception(error)

    def _watch(self, exchange: _Exchange) -> None:
        """Look whether a limit has passed, and again when the nearer one may have."""
        now_s = clock()
        silent_until_s = exchange.heard_s + BETWEEN_S if exchange.began else exchange.until_s
        due_s = min(silent_until_s, exchange.until_s)
        if now_s < due_s:
            wait_s = min(due_s - now_s, BETWEEN_S)
            exchange.timer = asyncio.get_running_loop().call_later(wait_s, self._watch, exchange)
        else:
            self._fail(exchange, self._late(exchange, now_s >= exchange.until_s))

    def _late(self, exchange: _Exchange, at_all: bool) -> ModelError:
        if not at_all:
            return ModelTimeoutError(f"{self._place} fell silent for {BETWEEN_S:g} s within its answer")
        what = "the end of its answer" if exchange.began else "an answer"
        return ModelTimeoutError(
            f"no time is left for {what} from {self._place}; give the agent a longer timeout_s, or ask for fewer tokens"
        )


def _readable(file: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([file], [], [], 0)[0])
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))
