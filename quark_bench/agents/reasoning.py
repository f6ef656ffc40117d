"""Reasoning: the answer, by the model, from what was retrieved and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.context import build_context, messages
from quark_bench.agents.latency import simulate
from quark_bench.dataset import Prompt
from quark_bench.model import Reply

UNKNOWN = "fact"
"""The category where NLU gave none: it asks for no form of answer but a sentence."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """`{"answer": text, "context": ids in the order shown, "tokens": estimated tokens of that context}`."""

    median_s: float = 0.0

    async def __call__(
        self,
        prompt: Prompt,
        call: Call,
        nlu: Mapping[str, Any] | None = None,
        memory: Sequence[Mapping[str, Any]] = (),
        retrieval: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        await simulate(self.median_s, call)
        context = build_context(retrieval, memory)
        category = nlu["category"] if nlu else UNKNOWN
        reply: Reply = await call.model(messages(prompt.text, category, context, prompt.history))
        return {
            "answer": reply.text,
            "context": [item.id for item in context],
            "tokens": sum(item.tokens for item in context),
        }
