"""Model: how text is generated, what it answers, and what an agent's attempt has spent on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from quark_bench.record import ModelCall

if TYPE_CHECKING:
    from quark_bench.agent import Call

Message = Mapping[str, str]
"""`{"role": "user", "content": "..."}`, as chat models take it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered. Tokens are counts; `first_token_s` counts from sending the request.

    `inter_token_s` is the mean time from one token to the next, (last - first) / (tokens_out - 1); None where the
    answer was not streamed. `estimated` tells that the tokens were counted here, not by the server. `finish_reason` is
    the server's. `requests_left` and `tokens_left` are what its rate limit had left, as its headers tell.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    first_token_s: float | None = None
    inter_token_s: float | None = None
    estimated: bool = False
    finish_reason: str | None = None
    requests_left: int | None = None
    tokens_left: int | None = None


class Model(Protocol):
    """How text is generated: one method for async agents and one for sync ones. `call` tells on whose behalf.

    Both raise ModelError where there is no answer. A model may have more, which is asked for by name: `told`, see
    `model_told`; `price`, which a run's manifest tells; and `make_ready()`, called once a process, outside every
    latency, which raises ExecutionError where the model cannot answer.
    """

    name: str

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        """Answer the messages without blocking the event loop."""
        ...

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        """Answer the messages in the calling thread."""
        ...


def model_told(model: Model | None) -> str | None:
    """A model in words: its `told`, all that its answers may depend on, where it has one, else its name.

    Runs compare by it. None for no model.
    """
    return None if model is None else str(getattr(model, "told", model.name))


@dataclass(slots=True)
class Usage:
    """What one attempt of an agent spent at models; filled by `Call.model`, read into the span."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    first_token_s: float | None = None
    simulated_s: float = 0.0
    waited_s: float = 0.0
    """For a rate limit, of a model's server or of the run's own."""
    questions: tuple[str, ...] = ()
    """Hashes of the questions that have been sent."""
    calls: tuple[ModelCall, ...] = ()
    """What became of those that have ended."""

    def add(self, reply: Reply) -> Reply:
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        self.cost_usd += reply.cost_usd
        self.first_token_s = reply.first_token_s
        return reply

    def merge(self, other: Usage) -> None:
        """Take in what a part of the attempt spent in another process."""
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.cost_usd += other.cost_usd
        self.first_token_s = self.first_token_s if other.first_token_s is None else other.first_token_s
        self.simulated_s += other.simulated_s
        self.waited_s += other.waited_s
        self.questions += other.questions
        self.calls += other.calls


def question_hash(messages: Sequence[Message]) -> str:
    """Equal for equal messages, in every process."""
    parts = (f"{message.get('role', '')}\0{message.get('content', '')}" for message in messages)
    return hashlib.blake2b("\0\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()
