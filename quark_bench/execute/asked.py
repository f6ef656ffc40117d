"""Asked: a model as one attempt of an agent asks it. Every question is measured and told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from quark_bench.agent import Call, Message, Model, Reply, question_hash
from quark_bench.errors import describe
from quark_bench.execute.deadlines import Branch
from quark_bench.record import ModelCall

clock: Callable[[], float] = time.perf_counter

NOTHING = Reply("")
"""Stands for the answer of a question that got none."""


class Asked:
    """The model of a pipeline, for the calls of one branch of a trial."""

    __slots__ = ("_branch", "_model", "_worker", "name")

    def __init__(self, model: Model, branch: Branch, worker: str) -> None:
        self.name = model.name
        self._model = model
        self._branch = branch
        self._worker = worker

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        start_s, number = clock(), _numbered(messages, call)
        try:
            reply = await self._model.reply(messages, call)
        except BaseException as error:
            self._tell(call, number, start_s, NOTHING, error)
            raise
        self._tell(call, number, start_s, reply, None)
        return reply

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        start_s, number = clock(), _numbered(messages, call)
        try:
            reply = self._model.reply_blocking(messages, call)
        except BaseException as error:
            self._tell(call, number, start_s, NOTHING, error)
            raise
        self._tell(call, number, start_s, reply, None)
        return reply

    def _tell(self, call: Call, number: int, start_s: float, reply: Reply, error: BaseException | None) -> None:
        """Add what became of a question to what the attempt has spent."""
        told = ModelCall(
            prompt_id=call.prompt_id,
            agent=call.agent,
            attempt=call.attempt,
            number=number,
            model=self.name,
            status=_status(error),
            start_s=start_s,
            sent_s=start_s,
            end_s=clock(),
            waited_s=0.0,
            first_token_s=reply.first_token_s,
            inter_token_s=reply.inter_token_s,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            estimated=reply.estimated,
            cost_usd=reply.cost_usd,
            finish_reason=reply.finish_reason,
            retries=0,
            error=None if error is None else describe(error),
            requests_left=reply.requests_left,
            tokens_left=reply.tokens_left,
            asked=call.usage.questions[number - 1],
            reply=reply.text if reply.kept else None,
            worker=self._worker,
        )
        call.usage.calls += (told,)


def _numbered(messages: Sequence[Message], call: Call) -> int:
    """Which question of its attempt this is. At once afterwards it is sent: a model that is asked the same several
    times may go by how often that was."""
    call.usage.questions += (question_hash(messages),)
    return len(call.usage.questions)


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
