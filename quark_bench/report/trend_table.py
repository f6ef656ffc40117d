"""Trend table: a measure over the runs of a series, for the terminal, and the sentences below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.history import MOST_EARLIER, Mark, Observation, Point, Trend
from quark_bench.plain import one_line
from quark_bench.report.cells import interval
from quark_bench.report.sentences import plural
from quark_bench.units import Unit

STYLES = {Mark.WORSE: "bold red", Mark.BETTER: "green", Mark.HIGHER: "yellow", Mark.LOWER: "yellow"}
COMMIT_LENGTH = 7
CHANGED = "*"
"""After a commit: the working folder held more than it."""


def trend_table(trend: Trend, title: str) -> Group:
    """A line per run, oldest first, those outside their band marked; below it how to read that."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    for header in ("started", "commit"):
        table.add_column(header, no_wrap=True)
    for header in ("value", "95 % band"):
        table.add_column(header, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    for point in trend.points:
        table.add_row(*_cells(point, trend.unit))
    return Group(Text(one_line(title), style="bold"), table, *(Text(line, style="dim") for line in _lines(trend)))


def _cells(point: Point, unit: Unit) -> tuple[Text, ...]:
    style = STYLES[point.mark] if point.mark else ""
    return (
        Text(one_line(point.run.run_id)),
        Text(_day(point.run)),
        Text(_commit(point.run)),
        Text(unit.format(point.run.value), style=style),
        Text(interval(unit, point.band.low, point.band.high)),
        Text(point.mark.value if point.mark else "", style=style),
    )


def _day(run: Observation) -> str:
    """Month and day: the year and the time of day stand in the run's id."""
    return one_line(run.started[5:10])


def _commit(run: Observation) -> str:
    commit, _, more = run.commit.partition(" ")
    return one_line(commit[:COMMIT_LENGTH]) + (CHANGED if more else "")


def _lines(trend: Trend) -> Iterator[str]:
    if any(_commit(point.run).endswith(CHANGED) for point in trend.points):
        yield f"{CHANGED} with uncommitted changes"
    if trend.judged:
        outside = f"{len(trend.marked)} of {plural(trend.judged, 'run')} outside the band"
        yield f"{outside}; where nothing changes, 1 in 20 is."
        yield f"Band: where 95 of 100 values lie, by up to {MOST_EARLIER} runs before. A trend, no verdict."
    without = Counter(point.band.note for point in trend.points if point.band.low is None)
    for note, runs in without.items():
        yield f"{plural(runs, 'run')} without a band: {note}"
    missing = Counter(point.run.note for point in trend.points if point.run.value is None)
    for note, runs in missing.items():
        yield f"{plural(runs, 'run')} without a value" + (f": {one_line(note)}" if note else "")
