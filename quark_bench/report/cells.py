"""Cells: measures as written for people, arms as columns, the same for terminal and page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from quark_bench.measures import Measure
from quark_bench.report.findings import Findings
from quark_bench.trials import AGENT_DOT, agent_of
from quark_bench.units import Direction, Unit


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of a table: which measure under which label; `beside` is a second one, shown small after `beside_label`."""

    label: str
    name: str
    beside_label: str = ""
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of one arm. `details` are smaller lines below it; `note` numbers a footnote, 0 for none.

    `best` says that it is better than in every other arm with intervals that do not touch.
    """

    value: str
    details: tuple[str, ...] = ()
    note: int = 0
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A label and one cell per arm."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows by arms, with the footnotes that cells refer to, the first being number 1."""

    arms: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


SPEED = (
    Shown("latency, mean", "mean_latency_s"),
    Shown("latency, median", "p50_latency_s"),
    Shown("latency, 95 %", "p95_latency_s"),
    Shown("throughput", "throughput_per_s"),
    Shown("goodput", "goodput_per_s", "share", "goodput_share"),
    Shown("concurrent agents", "concurrent_agents", "mean", "concurrent_agents_mean"),
    Shown("parallel rate", "parallel_rate", "ideal", "ideal_parallel_rate"),
    Shown("parallel efficiency", "parallel_efficiency"),
    Shown("CPU per prompt", "cpu_s_per_prompt"),
    Shown("peak memory", "peak_memory_bytes"),
    Shown("failed", "failed_share"),
    Shown("degraded", "degraded_share", "records", "degraded_records"),
    Shown("cached calls", "cached_calls"),
)
"""How fast, how parallel, at what price, and how often not at all."""

PERCENTILES = (
    Shown("mean", "mean_latency_s"),
    Shown("50 %, the median", "p50_latency_s"),
    Shown("90 %", "p90_latency_s"),
    Shown("95 %", "p95_latency_s"),
    Shown("99 %", "p99_latency_s"),
)
"""Within which latency which share of the prompts was answered."""


def speed_rows(findings: Findings) -> tuple[Shown, ...]:
    """SPEED without the rows that say nothing: a goodput that is the throughput, nothing degraded, nothing cached."""
    idle = set()
    if all(
        _value(findings, arm, "goodput_per_s") == _value(findings, arm, "throughput_per_s") for arm in findings.arms
    ):
        idle.add("goodput_per_s")
    idle |= {
        name
        for name in ("degraded_share", "cached_calls")
        if not any(_value(findings, arm, name) for arm in findings.arms)
    }
    return tuple(shown for shown in SPEED if shown.name not in idle)


def more_rows(findings: Findings) -> tuple[Shown, ...]:
    """A row for every measure that neither SPEED nor PERCENTILES nor the scores show, and that is not 0 in all arms."""
    shown = {name for each in (*SPEED, *PERCENTILES) for name in (each.name, each.beside)}
    names = dict.fromkeys(name for arm in findings.arms for name in findings.measures.get(arm, {}))
    return tuple(
        Shown(_label(name), name)
        for name in names
        if name not in shown
        and not name.startswith("score_")
        and any(_value(findings, arm, name) for arm in findings.arms)
    )


def _label(name: str) -> str:
    """`mean_critical_path_s` is `mean critical path`: the cell has the unit."""
    return re.sub(r"_(s|usd)$", "", name).replace("_", " ")


def _value(findings: Findings, arm: str, name: str) -> float | None:
    measure = findings.measure(arm, name)
    return measure.value if measure else None


def score_rows(findings: Findings) -> tuple[Shown, ...]:
    """For each scorer a row: failures as zero, and beside it the score of what was answered. Then, where not all of
    that has a score, the share that has; of repeats whether any passes, all, or most, where they differ at all,
    and how far scores spread within and between prompts."""
    return tuple(row for name in findings.scorers for row in _score_rows(findings, name))


def _score_rows(findings: Findings, name: str) -> Iterator[Shown]:
    scorer = name.removeprefix("score_")
    agent = agent_of(scorer)
    if agent is None:
        label = scorer.replace("_", " ")
        yield Shown(label, name, "answered", f"{name}_answered")
    else:
        label = f"{agent} {scorer.removeprefix(agent + AGENT_DOT)}"
        yield Shown(label, name)
    if any(_value(findings, arm, f"{name}_scored") not in (1.0, None) for arm in findings.arms):
        yield Shown(f"{label}, scored", f"{name}_scored")
    repeats = findings.manifest["repeats"]
    at = f"{name}_pass_at_{repeats}"
    if repeats == 1:
        return
    if any(_value(findings, arm, f"{name}_within_sd") and _value(findings, arm, at) for arm in findings.arms):
        yield Shown(f"{label}, pass@{repeats}", at, f"pass^{repeats}", f"{name}_pass_all_{repeats}")
        yield Shown(f"{label}, majority", f"{name}_majority")
    if any(_value(findings, arm, f"{name}_within_sd") is not None for arm in findings.arms):
        yield Shown(f"{label}, within", f"{name}_within_sd", "between", f"{name}_between_sd")


def grid(findings: Findings, shown: Sequence[Shown]) -> Grid:
    """The rows that at least one arm has a measure for."""
    notes: dict[str, int] = {}
    rows = tuple(
        _row(findings, each, notes) for each in shown if any(findings.measure(arm, each.name) for arm in findings.arms)
    )
    return Grid(findings.arms, rows, tuple(notes))


def interval(unit: Unit, low: float | None, high: float | None) -> str:
    """`148 to 157 ms`: bounds as the unit writes them, a common unit written once; empty where there are none."""
    if low is None or high is None:
        return ""
    first, last = unit.format(low), unit.format(high)
    if " " in last and first.endswith(ending := last[last.rindex(" ") :]):
        first = first.removesuffix(ending)
    return f"{first} to {last}"


def _row(findings: Findings, shown: Shown, notes: dict[str, int]) -> Row:
    measures = [findings.measure(arm, shown.name) for arm in findings.arms]
    besides = [findings.measure(arm, shown.beside) for arm in findings.arms]
    best = _clearly_best(measures)
    pairs = zip(measures, besides, strict=True)
    cells = [_cell(measure, _beside(shown, measure, beside), notes) for measure, beside in pairs]
    return Row(shown.label, tuple(replace(cell, best=index == best) for index, cell in enumerate(cells)))


def _cell(measure: Measure | None, beside: str, notes: dict[str, int]) -> Cell:
    if measure is None:
        return Cell("n/a", note=_number("not measured in this arm", notes))
    bounds = interval(measure.unit, measure.low, measure.high)
    why = f"no interval: {measure.note}" if measure.note and measure.value is not None and not bounds else measure.note
    return Cell(measure.unit.format(measure.value), tuple(filter(None, (bounds, beside))), _number(why, notes))


def _beside(shown: Shown, main: Measure | None, measure: Measure | None) -> str:
    """The second number of a cell; nothing where it would read like the first."""
    if measure is None or measure.value is None:
        return ""
    beside = measure.unit.format(measure.value)
    same = main is not None and main.unit.format(main.value) == beside
    return "" if same else f"{shown.beside_label} {beside}"


def _number(note: str, notes: dict[str, int]) -> int:
    """The footnote's number, the same for equal notes; 0 for an empty one."""
    return notes.setdefault(note, len(notes) + 1) if note else 0


def _clearly_best(measures: Sequence[Measure | None]) -> int | None:
    """Position of the measure whose whole interval beats all others'; None where there is no such one."""
    bounds = [(each.low, each.high) for each in measures if each and each.low is not None and each.high is not None]
    direction = next((each.direction for each in measures if each), Direction.NEITHER)
    if len(bounds) < max(2, len(measures)) or direction is Direction.NEITHER:
        return None
    # Negated, a higher-is-better measure is a lower-is-better one.
    sign = 1.0 if direction is Direction.LOWER else -1.0
    ranges = [sorted((sign * low, sign * high)) for low, high in bounds]
    first = min(range(len(ranges)), key=lambda index: ranges[index][1])
    clear = all(ranges[first][1] < other[0] for index, other in enumerate(ranges) if index != first)
    return first if clear else None
