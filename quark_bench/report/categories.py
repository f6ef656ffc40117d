"""Categories: how the prompts of each category fared, arm by arm; groups too small to judge by are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench import stats
from quark_bench.report.cells import interval
from quark_bench.report.findings import Findings
from quark_bench.score_measures import score_or_zero
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import SCORE_PREFIX, Positions, is_answered, numbers
from quark_bench.units import COUNT, SCORE, SECONDS, SHARE, Unit

FEWEST_PROMPTS = 20
"""With fewer a group is marked: its 95 % intervals are wide, and one prompt moves a share by over 5 points."""
MOST_CATEGORIES = 30
NO_CATEGORY = "(none)"


@dataclass(frozen=True, slots=True)
class Category:
    """One category in one arm: `measures` by the name of their column."""

    name: str
    prompts: int
    measures: dict[str, Interval]

    @property
    def small(self) -> bool:
        return self.prompts < FEWEST_PROMPTS


@dataclass(frozen=True, slots=True)
class Categories:
    """The most frequent categories by arm, the same in each and in the same order, and how many there are besides."""

    by_arm: dict[str, tuple[Category, ...]]
    scorers: tuple[str, ...]
    unlisted: int


@dataclass(frozen=True, slots=True)
class CategoryCell:
    """A measure of a category as text."""

    value: str
    bounds: str


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A category and its cells."""

    name: str
    prompts: str
    small: bool
    cells: tuple[CategoryCell, ...]


MEASURES: tuple[tuple[str, str, Unit], ...] = (
    ("p50", "median latency", SECONDS),
    ("p95", "95 % latency", SECONDS),
    ("work", "mean work", SECONDS),
    ("failed", "failed", SHARE),
)
"""Column, header, unit; a column per scorer follows."""


def categories(findings: Findings) -> Categories | None:
    """None where the prompts have fewer than two categories."""
    code, names = _coded(findings)
    counts = np.bincount(code, minlength=len(names))
    if np.count_nonzero(counts) < 2:
        return None
    order = sorted(np.flatnonzero(counts), key=lambda number: (-counts[number], names[number]))
    kept = [names[number] for number in order[:MOST_CATEGORIES]]
    scorers = tuple(findings.trials.scorers)
    by_arm = {arm: tuple(_of_arm(findings, arm, kept, scorers)) for arm in findings.arms}
    return Categories({arm: found for arm, found in by_arm.items() if found}, scorers, len(order) - len(kept))


def _coded(findings: Findings, arm: str | None = None) -> tuple[Groups, list[str]]:
    """For each record the number of its category, and the categories' names."""
    code, names = pd.factorize(findings.trials.records(["category"], arm)["category"])
    return np.where(code < 0, len(names), code).astype(np.int64), [*map(str, names), NO_CATEGORY]


def headers(found: Categories) -> tuple[str, ...]:
    """Of the columns after the category and its prompts."""
    return (*(header for _, header, _ in MEASURES), *(name.replace("_", " ") for name in found.scorers))


def category_rows(found: Categories, arm: str) -> list[CategoryRow]:
    """The table of an arm."""
    columns = [*((name, unit) for name, _, unit in MEASURES), *((name, SCORE) for name in _score_columns(found))]
    rows = []
    for each in found.by_arm[arm]:
        cells = tuple(_cell(each.measures[name], unit) for name, unit in columns)
        rows.append(CategoryRow(each.name, COUNT.format(each.prompts), each.small, cells))
    return rows


def _cell(found: Interval, unit: Unit) -> CategoryCell:
    low, high = found.low, found.high
    if low is not None and high is not None and unit is not SECONDS:
        low, high = max(0.0, low), min(1.0, high)
    return CategoryCell(unit.format(found.value), interval(unit, low, high))


def _score_columns(found: Categories) -> list[str]:
    return [SCORE_PREFIX + name for name in found.scorers]


def _of_arm(findings: Findings, arm: str, kept: Sequence[str], scorers: Sequence[str]) -> list[Category]:
    """A measure's columns at a time: of a million records, one takes 8 MB."""
    code, names = _coded(findings, arm)
    rows_of = {name: rows for name in kept if len(rows := np.flatnonzero(code == names.index(name)))}
    status = findings.trials.records(["status"], arm)
    answered, prompts = is_answered(status), _prompts(findings, arm)
    values = {
        "latency": np.where(answered, _column(findings, arm, "latency_s"), np.inf),
        "work": np.where(answered, _column(findings, arm, "work_s"), np.nan),
    }
    for scorer in scorers:
        scored = findings.trials.records(["status", SCORE_PREFIX + scorer], arm)
        values[SCORE_PREFIX + scorer] = score_or_zero(scored, scorer)
    return [_category(name, rows, answered, values, prompts) for name, rows in rows_of.items()]


def _column(findings: Findings, arm: str, name: str) -> Floats:
    return numbers(findings.trials.records([name], arm), name)


def _prompts(findings: Findings, arm: str) -> Groups | None:
    """Each record's prompt as a number; None where no prompt is repeated."""
    if findings.trials.records(["repeat"], arm)["repeat"].nunique() <= 1:
        return None
    return np.asarray(pd.factorize(findings.trials.records(["prompt_id"], arm)["prompt_id"])[0], np.int64)


def _category(
    name: str, rows: Positions, answered: NDArray[np.bool_], values: dict[str, Floats], prompts: Groups | None
) -> Category:
    """Repeats of a prompt are not independent, so prompts are what is counted."""
    groups = None if prompts is None else prompts[rows]
    n = len(rows) if groups is None else len(np.unique(groups))
    found = {
        "p50": stats.quantile_interval(values["latency"][rows], 0.5, groups=groups),
        "p95": stats.quantile_interval(values["latency"][rows], 0.95, groups=groups),
        "failed": stats.wilson(float((~answered[rows]).mean()) * n, n),
    }
    found |= {column: _mean(given[rows], groups) for column, given in values.items() if column != "latency"}
    return Category(name, n, found)


def _mean(values: Floats, groups: Groups | None) -> Interval:
    known = np.isfinite(values)
    return stats.mean_interval(values[known], groups=None if groups is None else groups[known])
