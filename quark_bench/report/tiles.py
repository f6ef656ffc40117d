"""Tiles: the few numbers at the top of the page, which are read first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quark_bench.changes import noise_of
from quark_bench.compare import Comparison, Ratio
from quark_bench.plain import shortened
from quark_bench.report import sentences, what_if_table
from quark_bench.report.cells import interval
from quark_bench.report.findings import Findings
from quark_bench.units import COUNT, RATIO, SHARE
from quark_bench.what_if import FASTER, WhatIf

LONGEST_AGENT = 60


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the top of the page; `tone` is `good`, `bad` or empty."""

    label: str
    value: str
    detail: str
    tone: str = ""


def tiles(findings: Findings) -> list[Tile]:
    """The few numbers that are read first."""
    ended = findings.manifest["conservation"]
    found = findings.main_comparison
    answered = ended["ok"] + ended["degraded"]
    shown = _comparison_tiles(findings, found) if found else _arm_tiles(findings, findings.arms[-1])
    tone = "bad" if answered < ended["planned"] else "good"
    shown.append(Tile("answered", f"{COUNT.format(answered)} of {COUNT.format(ended['planned'])}", "trials", tone))
    if findings.what_if and (effort := _effort_tile(findings.what_if)):
        shown.append(effort)
    if findings.slos:
        met = sum(result.met is True for result in findings.slos)
        missed = any(result.given and result.met is False for result in findings.slos)
        tone = "bad" if missed else "good" if met == len(findings.slos) else ""
        wanted = "objectives met" if any(result.given for result in findings.slos) else "default targets met"
        shown.append(Tile(wanted, f"{met} of {len(findings.slos)}", "service levels", tone))
    return shown


def _effort_tile(found: WhatIf) -> Tile | None:
    """The agent that is worth making faster first; None where none would give anything."""
    best = found.gains[0]
    value, _ = what_if_table.change(best.latency[what_if_table.SPEND])
    if value in ("n/a", what_if_table.NOTHING):
        return None
    faster = SHARE.format(FASTER[what_if_table.SPEND])
    return Tile("make faster first", shortened(best.agent, LONGEST_AGENT), f"{faster} faster: latency {value}")


def _comparison_tiles(findings: Findings, found: Comparison) -> list[Tile]:
    differ = found.answers_differ_count
    return [
        _ratio_tile("throughput gain", found.throughput, "block"),
        _ratio_tile("latency gain", found.latency, "prompt"),
        *_certainty_tiles(findings, found),
        Tile("answers that differ", COUNT.format(differ), f"{found.b} vs {found.a}", "bad" if differ else "good"),
    ]


def _certainty_tiles(findings: Findings, found: Comparison) -> Iterator[Tile]:
    """What could have been seen at all, and what the machine did by itself meanwhile."""
    if found.mde is not None:
        yield Tile("smallest detectable", SHARE.format(found.mde), "change of latency, 80 % power")
    if findings.manifest["repeats"] > 1:
        columns = ["arm", "prompt_id", "repeat", "status", "latency_s"]
        noise = noise_of(findings.trials.records(columns, found.a), found.a)
        if noise is not None:
            yield Tile("A/A noise", RATIO.format(noise), f"latency, {found.a}, second half over first")


def _ratio_tile(label: str, ratio: Ratio, counted: str) -> Tile:
    bounds = interval(RATIO, ratio.low, ratio.high)
    tone = ""
    if ratio.low is not None and ratio.high is not None:
        tone = "good" if ratio.low > 1 else "bad" if ratio.high < 1 else ""
    stated = f"{bounds}, {sentences.plural(ratio.n, counted)}" if bounds else ratio.note
    return Tile(label, RATIO.format(ratio.value), stated, tone)


def _arm_tiles(findings: Findings, arm: str) -> list[Tile]:
    shown = (("median latency", "p50_latency_s"), ("95 % latency", "p95_latency_s"), ("throughput", "throughput_per_s"))
    measures = ((label, findings.measure(arm, name)) for label, name in shown)
    return [
        Tile(f"{label}, {arm}", each.unit.format(each.value), interval(each.unit, each.low, each.high) or each.note)
        for label, each in measures
        if each is not None
    ]
