"""Timeline: the prompts worth opening, a row each for a table, and the waterfalls that its rows open.

Of a long run these are the worst, the best and some drawn with the run's seed; `quark-bench show` has the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quark_bench.plain import plain, shortened
from quark_bench.report.findings import Findings
from quark_bench.report.waterfall import Bar, Lane, lanes_of
from quark_bench.trials import Positions, is_answered, numbers
from quark_bench.units import RATIO, SECONDS

MOST_WORST, MOST_BEST, MOST_DRAWN = 100, 20, 200
MOST_BARS = 60
"""Attempts of one record that its waterfall shows."""
MOST_CHARACTERS = 1_400_000
"""Of the waterfalls together; the rows beyond have none, and say how to see theirs."""
LONGEST_ID, LONGEST_TEXT, LONGEST_NAME = 120, 300, 60


@dataclass(frozen=True, slots=True)
class Picked:
    """A trial that was picked: `why` is `worst`, `best` or `drawn`."""

    prompt_id: str
    repeat: int
    why: str


@dataclass(frozen=True, slots=True)
class TimelineCell:
    """A cell of the table; rows are sorted by `key` where it is a number, else by the text."""

    text: str
    key: float | None = None


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """A prompt of the table; `waterfall` is the number of its waterfall, None where there was no room for it."""

    prompt_id: str
    text: str
    why: str
    status: str
    cells: tuple[TimelineCell, ...]
    waterfall: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The table and the waterfalls of its rows, as JSON in which nothing can end a script element."""

    headers: tuple[str, ...]
    rows: tuple[TimelineRow, ...]
    unlisted: int
    """Prompts of the run that have no row."""
    data: str


def timeline(findings: Findings) -> Timeline | None:
    """The prompts worth opening, the worst first. None without any record."""
    picked = pick(findings)
    if not picked:
        return None
    found = lanes_of(findings, [each.prompt_id for each in picked])
    shown = [(each, _of_trial(found[each.prompt_id], each.repeat)) for each in picked]
    waterfalls: list[str] = []
    rows, room = [], MOST_CHARACTERS
    for each, lanes in shown:
        written = _json(_waterfall(findings, each, lanes))
        room -= len(written)
        rows.append(_row(findings, each, lanes, len(waterfalls) if room >= 0 else None))
        if room >= 0:
            waterfalls.append(written)
    headers = ("category", *(_name(arm) for arm in findings.arms), *_ratio_header(findings))
    names = _json(
        {"arms": [_name(arm) for arm in findings.arms], "agents": [_name(name) for name, _ in findings.layout]}
    )
    data = f'{{"names":{names},"prompts":[{",".join(waterfalls)}]}}'
    return Timeline(headers, tuple(rows), max(0, findings.manifest["dataset"]["prompts"] - len(rows)), data)


def pick(findings: Findings) -> list[Picked]:
    """The MOST_WORST slowest prompts of the last arm that has records, failures being slower than everything, then the
    MOST_BEST fastest, then MOST_DRAWN of the rest, drawn with the run's seed; a prompt once, by its worst repeat."""
    for arm in reversed(findings.arms):
        timed = findings.trials.records(["status", "latency_s"], arm)
        if len(timed):
            slowness = np.where(is_answered(timed), numbers(timed, "latency_s"), np.inf)
            break
    else:
        return []
    order = np.argsort(-slowness, kind="stable")
    repeats = max(1, int(findings.manifest["repeats"]))
    draws = np.random.default_rng(findings.manifest["seed"])
    worst, rest = order[: MOST_WORST * repeats], order[MOST_WORST * repeats :]
    best, middle = rest[len(rest) - min(len(rest), MOST_BEST * repeats) :][::-1], rest[: -MOST_BEST * repeats]
    drawn = draws.permutation(middle)[: MOST_DRAWN * repeats]
    seen: set[str] = set()
    parts = (("worst", worst, MOST_WORST), ("best", best, MOST_BEST), ("drawn", drawn, MOST_DRAWN))
    return [each for why, rows, most in parts for each in _distinct(findings, arm, rows, most, seen, why)]


def _distinct(findings: Findings, arm: str, rows: Positions, most: int, seen: set[str], why: str) -> Iterator[Picked]:
    """The first `most` of these records whose prompt is not among the `seen`."""
    trials = findings.trials.records(["prompt_id", "repeat"], arm, rows)
    left = most
    for prompt_id, repeat in zip(trials["prompt_id"].astype(str), trials["repeat"], strict=True):
        if left and prompt_id not in seen:
            seen.add(prompt_id)
            left -= 1
            yield Picked(prompt_id, int(repeat), why)


def _of_trial(lanes: Sequence[Lane], repeat: int) -> list[Lane]:
    return [lane for lane in lanes if lane.repeat == repeat]


def _row(findings: Findings, picked: Picked, lanes: Sequence[Lane], waterfall: int | None) -> TimelineRow:
    prompt = findings.prompts.get(picked.prompt_id)
    category = (prompt.category if prompt else None) or ""
    by_arm = {lane.arm: lane for lane in lanes}
    cells = [TimelineCell(_name(category))]
    cells.extend(_latency_cell(by_arm.get(arm)) for arm in findings.arms)
    if _ratio_header(findings):
        cells.append(_ratio_cell(by_arm.get(findings.arms[0]), by_arm.get(findings.arms[-1])))
    ended = by_arm.get(findings.arms[-1]) or (lanes[-1] if lanes else None)
    text = shortened(prompt.text, LONGEST_ID) if prompt else ""
    return TimelineRow(
        shortened(picked.prompt_id, LONGEST_ID),
        text,
        picked.why,
        _name(ended.status) if ended else "",
        tuple(cells),
        waterfall,
    )


def _latency_cell(lane: Lane | None) -> TimelineCell:
    if lane is None:
        return TimelineCell("n/a")
    return TimelineCell("failed" if lane.status == "failed" else SECONDS.format(lane.latency_s), lane.latency_s)


def _ratio_header(findings: Findings) -> tuple[str, ...]:
    return ("gain",) if len(findings.arms) > 1 else ()


def _ratio_cell(slow: Lane | None, fast: Lane | None) -> TimelineCell:
    """How many times faster the last arm was; nothing where either failed."""
    if slow is None or fast is None or "failed" in (slow.status, fast.status) or fast.latency_s <= 0:
        return TimelineCell("n/a")
    ratio = slow.latency_s / fast.latency_s
    return TimelineCell(RATIO.format(ratio), ratio)


def _waterfall(findings: Findings, picked: Picked, lanes: Sequence[Lane]) -> dict[str, Any]:
    prompt = findings.prompts.get(picked.prompt_id)
    longest_s = max((lane.latency_s for lane in lanes), default=0.0) or 1.0
    return {
        "id": _cut(picked.prompt_id),
        "text": _cut(prompt.text) if prompt else "",
        "reference": [_cut(reference) for reference in prompt.reference[:3]] if prompt else [],
        "repeat": picked.repeat,
        "lanes": [_lane(findings, lane, longest_s) for lane in lanes],
    }


def _lane(findings: Findings, lane: Lane, longest_s: float) -> dict[str, Any]:
    place = {name: number for number, (name, _) in enumerate(findings.layout)}
    return {
        "arm": findings.arms.index(lane.arm),
        "status": _name(lane.status),
        "took": SECONDS.format(lane.latency_s),
        "answer": _cut(lane.answer),
        "error": _cut(lane.error),
        "bars": [_bar(bar, place, longest_s) for bar in lane.bars[:MOST_BARS]],
        "more": max(0, len(lane.bars) - MOST_BARS),
    }


def _bar(bar: Bar, place: dict[str, int], longest_s: float) -> list[Any]:
    """Agent, attempt, status, then where it was ready, started and ended in percent of the longest record, how long it
    took, and whether it lies on the critical path."""
    ready, start, end = (round(100 * at_s / longest_s, 2) for at_s in (bar.ready_s, bar.start_s, bar.end_s))
    agent = place.get(bar.agent, _name(bar.agent))
    took = SECONDS.format(bar.duration_s) if bar.attempt else ""
    return [agent, bar.attempt, _name(bar.status), ready, start, end, took, int(bar.on_chain)]


def _json(value: Any) -> str:
    """JSON for a script element: no `<` may begin a tag or comment there."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _cut(text: str) -> str:
    return plain(shortened(text, LONGEST_TEXT))


def _name(text: str) -> str:
    return plain(shortened(text, LONGEST_NAME))
