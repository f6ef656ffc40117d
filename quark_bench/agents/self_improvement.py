"""Self-improvement: how far the passages bear the answer out; what they do not, a person should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.models.language import FUNCTION_WORDS, content_stems, stem, words

HALF = 0.5
"""A step with more of its content words missing than this is doubtful."""


def unsupported_words(text: str, known: frozenset[str]) -> list[str]:
    """The content words of a text whose stems are not among the known, in order, without repeats."""
    return [word for word in _claimed(text) if stem(word) not in known]


def grounding(text: str, known: frozenset[str]) -> float:
    """Share of a text's distinct content words that are known by stem; 1 for a text that claims nothing."""
    claimed = _claimed(text)
    return 1.0 - len(unsupported_words(text, known)) / len(claimed) if claimed else 1.0


def _claimed(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in words(text) if word not in FUNCTION_WORDS))


@dataclass(frozen=True, slots=True)
class SelfImprovement:
    """`{"grounding": share, "doubt": 1 - grounding, "unsupported": words, "doubtful_steps": numbers}`.

    Writes nothing: learning from it is the live orchestrator's.
    """

    median_s: float = 0.0

    async def __call__(
        self,
        call: Call,
        planning: Mapping[str, Any],
        reasoning: Mapping[str, Any],
        retrieval: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        await simulate(self.median_s, call)
        known = frozenset(stem for p in retrieval for stem in content_stems(f"{p['title']} {p['text']}"))
        share = grounding(reasoning["answer"], known)
        return {
            "grounding": share,
            "doubt": 1.0 - share,
            "unsupported": unsupported_words(reasoning["answer"], known),
            "doubtful_steps": [step["step"] for step in planning["steps"] if grounding(step["do"], known) < HALF],
        }
