"""Asked: a model as one attempt of an agent asks it. Every question is measured and told.

It waits for a permit where the model is limited, and is asked again where the model was only busy; neither wait counts
against the agent's time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from quark_bench.agent import Call
from quark_bench.errors import (
    ModelConnectionError,
    ModelError,
    ModelRateLimitedError,
    ModelServerError,
    describe,
)
from quark_bench.execute.deadlines import Branch
from quark_bench.execute.decide import Complaint, ask_again_after_s
from quark_bench.execute.permits import Permit, Permits
from quark_bench.execute.ration import Ended, Place
from quark_bench.language import estimated_tokens
from quark_bench.model import Message, Model, Reply, question_hash
from quark_bench.model_use import ModelUse
from quark_bench.record import ModelCall

T = TypeVar("T")

clock: Callable[[], float] = time.perf_counter

NOTHING = Reply("")
"""Stands for the answer of a question that got none."""


class Asked:
    """The model of a pipeline, for the calls of one branch of a trial."""

    __slots__ = ("branch", "call_number", "loop", "model", "name", "permits", "use", "worker")

    def __init__(self, model: Model, use: ModelUse, branch: Branch, permits: Permits, worker: str) -> None:
        self.name = model.name
        self.model = model
        self.use = use
        self.branch = branch
        self.call_number = branch.calls + 1
        self.loop = branch.task.get_loop()
        self.permits = permits
        self.worker = worker

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        question = _Question(self, messages, call)
        while True:
            await question.enter()
            question.send()
            try:
                return question.answered(await self.model.reply(messages, call))
            except BaseException as error:
                wait_s = question.failed(error)
                if wait_s is None:
                    raise
            await question.wait(wait_s)

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        question = _Question(self, messages, call)
        while True:
            asyncio.run_coroutine_threadsafe(question.enter(), self.loop).result()
            question.send()
            try:
                return question.answered(self.model.reply_blocking(messages, call))
            except BaseException as error:
                wait_s = question.failed(error)
                if wait_s is None:
                    raise
            asyncio.run_coroutine_threadsafe(question.wait(wait_s), self.loop).result()


class _Question:
    """One question on its way: sent once, or more often where the model was busy."""

    __slots__ = (
        "_asked",
        "_call",
        "_hash",
        "_number",
        "_permit",
        "_place",
        "_sent_s",
        "_start_s",
        "_times",
        "_tokens",
        "_waited_s",
    )
    _permit: Permit

    def __init__(self, asked: Asked, messages: Sequence[Message], call: Call) -> None:
        self._asked = asked
        self._call = call
        self._start_s = self._sent_s = clock()
        self._hash = question_hash(messages)
        self._number = self._times = 0
        self._waited_s = 0.0
        self._place: Place = (call.run_key.partition("-")[0], asked.name)
        limited = asked.use.limits.tokens_per_min is not None
        self._tokens = sum(estimated_tokens(each.get("content", "")) for each in messages) if limited else 0

    async def enter(self) -> None:
        """Get a permit, and wait for it where there is something to wait for."""
        permits = self._asked.permits
        free = permits.pass_freely(self._place, self._asked.use.limits, self._tokens)
        self._permit = free if free is not None else await self._held_up(permits.enter(self._place, self._tokens))

    async def wait(self, wait_s: float) -> None:
        """Before the model is asked again."""
        await self._held_up(asyncio.sleep(wait_s))

    async def _held_up(self, waiting: Awaitable[T]) -> T:
        """Wait, at nobody's cost: the time is told, and is not the agent's."""
        branch, since_s = self._asked.branch, clock()
        branch.hold_up(self._asked.call_number, since_s)
        try:
            return await waiting
        finally:
            now_s = clock()
            self._waited_s += now_s - since_s
            branch.let_go(self._asked.call_number, now_s)

    def send(self) -> None:
        """It is sent now. A model that is asked the same several times may go by how often that was."""
        if not self._number:
            self._call.usage.questions += (self._hash,)
            self._number = len(self._call.usage.questions)
        self._times += 1
        self._sent_s = clock()

    def answered(self, reply: Reply) -> Reply:
        self._leave(Ended.ANSWERED, reply.tokens_in + reply.tokens_out)
        self._tell(reply, None)
        return reply

    def failed(self, error: BaseException) -> float | None:
        """How long to wait before it is asked again; None: it is not, and that is told."""
        complaint = complaint_of(error)
        retry_after_s = error.retry_after_s if isinstance(error, ModelError) else None
        refused = isinstance(error, ModelRateLimitedError)
        self._leave(Ended.REFUSED if refused else Ended.OTHERWISE, 0, retry_after_s or 0.0)
        wait_s = ask_again_after_s(complaint, self._times, retry_after_s, self._call.seed)
        if wait_s is None:
            self._tell(NOTHING, error)
        return wait_s

    def _leave(self, ended: Ended, tokens: int, retry_after_s: float = 0.0) -> None:
        asked = self._asked
        leave = (self._place, self._permit, ended, float(tokens), retry_after_s)
        if self._call.blocking:
            asked.loop.call_soon_threadsafe(asked.permits.leave, *leave)
        else:
            asked.permits.leave(*leave)

    def _tell(self, reply: Reply, error: BaseException | None) -> None:
        """Add what became of it to what the attempt has spent."""
        call = self._call
        told = ModelCall(
            prompt_id=call.prompt_id,
            agent=call.agent,
            attempt=call.attempt,
            number=self._number,
            model=self._asked.name,
            status=_status(error),
            start_s=self._start_s,
            sent_s=self._sent_s,
            end_s=clock(),
            waited_s=self._waited_s,
            first_token_s=reply.first_token_s,
            inter_token_s=reply.inter_token_s,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            estimated=reply.estimated,
            cost_usd=reply.cost_usd,
            finish_reason=reply.finish_reason,
            retries=self._times - 1,
            error=None if error is None else describe(error),
            requests_left=reply.requests_left,
            tokens_left=reply.tokens_left,
            asked=self._hash,
            reply=reply.text if self._asked.use.record else None,
            worker=self._asked.worker,
        )
        call.usage.calls += (told,)
        call.usage.waited_s += self._waited_s


def complaint_of(error: BaseException) -> Complaint:
    """What an error of a model means for asking again."""
    if not isinstance(error, ModelError) or error.final:
        return Complaint.FINAL
    if isinstance(error, ModelRateLimitedError) or (
        isinstance(error, ModelServerError) and error.retry_after_s is not None
    ):
        return Complaint.BUSY
    return Complaint.FAULT if isinstance(error, ModelServerError | ModelConnectionError) else Complaint.FINAL


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
