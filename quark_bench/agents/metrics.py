"""Metrics: how much the assistant said, from how much it was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.agents.planning import NO_STEPS


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counts: `answer_words, steps, context_items, context_tokens` (the tokens are estimates)."""

    median_s: float = 0.0

    async def __call__(
        self, call: Call, reasoning: Mapping[str, Any], planning: Mapping[str, Any] = NO_STEPS
    ) -> dict[str, int]:
        await simulate(self.median_s, call)
        return {
            "answer_words": len(reasoning["answer"].split()),
            "steps": len(planning["steps"]),
            "context_items": len(reasoning["context"]),
            "context_tokens": reasoning["tokens"],
        }
