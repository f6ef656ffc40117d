"""Caching: an output is given again for equal inputs, and equal calls under way at once are one call.

Two calls are equal when the agent's code, its inputs and all else that it may draw on are. What is kept is the value
alone; the answer's text is made from it anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import pickle
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from quark_bench.agent import RESERVED, canonical
from quark_bench.dataset import Prompt
from quark_bench.errors import describe
from quark_bench.execute.attempt import Callee
from quark_bench.execute.outcome import CACHED, OK, Outcome
from quark_bench.execute.threads import Threads
from quark_bench.execute.values import answer_text
from quark_bench.fingerprint import canonical_form
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.policy import Cache

T = TypeVar("T")


@dataclass(slots=True)
class CacheCounts:
    """What came of the calls that might have been answered again.

    Every call is one of `hits` (its output was kept), `shared` (an equal one was under way) and `misses` (it was
    made). Of those made, `not_kept` gave what is no plain data; `errors` are the cache's own, the last one told in
    `last_error`, and cost nothing but the output's being made again.
    """

    hits: int = 0
    shared: int = 0
    misses: int = 0
    not_kept: int = 0
    errors: int = 0
    last_error: str | None = None

    def __add__(self, other: CacheCounts) -> CacheCounts:
        return CacheCounts(
            self.hits + other.hits,
            self.shared + other.shared,
            self.misses + other.misses,
            self.not_kept + other.not_kept,
            self.errors + other.errors,
            other.last_error or self.last_error,
        )


@dataclass(frozen=True, slots=True)
class CachedShipment:
    """A shipment whose agents may be answered from a cache; `hashes` are of their code, by name.

    The cache travels with it: as its path, where it is a file, which every process opens for itself.
    """

    shipment: Shipment
    cache: Cache
    hashes: Mapping[str, str]

    @property
    def code_hash(self) -> str:
        return self.shipment.code_hash

    @property
    def key(self) -> str:
        """Of its own: the same pipeline may be used without a cache, in this process and at this moment."""
        return f"{self.shipment.key}-cached"

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        return self.shipment.load()

    def outline(self) -> Pipeline:
        return self.shipment.outline()


class Caching:
    """Asks and fills a cache for the agents of one pipeline, on one event loop. `hashes` are their code's, by name."""

    def __init__(self, cache: Cache, hashes: Mapping[str, str]) -> None:
        self.counts = CacheCounts()
        self._cache = cache
        self._hashes = hashes
        self._threads = Threads()
        self._under_way: dict[str, asyncio.Future[Outcome | None]] = {}

    async def outcome(
        self, callee: Callee, arguments: Mapping[str, Any], seed: int, call: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """What an equal call gave, without spans, or what `call` gives.

        Whoever finds an equal call under way waits for it and shares its end, be it a failure. Where that one is
        cancelled, or raises, one of those who wait makes the call. Raises what `call` raises.
        """
        key = self._contained(lambda: key_of(callee, self._hashes[callee.agent.name], arguments, seed))
        if key is None:
            self.counts.misses += 1
            return await call()
        while (under_way := self._under_way.get(key)) is not None:
            shared = await asyncio.shield(under_way)
            if shared is not None:
                self.counts.shared += 1
                status = CACHED if shared.status is OK else shared.status
                return shared._replace(status=status, spans=(), cost_usd=0.0, fault=None, calls=())
        kept = self._contained(lambda: self._kept(key, callee.is_answer))
        if kept is not None:
            self.counts.hits += 1
            return kept
        self.counts.misses += 1
        return await self._call_and_keep(key, call)

    def _kept(self, key: str, is_answer: bool) -> Outcome | None:
        found = self._cache.get(key)
        if found is None:
            return None
        value = decode(found)
        return Outcome(CACHED, value, (), answer_text(value) if is_answer else None, None, 0.0)

    async def _call_and_keep(self, key: str, call: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Until the output is kept, those who come late find the call still under way."""
        under_way = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await call()
            under_way.set_result(None if outcome.is_left_out else outcome)
            if outcome.status is OK and outcome.fault is None:
                await self._keep(key, outcome.value)
            return outcome
        finally:
            del self._under_way[key]
            if not under_way.done():
                under_way.set_result(None)

    async def _keep(self, key: str, value: Any) -> None:
        """In a thread: a writer may have to wait for another one, or for the disk."""
        try:
            await self._threads.call(self._cache.put, {"key": key, "value": encode(value)})
        except NotPlainError:
            self.counts.not_kept += 1
        except Exception as error:  # noqa: BLE001 - as in `_contained`
            self._count(error)

    def _contained(self, asked: Callable[[], T]) -> T | None:
        """What is asked for, or None where that fails: no fault of a cache may cost a call."""
        try:
            return asked()
        except Exception as error:  # noqa: BLE001 - counted and told
            self._count(error)
            return None

    def _count(self, error: Exception) -> None:
        self.counts.errors += 1
        self.counts.last_error = describe(error)


def key_of(callee: Callee, code_hash: str, arguments: Mapping[str, Any], seed: int) -> str:
    """A sha256 of all that the call's result may depend on, equal in every process.

    Of the prompt that is text, category and metadata, never its id; `seed`, the trial's, counts for an agent that
    takes `call`; so does the `version` of what the agent's set-up returned, where there is one.
    """
    agent = callee.agent
    inputs = {canonical(name): value for name, value in arguments.items() if name not in RESERVED}
    prompt = arguments.get("prompt")
    told = (prompt.text, prompt.category, prompt.metadata) if isinstance(prompt, Prompt) else None
    drawn = seed if agent.takes_call else None
    parts = (code_hash, callee.is_answer, inputs, told, drawn, getattr(callee.ready, "version", None))
    return hashlib.sha256(canonical_form(parts).encode()).hexdigest()


class NotPlainError(TypeError):
    """A value is more than text, bytes, numbers, bools, None and containers of them."""


class _Encoder(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        """Asked about everything that is not plain, also about subclasses of what is."""
        raise NotPlainError(f"a {type(value).__name__} is no plain data")


class _Decoder(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuses: what somebody else has put into a cache must execute nothing."""
        raise pickle.UnpicklingError(f"a kept output names {module}.{name}; only plain data is kept")


def encode(value: Any) -> bytes:
    """The value as bytes. Raises NotPlainError where it is no plain data."""
    buffer = io.BytesIO()
    _Encoder(buffer, 5).dump(value)
    return buffer.getvalue()


def decode(encoded: bytes) -> Any:
    """The value. Raises for bytes that hold anything but plain data, whoever made them."""
    return _Decoder(io.BytesIO(encoded)).load()
