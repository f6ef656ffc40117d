"""Planning: an answer taken apart into steps to do one after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Call
from quark_bench.agents.latency import simulate
from quark_bench.language import sentences

NO_STEPS: Mapping[str, Any] = {"steps": []}
"""What was planned where nothing had to be."""

_JOINT = re.compile(r";\s+|,?\s+(?:and\s+)?(?=(?:then|finally|next|afterwards)\b)", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d+[.)])\s+", re.MULTILINE)
_LEAD = re.compile(
    r"^(?:(?:and|first|firstly|second|secondly|third|then|next|afterwards|finally|lastly)\b,?\s*)+",
    re.IGNORECASE,
)


def steps_of(text: str) -> list[str]:
    """The steps that a text tells, in order: parted at sentences, lines, semicolons and words like `then`."""
    parts = (part for sentence in sentences(_BULLET.sub("", text)) for part in _JOINT.split(sentence))
    steps = (_LEAD.sub("", part.strip()).strip(" .,;") for part in parts)
    return [step for step in steps if step]


@dataclass(frozen=True, slots=True)
class Planning:
    """`{"steps": [{"step": 1, "do": text}, ...]}`; steps count from 1."""

    median_s: float = 0.0

    async def __call__(self, call: Call, reasoning: Mapping[str, Any]) -> dict[str, Any]:
        await simulate(self.median_s, call)
        return {"steps": [{"step": n, "do": step} for n, step in enumerate(steps_of(reasoning["answer"]), 1)]}
