"""Model cells: what was asked of models, and which limits held, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quark_bench.model_calls import ModelCalls
from quark_bench.report import sentences
from quark_bench.report.findings import Findings
from quark_bench.stats import Interval
from quark_bench.units import COUNT, DOLLARS, PER_SECOND, SECONDS

HEADERS = ("calls", "answer p50", "first token p50", "p95", "between tokens", "tokens in", "out", "cost", "waited")
MOST_FINISHES = 3


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model under one arm; each cell is a value and what stands small below it."""

    arm: str
    model: str
    cells: tuple[tuple[str, str], ...]


def model_rows(findings: Findings) -> list[ModelRow]:
    """A row for every model of every arm."""
    return [ModelRow(each.arm, each.model, tuple(_cells(each))) for each in findings.model_calls]


def _cells(each: ModelCalls) -> Iterator[tuple[str, str]]:
    unlike = {status: count for status, count in each.statuses.items() if status != "ok"}
    marks = [f"{COUNT.format(count)} {status}" for status, count in sorted(unlike.items())]
    if each.retries:
        marks.append(f"{sentences.plural(each.retries, 'time')} asked again")
    yield COUNT.format(each.calls), ", ".join((*marks, *_finishes(each)))
    yield _quantile(each.quantile_s("took_s", 0.50))
    yield _quantile(each.quantile_s("first_token_s", 0.50))
    yield _quantile(each.quantile_s("first_token_s", 0.95))
    yield _quantile(each.quantile_s("inter_token_s", 0.50))
    counted = "estimated" if each.estimated else ""
    yield COUNT.format(each.tokens_in), counted
    yield COUNT.format(each.tokens_out), counted
    yield (DOLLARS.format(each.cost_usd), "") if each.cost_usd else ("n/a", "no prices")
    waited_s = np.array(each.waited_s, np.float64)
    longest = f"p95 {SECONDS.format(float(np.quantile(waited_s, 0.95)))}" if waited_s.sum() > 0 else ""
    yield SECONDS.format(float(waited_s.sum())), longest


def _finishes(each: ModelCalls) -> Iterator[str]:
    """Reasons for an end that is not the ordinary one."""
    unlike = [(reason, count) for reason, count in each.finishes.most_common() if reason != "stop"]
    for reason, count in unlike[:MOST_FINISHES]:
        yield f"{COUNT.format(count)} ended by {reason!r}"


def _quantile(found: Interval) -> tuple[str, str]:
    if found.value is None:
        return "n/a", ""
    return SECONDS.format(found.value), SECONDS.format_interval(found.low, found.high) if found.low else found.note


def model_lines(findings: Findings) -> Iterator[str]:
    """A sentence for every model that was asked over a network, or that made anybody wait."""
    for each in findings.model_calls:
        first, wait_s = each.quantile_s("first_token_s", 0.50), sum(each.waited_s)
        if first.value is None and not wait_s and not each.retries and each.statuses["ok"] == each.calls:
            continue
        took = each.quantile_s("took_s", 0.50)
        how = "none answered" if took.value is None else f"answered in {SECONDS.format(took.value)} (p50)"
        told = [f"{sentences.plural(each.calls, 'call')}, {how}"]
        if first.value is not None:
            told.append(
                f"first token after {_told(first)}, {_told(each.quantile_s('inter_token_s', 0.50))} between tokens"
            )
        counted = " estimated" if each.estimated else ""
        told.append(f"{COUNT.format(each.tokens_in)} tokens in, {COUNT.format(each.tokens_out)} out{counted}")
        if each.cost_usd:
            told.append(DOLLARS.format(each.cost_usd))
        if missed := each.calls - each.statuses["ok"]:
            told.append(f"{COUNT.format(missed)} without an answer")
        if each.retries:
            told.append(f"asked again {sentences.plural(each.retries, 'time')}")
        if wait_s:
            told.append(f"waited {SECONDS.format(wait_s)} in all for limits")
        yield f"{each.arm}: {each.model}: {'; '.join(told)}"


def _told(found: Interval) -> str:
    return "n/a" if found.value is None else SECONDS.format(found.value)


def limits_told(ration: Mapping[str, Any]) -> str:
    """`at most 20 req/s, 16 calls at once`, or that there were none."""
    limits = ration["limits"]
    told = []
    if (per_s := limits.get("requests_per_s")) is not None:
        told.append(PER_SECOND.format(per_s))
    if (per_min := limits.get("tokens_per_min")) is not None:
        told.append(f"{COUNT.format(per_min)} tokens a minute")
    if (calls := limits.get("calls")) is not None:
        told.append(f"{sentences.plural(calls, 'call')} at once")
    return f"at most {', '.join(told)}" if told else "none was set"


def ration_lines(findings: Findings) -> Iterator[str]:
    """A sentence for every model that was limited, or that refused."""
    newest = {each["model"]: each for each in findings.rations}  # of the sessions of a run, the last
    for each in newest.values():
        refused = f"; refused {sentences.plural(each['refused'], 'time')}" if each["refused"] else ""
        ceiling = f"; {each['ceiling']:.0f} calls at once at the end" if each["ceiling"] is not None else ""
        yield f"Limits of {each['model']}: {limits_told(each)}{refused}{ceiling}"
