"""Index page: all runs of a folder as one HTML file: a table to search and sort, and a history of each series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from quark_bench.measures import unit_of
from quark_bench.report import page
from quark_bench.report.findings import conditions
from quark_bench.rule import Verdict
from quark_bench.score_measures import plain_scores
from quark_bench.trials import SCORE_PREFIX
from quark_bench.units import COUNT

MEASURES = ("p50_latency_s", "p95_latency_s", "throughput_per_s")
"""Of the last arm, beside its scores."""
MISSED = "objective missed"


@dataclass(frozen=True, slots=True)
class IndexCell:
    """A text, smaller lines below it, and what the column is sorted by; empty where that is not known."""

    text: str
    key: str
    details: tuple[str, ...] = ()
    tone: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A header; `kind` says whether its keys are numbers or text."""

    header: str
    kind: str = "text"


COLUMNS = (
    Column("run"),
    Column("started"),
    Column("pipeline"),
    Column("data set"),
    Column("prompts", "number"),
    Column("arms"),
    Column("state"),
    Column("median latency", "number"),
    Column("95 % latency", "number"),
    Column("throughput", "number"),
    Column("score", "number"),
    Column("gate"),
)

IndexRow = tuple[IndexCell, ...]
"""In the order of COLUMNS."""


@dataclass(frozen=True, slots=True)
class SeriesShown:
    """The history of a series: what its runs have in common, its figures, and what they say."""

    title: str
    id: str
    parts: Mapping[str, str]
    figures: tuple[Markup, ...]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """What the page shows of a folder: its runs, the newest first, and notes on what is left out."""

    folder: str
    rows: Sequence[IndexRow]
    series: Sequence[SeriesShown]
    notes: Sequence[str]


def index_row(manifest: Mapping[str, Any], folder: str, *, reported: bool) -> IndexRow:
    """A run in the table; `folder` is the name of its directory, in which a report stands or not."""
    pipeline, data = manifest["pipeline"], manifest["dataset"]
    arms = [arm["name"] for arm in manifest["arms"]]
    last = manifest.get("measures", {}).get(arms[-1], {})
    link = f"./{quote(os.fsencode(folder))}/report.html" if reported else ""
    made = conditions(manifest)
    return (
        IndexCell(folder, folder, link=link),
        IndexCell(_minutes(manifest["started"]), manifest["started"]),
        IndexCell(pipeline["name"], pipeline["name"], (made,) if made else ()),
        IndexCell(data["name"], data["name"]),
        IndexCell(COUNT.format(data["prompts"]), str(data["prompts"])),
        IndexCell(", ".join(arms), ", ".join(arms)),
        IndexCell(manifest["state"], manifest["state"], tone="" if manifest["state"] == "complete" else "inconclusive"),
        *(_measure_cell(last, name) for name in MEASURES),
        _score_cell(last),
        _gate_cell(manifest.get("gate")),
    )


def render_index(found: Index) -> str:
    """The index as one HTML document: no network, one script of ours, everything from outside escaped."""
    script = page.resource("index.js")
    return page.template("index.html.j2").render(
        css=page.stylesheet(),
        policy=page.policy(script),
        script=Markup(script),  # noqa: S704 - our own file
        columns=COLUMNS,
        found=found,
    )


def score_names(measures: Mapping[str, Any]) -> Iterator[str]:
    """The measures that are scores with failures as zero."""
    return iter(plain_scores(measures))


def _measure_cell(measures: Mapping[str, Any], name: str) -> IndexCell:
    value = measures.get(name, {}).get("value")
    return IndexCell(unit_of(name).format(value), "" if value is None else repr(float(value)))


def _score_cell(measures: Mapping[str, Any]) -> IndexCell:
    """The first score, by which the column is sorted, with its name; the others below it."""
    cells = [(name.removeprefix(SCORE_PREFIX), _measure_cell(measures, name)) for name in score_names(measures)]
    if not cells:
        return IndexCell("", "")
    told = [f"{name.replace('_', ' ')} {cell.text}" for name, cell in cells]
    return IndexCell(told[0], cells[0][1].key, tuple(told[1:]))


def _gate_cell(gate: Mapping[str, Any] | None) -> IndexCell:
    if gate is None:
        return IndexCell("", "")
    verdict = str(gate["verdict"])
    known = verdict in [each.value for each in Verdict]
    missed = (MISSED,) if gate["slos_missed"] else ()
    return IndexCell(verdict, verdict, missed, tone=verdict.replace(" ", "-") if known else "")


def _minutes(started: str) -> str:
    """`2026-11-27 06:34` of a time in ISO format."""
    return started[: len("2026-11-27T06:34")].replace("T", " ")
