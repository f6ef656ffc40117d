"""Parity: where two arms answered a prompt differently, both answers side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quark_bench.compare import Comparison, differing_pairs
from quark_bench.pairing import PAIRED, pair_up
from quark_bench.report.findings import Findings
from quark_bench.report.sentences import VISIBLE_IDS


@dataclass(frozen=True, slots=True)
class Differing:
    """A prompt that two arms answered differently, in the first repeat in which they did. None is no answer."""

    prompt_id: str
    repeat: int
    a: str
    b: str
    answer_a: str | None
    answer_b: str | None


def differing(findings: Findings) -> list[Differing]:
    """The first prompts that each comparison found answered differently."""
    return [each for found in findings.comparisons for each in _of(findings, found)]


def _of(findings: Findings, found: Comparison) -> Iterator[Differing]:
    named = found.answers_differ[:VISIBLE_IDS]
    if not named:
        return
    records, _ = findings.trials.of_prompts(named)
    pairs = differing_pairs(pair_up(records[list(PAIRED)], (found.a, found.b)))
    first = pairs.sort_values("repeat", kind="stable").drop_duplicates("prompt_id")
    columns = (first[name].tolist() for name in ("prompt_id", "repeat", "answer_0", "answer_1"))
    for prompt_id, repeat, *answers in zip(*columns, strict=True):
        given = (text if isinstance(text, str) else None for text in answers)
        yield Differing(prompt_id, repeat, found.a, found.b, *given)
