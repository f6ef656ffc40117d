"""A model behind a server that speaks OpenAI's protocol: one request a reply, no retries, no limits of its own."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h11

from quark_bench.agent import Call
from quark_bench.errors import MalformedReplyError, ModelError, ModelRefusedError
from quark_bench.execute.event_loop import LoopThread
from quark_bench.language import estimated_tokens
from quark_bench.model import Message, Reply
from quark_bench.models.answers import Answer, parsed
from quark_bench.models.connection import clock
from quark_bench.models.connections import Connections, Place, place_of
from quark_bench.models.prices import Price
from quark_bench.models.refusals import Asking, left
from quark_bench.redact import MARK, name_secret, redact

TOTAL_S = 600.0
"""Longest wait for an answer of an agent that has no limit."""
LOOK_S = 30.0
"""Longest wait for the page that lists a server's models."""
LARGEST = 64_000_000
"""Bytes of an answer."""
PATHS = {"chat": "/chat/completions", "completions": "/completions"}
"""By what `api` may be."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model as one server offers it, and how it is asked. `extra` is JSON: further fields of every request.

    The key is no part of it: each request reads it from the environment variable `api_key_env`.
    """

    model: str
    base_url: str
    api: str
    stream: bool
    api_key_env: str
    temperature: float | None
    max_tokens: int | None
    extra: str
    price: Price | None

    @property
    def told(self) -> str:
        """`openai:NAME at URL, temperature 0`: all that its answers may depend on."""
        settings = {
            "completions": self.api == "completions",
            "not streamed": not self.stream,
            f"temperature {self.temperature}": self.temperature is not None,
            f"max_tokens {self.max_tokens}": self.max_tokens is not None,
            self.extra: self.extra != "{}",
        }
        given = (name for name, holds in settings.items() if holds)
        return ", ".join([f"openai:{self.model} at {self.base_url}", *given])

    def body(self, messages: Sequence[Message], *, usage: bool) -> bytes:
        """The JSON of a request; `usage` asks a stream for the tokens that it took."""
        asked: dict[str, Any] = {"model": self.model}
        if self.api == "chat":
            asked["messages"] = [dict(message) for message in messages]
        else:
            asked["prompt"] = flattened(messages)
        if self.stream:
            asked["stream"] = True
            if usage:
                asked["stream_options"] = {"include_usage": True}
        chosen = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        asked |= {name: value for name, value in chosen.items() if value is not None}
        return json.dumps(asked | json.loads(self.extra)).encode()


def flattened(messages: Sequence[Message]) -> str:
    """What all messages say, an empty line between them."""
    return "\n\n".join(message.get("content", "") for message in messages)


class _Received:
    """The answer to one request, as it comes."""

    __slots__ = ("answer", "headers", "pieces", "size", "status", "streams")

    def __init__(self) -> None:
        self.answer = Answer()
        self.pieces: list[bytes] = []
        self.size = 0
        self.status = 0
        self.streams = False
        self.headers: Mapping[str, str] = {}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self.streams = status == 200 and headers.get("content-type", "").startswith("text/event-stream")

    def take(self, piece: bytes, now_s: float) -> None:
        self.size += len(piece)
        if self.size > LARGEST:
            raise MalformedReplyError(f"the answer has more than {LARGEST / 1e6:g} MB, which is more than is taken")
        if self.streams:
            self.answer.take(piece, now_s)
        else:
            self.pieces.append(piece)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class OpenAIModel:
    """Fills the Model protocol. Connections are kept, apart for each event loop; they do not travel with it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = f"openai:{endpoint.model}"
        self._place: Place = place_of(endpoint.base_url)
        self._connections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = (
            weakref.WeakKeyDictionary()
        )
        self._tells_usage = True
        self._thread: LoopThread | None = None
        self._starting = threading.Lock()
        name_secret(endpoint.api_key_env)

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenAIModel, (self.endpoint,)

    def __repr__(self) -> str:
        return f"OpenAIModel({self.told})"

    @property
    def told(self) -> str:
        """All that its answers may depend on, without secrets."""
        return self.endpoint.told

    @property
    def price(self) -> Price | None:
        return self.endpoint.price

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        """Ask once. Raises the ModelError that tells what went wrong, without the key.

        A server that knows no `stream_options` says so at once; it is asked again without them, now and from now on.
        """
        usage = self._tells_usage
        until_s = clock() + (TOTAL_S if call.deadline_s is None else call.deadline_s)
        key = self._key()
        try:
            try:
                return await self._asked(messages, usage, key, until_s)
            except ModelRefusedError as refused:
                if not (usage and self.endpoint.stream and "stream_options" in str(refused)):
                    raise
            self._tells_usage = False
            return await self._asked(messages, False, key, until_s)
        except ModelError as error:
            raise _without(key, error) from None

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        """As `reply`, in an event loop of the model's own."""
        asked = self._loop_thread().submit(self.reply(messages, call))
        try:
            return asked.result()
        finally:
            asked.cancel()  # where waiting was interrupted

    def make_ready(self) -> None:
        """Ask the server which models it has, before the first prompt. Raises ModelError where it cannot be reached,
        does not take the key, or is none.

        Which ones it has is not looked at: gateways and aliases answer for models that they do not list. A server that
        has no such page, or is busy, may answer questions all the same.
        """
        asked = self._loop_thread().submit(self._look())
        try:
            asked.result()
        finally:
            asked.cancel()

    async def _look(self) -> None:
        key = self._key()
        received = _Received()
        try:
            await self._exchanged(self._request("GET", "/models", key), b"", received, clock() + LOOK_S)
            if received.status in (401, 403):
                raise self._asking(key).refusal(received.status, received.headers, received.body, time.time())
            if received.status == 200:
                parsed(received.body.decode("utf-8", "replace"))
        except ModelError as error:
            raise _without(key, error) from None

    async def _asked(self, messages: Sequence[Message], usage: bool, key: str, until_s: float) -> Reply:
        body = self.endpoint.body(messages, usage=usage)
        received = _Received()
        request = self._request("POST", PATHS[self.endpoint.api], key, len(body))
        sent_s = await self._exchanged(request, body, received, until_s)
        if received.status != 200:
            raise self._asking(key).refusal(received.status, received.headers, received.body, time.time())
        if received.streams:
            received.answer.check()
        else:
            received.answer.take_whole(received.body)
        return self._reply(messages, received, sent_s)

    async def _exchanged(self, request: h11.Request, body: bytes, received: _Received, until_s: float) -> float:
        """When the request was sent; its whole answer has been received."""
        loop = asyncio.get_running_loop()
        connections = self._connections.get(loop)
        if connections is None:
            connections = self._connections[loop] = Connections(self._place)
        connection = await connections.take()
        try:
            sent_s = await connection.ask(request, body, received, until_s)
        except BaseException:
            connections.drop(connection)
            raise
        connections.give_back(connection)
        return sent_s

    def _request(self, method: str, path: str, key: str, length: int | None = None) -> h11.Request:
        headers = [("host", self._place.host_header), ("user-agent", "quark-bench"), ("accept-encoding", "identity")]
        if key:
            headers.append(("authorization", f"Bearer {key}"))
        if length is not None:
            headers += [("content-type", "application/json"), ("content-length", str(length))]
        return h11.Request(method=method, target=self._place.path.rstrip("/") + path, headers=headers)

    def _key(self) -> str:
        """Empty for none. Raises ModelRefusedError for one that no header can hold, without showing it."""
        key = os.environ.get(self.endpoint.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ModelRefusedError(f"{self.endpoint.api_key_env} holds characters that no key has; set it anew")
        return key

    def _asking(self, key: str) -> Asking:
        endpoint = self.endpoint
        return Asking(endpoint.model, endpoint.base_url, endpoint.api_key_env, bool(key))

    def _reply(self, messages: Sequence[Message], received: _Received, sent_s: float) -> Reply:
        answer, price = received.answer, self.endpoint.price
        text, counted, first_s, last_s = answer.text, answer.tokens, answer.first_s, answer.last_s
        tokens_in, tokens_out = counted or (estimated_tokens(flattened(messages)), estimated_tokens(text))
        first_token_s = inter_token_s = None
        if first_s is not None and last_s is not None:
            first_token_s = first_s - sent_s
            inter_token_s = (last_s - first_s) / (tokens_out - 1) if tokens_out > 1 else None
        return Reply(
            text,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=0.0 if price is None else price.cost_usd(tokens_in, tokens_out),
            first_token_s=first_token_s,
            inter_token_s=inter_token_s,
            estimated=counted is None,
            finish_reason=answer.finish,
            requests_left=left(received.headers, "requests"),
            tokens_left=left(received.headers, "tokens"),
        )

    def _loop_thread(self) -> LoopThread:
        with self._starting:
            if self._thread is None:
                self._thread = LoopThread("quark-bench-model")
                atexit.register(self._thread.close)
            return self._thread


def _without(key: str, error: ModelError) -> ModelError:
    """The error, in case the server repeated the key in what it said."""
    told = str(error).replace(key, MARK) if key else str(error)
    return type(error)(redact(told), retry_after_s=error.retry_after_s)
