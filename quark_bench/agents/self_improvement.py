"""Self-improvement: how far the passages bear the answer out; what they do not, a person should look at."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.grounding import HALF, grounding, stems_of, unsupported_words
from quark_bench.agents.latency import simulate
from quark_bench.agents.lessons import lesson_of
from quark_bench.agents.planning import NO_STEPS
from quark_bench.conversations import Conversations
from quark_bench.dataset import Prompt


@dataclass(frozen=True, slots=True)
class SelfImprovement:
    """`{"grounding": share, "doubt": 1 - grounding, "unsupported": words, "doubtful_steps": numbers}`.

    Where its set-up opened a store of conversations, what the answer teaches is written there; else nothing is.
    """

    median_s: float = 0.0

    async def __call__(
        self,
        prompt: Prompt,
        call: Call,
        reasoning: Mapping[str, Any],
        planning: Mapping[str, Any] = NO_STEPS,
        retrieval: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        await simulate(self.median_s, call)
        store: Conversations | None = call.ready
        answer = reasoning["answer"]
        lesson = lesson_of(prompt.text, answer, retrieval) if store else None
        if store and lesson:
            await to_thread(store.learn, lesson)
        known = frozenset().union(*map(stems_of, retrieval))
        share = grounding(answer, known)
        return {
            "grounding": share,
            "doubt": 1.0 - share,
            "unsupported": unsupported_words(answer, known),
            "doubtful_steps": [step["step"] for step in planning["steps"] if grounding(step["do"], known) < HALF],
        }
