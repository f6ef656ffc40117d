"""Sweep table: what each load gave, in 80 columns, and below it the knee and the highest load that meets objectives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.measures import Measure
from quark_bench.plain import one_line, shortened
from quark_bench.report.cells import interval
from quark_bench.report.sentences import plural
from quark_bench.report.tables import LONGEST_LINE, SUPERSCRIPTS
from quark_bench.slo import SloResult
from quark_bench.sweep_result import STEADY, LevelResult, Load, SweepResult
from quark_bench.units import SECONDS, SHARE, Unit, significant

STYLES = {"met": "green", "missed": "bold red", "undecided": "yellow"}
MOST_SHOWN = 2
"""Objectives with a column in the terminal; the page has all."""
WIDE, NARROW = 14, 8
"""Characters of an interval that stay on one line, with one column for objectives and with two."""
BARE = Unit("req/s", significant)
"""In a column whose head has the unit."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A level as text; of each cell the first line is the value, the others its interval. `attained` has a cell for
    each objective."""

    level: str
    throughput: tuple[str, ...]
    median: str
    p95: str
    attained: tuple[tuple[str, ...], ...]
    goodput: tuple[str, ...]
    verdict: str
    run: str


def sweep_rows(found: SweepResult) -> list[SweepRow]:
    """The levels, lowest first."""
    return [_row(each, found) for each in found.ascending]


def _row(each: LevelResult, found: SweepResult) -> SweepRow:
    measures = each.measures
    return SweepRow(
        level=f"{each.level:,.6g}",
        throughput=_cell(BARE, measures["throughput_per_s"]),
        median=SECONDS.format(measures["p50_latency_s"].value),
        p95=SECONDS.format(measures["p95_latency_s"].value),
        attained=tuple(_cell(result.unit, result) for result in each.objectives),
        goodput=_cell(BARE, measures["goodput_per_s"]),
        verdict=verdict(each) if found.slos else "",
        run=each.run,
    )


def verdict(each: LevelResult) -> str:
    """`met`, `missed` or `undecided`, by whole intervals."""
    return {True: "met", False: "missed", None: "undecided"}[each.met]


def _cell(unit: Unit, found: Measure | SloResult) -> tuple[str, ...]:
    bounds = interval(unit, found.low, found.high)
    return (unit.format(found.value), bounds) if bounds else (unit.format(found.value),)


def sweep_table(found: SweepResult) -> Group:
    """A line a level, then what was found, then what to know about it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 0 if found.slos else 1), pad_edge=False, show_edge=False)
    headers = ["in flight" if found.load is Load.IN_FLIGHT else "per s", "req/s", "median", "95 %"]
    headers += [f"kept{_mark(number, found)}" for number in range(1, min(MOST_SHOWN, len(found.slos)) + 1)]
    for header in [*headers, *(["goodput,\nreq/s"] if found.slos else [])]:
        table.add_column(header, justify="right", overflow="fold")
    if found.slos:
        table.add_column("verdict", no_wrap=True)
    for row in sweep_rows(found):
        table.add_row(*_texts(row, NARROW if len(found.slos) > 1 else WIDE))
    legend = (f"kept{_mark(number, found)}: {text}" for number, text in enumerate(found.slos, 1))
    return Group(
        _text(f"Sweep, {found.title}", "bold"),
        table,
        *(_text(line, "dim") for line in legend),
        Text(""),
        *(_text(line) for line in headlines(found)),
        *(_text(line, "dim") for line in notes(found)),
        Text(""),
    )


def _mark(number: int, found: SweepResult) -> str:
    return str(number).translate(SUPERSCRIPTS) if len(found.slos) > 1 else ""


def _texts(row: SweepRow, room: int) -> Iterator[Text]:
    yield Text(row.level, style="bold")
    yield _lines(row.throughput, room)
    yield Text(row.median)
    yield Text(row.p95)
    for cell in row.attained[:MOST_SHOWN]:
        yield _lines(cell, room)
    if row.verdict:
        yield _lines(row.goodput, room)
        yield Text(row.verdict, style=STYLES[row.verdict])


def _lines(cell: tuple[str, ...], room: int) -> Text:
    """The value and, dim below it, its interval; broken here rather than by rich, which would part it from its unit."""
    text = Text(cell[0])
    for line in cell[1:]:
        text.append("\n" + (line if len(line) <= room else line.replace(" to ", " to\n")), style="dim")
    return text


def headlines(found: SweepResult) -> list[str]:
    """The highest load that meets the objectives, and the knee, a sentence each."""
    if not found.levels:
        return ["Nothing was measured yet"]
    if found.all_failed:
        return ["Every trial failed at every level"]
    return [*([_highest(found)] if found.slos else []), _knee(found)]


def _highest(found: SweepResult) -> str:
    at, told = found.bracket, found.load.told
    assert at is not None, "asked where there are objectives"
    by_level: dict[float | None, LevelResult] = {each.level: each for each in found.levels}
    if at.met is None:
        word = "misses" if at.above is not None and found.history.get(at.above) is False else "is not shown to meet"
        return f"No level is shown to meet the objectives: the lowest, {told(found.ascending[0].level)}, {word} them"
    rate = by_level[at.met].measures["goodput_per_s"]
    if at.above is None:
        beyond = "it is the highest that was asked"
    elif at.above in by_level:
        beyond = f"at {told(at.above)} they are {verdict(by_level[at.above])}"
    else:
        beyond = "the search is not finished"
    goodput = rate.unit.format(rate.value)
    return f"Highest load that meets the objectives: {told(at.met)}, with {goodput} of goodput; {beyond}"


def _knee(found: SweepResult) -> str:
    at = found.knee
    if at is None:
        return "Knee: not known; it takes three levels or more"
    known = f" [{at.low:,.6g} to {at.high:,.6g}]" if at.low < at.high else ""
    if at.at_end:
        end = "highest" if at.level == found.ascending[-1].level else "lowest"
        return f"Knee: not within these levels; throughput over latency is largest at the {end}, {at.level:,.6g}{known}"
    return f"Knee: {found.load.told(at.level)}{known}, where throughput over latency is largest"


def notes(found: SweepResult) -> list[str]:
    """What a reader has to know about these numbers, a sentence each."""
    return list(_notes(found))


def _notes(found: SweepResult) -> Iterator[str]:
    if found.slos:
        yield "Verdicts are by whole 95 % intervals: met above the share asked for, missed below, else undecided."
    short = [each for each in found.ascending if each.prompts < STEADY * each.level]
    if short and found.load is Load.IN_FLIGHT:
        levels = ", ".join(f"{each.level:g}" for each in short)
        yield (
            f"Too few prompts for {levels} in flight: with fewer than {STEADY} times as many, filling and draining are "
            f"most of what is measured; give {STEADY * short[-1].level:,.0f} prompts."
        )
    for each in found.ascending:
        if each.behind:
            yield f"At {found.load.told(each.level)} the client could not keep up, so nothing is judged: {each.behind}."
    needed = [(each.level, count) for each in found.ascending if (count := each.prompts_to_decide())]
    if needed:
        told = ", ".join(f"{level:g} ({plural(count, 'prompt')})" for level, count in needed)
        yield f"What would decide the levels that are undecided, were the shares as measured: {told}."
    failed = [each for each in found.ascending if each.failed]
    if failed:
        told = ", ".join(f"{SHARE.format(each.failed / each.trials)} at {each.level:g}" for each in failed)
        yield f"Failed trials, each a miss: {told}."


def _text(value: str, style: str = "") -> Text:
    return Text(one_line(shortened(value, LONGEST_LINE)), style=style)
