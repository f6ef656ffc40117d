"""Recording: a model whose answers are kept with the run, so that it can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quark_bench.agent import Call, Message, Model, Reply


@dataclass(frozen=True, slots=True)
class Recording:
    """Another model, under its own name."""

    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        return replace(await self.model.reply(messages, call), kept=True)

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        return replace(self.model.reply_blocking(messages, call), kept=True)
