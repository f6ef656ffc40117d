"""Scoring: what of the answers could not be judged, and what judging took where models did it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from quark_bench.report.findings import Findings
from quark_bench.units import COUNT, DOLLARS, SCORE, SECONDS, SHARE

NAMED = 3
"""Prompts that are named as examples."""
SUM_COLUMNS = ("prompt_id", "scorer", "value", "explanation", "scored_s", "cost_usd", "order_bias")

TOLD_COLUMNS = ("prompt_id", "arm", "repeat", "scorer", "value", "explanation")


@dataclass(slots=True)
class Scored:
    """What one scorer did, over all arms. Seconds are those of each record, one after another."""

    records: int = 0
    unscored: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0
    asked_both_ways: int = 0
    changed_with_order: int = 0
    order_bias_sum: float = 0.0
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def order_bias(self) -> float | None:
        """The mean of what grades listed the one way gave more than halfway; None where nothing was asked both ways."""
        return self.order_bias_sum / self.asked_both_ways if self.asked_both_ways else None

    def as_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "records": self.records,
            "unscored": self.unscored,
            "scored_s": self.seconds,
            "cost_usd": self.cost_usd,
            "order_bias": self.order_bias,
        }


def scored(findings: Findings) -> dict[str, Scored]:
    """What each scorer did, by its name."""
    found: dict[str, Scored] = {}
    for part in findings.trials.scores(SUM_COLUMNS):
        for name, rows in part.groupby("scorer", observed=True):
            _add(found.setdefault(str(name), Scored()), rows)
    return found


def _add(sums: Scored, rows: pd.DataFrame) -> None:
    unscored, bias = rows[rows["value"].isna()], rows["order_bias"].dropna()
    sums.records += len(rows)
    sums.unscored += len(unscored)
    sums.seconds += float(rows["scored_s"].sum())
    sums.cost_usd += float(rows["cost_usd"].sum())
    sums.asked_both_ways += len(bias)
    sums.changed_with_order += int((bias != 0).sum())
    sums.order_bias_sum += float(bias.sum())
    for prompt_id, why in zip(unscored["prompt_id"], unscored["explanation"], strict=True):
        if len(sums.examples) == NAMED:
            break
        sums.examples.setdefault(str(prompt_id), str(why))


def scores_told(findings: Findings, prompt_id: str) -> dict[tuple[str, int], list[tuple[str, str]]]:
    """By arm and repeat the scores of one prompt, each with its value and why; the last where it was scored anew."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for part in findings.trials.scores(TOLD_COLUMNS):
        rows = part[part["prompt_id"] == prompt_id]
        for arm, repeat, name, value, why in zip(*(rows[column].tolist() for column in TOLD_COLUMNS[1:]), strict=True):
            told = "unscored" if math.isnan(value) else SCORE.format(value)
            found.setdefault((arm, repeat), {})[name] = f"{told}: {why}"
    return {place: list(scores.items()) for place, scores in found.items()}


def scoring_told(findings: Findings) -> Iterator[str]:
    """A sentence for each scorer that left answers unscored, and for each that was paid or asked both ways."""
    for name, sums in scored(findings).items():
        if sums.unscored:
            why = next(iter(sums.examples.values()))
            yield (
                f"Unscored by {name}: {COUNT.format(sums.unscored)} of {COUNT.format(sums.records)}, as "
                f"{', '.join(sums.examples)}; the first: {why}"
            )
        if sums.cost_usd or sums.asked_both_ways:
            yield f"Judging by {name}: {_price(sums)}{_bias(sums)}; no part of latency or cost above"


def _price(sums: Scored) -> str:
    each_s = SECONDS.format(sums.seconds / sums.records)
    return f"{COUNT.format(sums.records)} records, {each_s} each, {DOLLARS.format(sums.cost_usd)} in all"


def _bias(sums: Scored) -> str:
    if sums.order_bias is None:
        return ""
    changed = SHARE.format(sums.changed_with_order / sums.asked_both_ways)
    return f", order bias {sums.order_bias:+.3f} ({changed} changed with the order of the grades)"
