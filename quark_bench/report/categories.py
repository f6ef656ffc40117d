"""Categories: how the prompts of each category fared, arm by arm; groups too small to judge by are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quark_bench import stats
from quark_bench.measures import score_or_zero
from quark_bench.report.cells import interval
from quark_bench.report.findings import Findings
from quark_bench.stats import Interval
from quark_bench.trials import SCORE_PREFIX, is_answered, numbers
from quark_bench.units import COUNT, SCORE, SECONDS, SHARE, Unit

FEWEST_PROMPTS = 20
"""With fewer a group is marked: its 95 % intervals are wide, and one prompt moves a share by over 5 points."""
MOST_CATEGORIES = 30
NO_CATEGORY = "none"


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
    named = findings.trials.records(["category"])["category"].fillna(NO_CATEGORY).astype(str).value_counts()
    if len(named) < 2:
        return None
    order = sorted(named.index, key=lambda name: (-named[name], name))
    kept = order[:MOST_CATEGORIES]
    scorers = tuple(findings.trials.scorers)
    by_arm = {arm: tuple(_of_arm(findings, arm, kept, scorers)) for arm in findings.arms}
    return Categories({arm: found for arm, found in by_arm.items() if found}, scorers, len(order) - len(kept))


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
    names = [SCORE_PREFIX + name for name in scorers]
    records = findings.trials.records(["category", "status", "latency_s", "work_s", "repeat", *names], arm)
    if records.empty:
        return []
    if records["repeat"].nunique() > 1:
        records["prompt"] = pd.factorize(findings.trials.records(["prompt_id"], arm)["prompt_id"])[0]
    rows = records.groupby(records["category"].fillna(NO_CATEGORY).astype(str), observed=True).indices
    return [_category(name, records.iloc[rows[name]], scorers) for name in kept if name in rows]


def _category(name: str, records: pd.DataFrame, scorers: Sequence[str]) -> Category:
    """Repeats of a prompt are not independent, so prompts are what is counted."""
    groups = records["prompt"].to_numpy(np.int64) if "prompt" in records else None
    prompts = len(records) if groups is None else len(np.unique(groups))
    answered = is_answered(records)
    slowest_last = np.where(answered, numbers(records, "latency_s"), np.inf)
    work_s = numbers(records, "work_s")
    found = {
        "p50": stats.quantile_interval(slowest_last, 0.5, groups=groups),
        "p95": stats.quantile_interval(slowest_last, 0.95, groups=groups),
        "work": _mean(np.where(answered, work_s, np.nan), groups),
        "failed": stats.wilson(float((~answered).mean()) * prompts, prompts),
    }
    found |= {SCORE_PREFIX + scorer: _mean(score_or_zero(records, scorer), groups) for scorer in scorers}
    return Category(name, prompts, found)


def _mean(values: stats.Floats, groups: stats.Groups | None) -> Interval:
    known = np.isfinite(values)
    return stats.mean_interval(values[known], groups=None if groups is None else groups[known])
