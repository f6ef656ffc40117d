"""Compare cells: two arms side by side as they are written for people, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from quark_bench.compared import Compared, Side
from quark_bench.report import gate_cells
from quark_bench.report.findings import titled
from quark_bench.report.sentences import VISIBLE_IDS, first_named, plural
from quark_bench.rule import Change, Scale

SIDE_BY_SIDE = "Ratios are means over pairs; bounds are at 95 %, of agents one-sided at 99 %."
DETECTABLE = "Detectable: the smallest change that would have been found 4 times in 5."
MINUTES = len("2026-11-27T06:34")
NOT_CLEAR = "no clear difference"


@dataclass(frozen=True, slots=True)
class CompareRow:
    """A measure, or an agent. `tone` is `better`, `worse`, or empty where neither is clear; `bounds` and `smallest` are
    empty where there are none, and `note` says why."""

    label: str
    a: str
    b: str
    change: str
    bounds: str
    smallest: str
    tone: str
    note: str


def measure_rows(found: Compared) -> tuple[CompareRow, ...]:
    """A row per measure, in their order."""
    return tuple(_row(gate_cells.label(change), change) for change in found.changes)


def agent_rows(found: Compared) -> tuple[CompareRow, ...]:
    """A row per agent that both sides have, those whose time changed the most first."""
    ordered = sorted(found.agents, key=lambda change: -abs((change.candidate or 0.0) - (change.baseline or 0.0)))
    # What is said of an agent is a latency, whatever the agent is called.
    return tuple(_row(change.measure, replace(change, measure="latency")) for change in ordered)


def headline(found: Compared) -> str:
    """`async against sync: latency 0.812x [0.801x to 0.823x], throughput 6.93x ...`; a trend says that it is one."""
    names = (found.b.arm, found.a.arm) if found.one_run else ("B", "A")
    told = ", ".join(_told(row) for row in measure_rows(found) if row.label in ("latency", "throughput"))
    about = "" if found.one_run else " (a trend, no verdict)"
    return f"{names[0]} against {names[1]}: {told}{about}"


def reading(found: Compared) -> tuple[str, str]:
    """How to read the numbers."""
    return SIDE_BY_SIDE if found.one_run else gate_cells.NOTE, DETECTABLE


def title(found: Compared) -> str:
    """What both sides ran, and under which conditions."""
    manifest = found.b.manifest
    about = f"{manifest['pipeline']['name']} over {manifest['dataset']['name']}"
    return titled(manifest, f"{about}, {plural(found.prompts.compared, 'prompt')}")


def legend(side: Side) -> str:
    """Which run and arm a side is, how it ran and when."""
    strategy, load = side.how
    started = str(side.manifest["started"])[:MINUTES].replace("T", " ")
    return f"{side.run_id}:{side.arm}, {strategy}, {load}, {started}"


def details(found: Compared) -> Iterator[str]:
    """What else has to be known, a sentence each."""
    yield from found.notes
    prompts = found.prompts
    for what, ids in (("vanished", prompts.vanished), ("new", prompts.new), ("changed", prompts.changed)):
        if ids:
            yield f"{plural(len(ids), 'prompt')} {what}, not compared: {first_named(ids)}"
    if found.lost_pairs:
        why = "failed or missing on a side, or of different sessions"
        yield f"{plural(found.lost_pairs, 'pair')} of latencies left out: {why}"
    differ = first_named(found.answers_differ)
    yield (
        f"{plural(len(found.answers_differ), 'prompt')} answered otherwise: {differ}" if differ else "no answer differs"
    )
    yield from _turned_worse(found)
    missing: dict[str, list[str]] = {}
    for row in (*measure_rows(found), *agent_rows(found)):
        if row.note:
            missing.setdefault(row.note, []).append(row.label)
    for note, labels in missing.items():
        yield f"no bounds for {', '.join(labels)}: {note}"


def _turned_worse(found: Compared) -> Iterator[str]:
    """Prompts to look at; of latencies, which differ for every prompt, only where B is slower beyond doubt."""
    for change in found.changes:
        if change.prompts and (change.scale is Scale.DIFFERENCE or _tone(change) == "worse"):
            yield f"{gate_cells.label(change)} turned worse the most for {', '.join(change.prompts[:VISIBLE_IDS])}"


def _told(row: CompareRow) -> str:
    bounds = f" [{row.bounds}]" if row.bounds else ""
    return f"{row.label} {row.change}{bounds}" + (f", {NOT_CLEAR}" if row.bounds and not row.tone else "")


def _row(label: str, change: Change) -> CompareRow:
    bounds = "" if change.equal else gate_cells.bounds(change)
    return CompareRow(
        label=label,
        a=gate_cells.level(change, change.baseline),
        b=gate_cells.level(change, change.candidate),
        change="equal" if change.equal else gate_cells.changed(change),
        bounds=bounds,
        smallest="" if change.equal else gate_cells.smallest(change),
        tone=_tone(change),
        note="" if bounds or change.equal else change.note,
    )


def _tone(change: Change) -> str:
    """Which side of no change its bounds lie."""
    none = 1.0 if change.scale is Scale.RATIO else 0.0
    if change.low is not None and change.low > none:
        return "worse"
    return "better" if change.high is not None and change.high < none else ""
