"""Calls figure: the agents' calls of one prompt under each arm, as a waterfall."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quark_bench.report.canvas import INK, draw
from quark_bench.report.figures.axes import colour_of, name_of, ticks, title_of
from quark_bench.report.findings import Findings
from quark_bench.report.waterfall import Bar, Lane, lanes, typical_trial
from quark_bench.units import SECONDS

LANE_MARGIN = 1.8
"""Rows of a waterfall that an arm's heading and the gap below it take."""
ROOM = 0.2
"""Part of the width that the name of a call takes with its duration."""


def waterfall_figure(findings: Findings) -> str | None:
    """The agents' calls of the typical prompt under each arm, on one time axis. None without any record."""
    chosen = typical_trial(findings)
    if chosen is None:
        return None
    shown = lanes(findings, *chosen)
    longest_s = max(lane.latency_s for lane in shown) or 1.0
    title = title_of(findings, f"Prompt {name_of(chosen[0])} under each arm")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        top = 0.0
        for lane in shown:
            top = _paint_lane(axes, lane, findings.arms.index(lane.arm), top, longest_s)
        axes.set(
            title=title, xlabel="since the prompt was admitted", xlim=(0, longest_s * 1.04), ylim=(top - 0.4, -0.2)
        )
        axes.xaxis.set_major_formatter(ticks(SECONDS))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])

    return draw(title, 1.0 + 0.2 * sum(len(lane.bars) + LANE_MARGIN for lane in shown), paint)


def _paint_lane(axes: Axes, lane: Lane, position: int, top: float, longest_s: float) -> float:
    """One arm's bars from `top` downwards, named beside them where there is room; returns where the next begins."""
    colour = colour_of(position)
    label = f"{name_of(lane.arm)}  {SECONDS.format(lane.latency_s)}" + ("  failed" if lane.status == "failed" else "")
    axes.text(0, top + 0.25, label, fontweight="bold", va="center")
    rows = [top + 1.2 + row for row in range(len(lane.bars))]
    for row, bar in zip(rows, lane.bars, strict=True):
        axes.hlines(row, bar.ready_s, bar.start_s, colors=INK, alpha=0.35, linewidth=1)
        solid = 0.95 if bar.on_chain else 0.38
        axes.barh(row, bar.duration_s, left=bar.start_s, height=0.68, color=colour, alpha=solid, linewidth=0)
        name = name_of(bar.agent) + (f" (try {bar.attempt})" if bar.attempt > 1 else "")
        outcome = "" if bar.status == "ok" else f", {name_of(bar.status)}"
        before = bar.start_s > longest_s / 2 or _would_cross_the_end(bar, lane.latency_s, ROOM * longest_s)
        axes.annotate(
            f"{name}  {SECONDS.format(bar.duration_s)}{outcome}",
            (bar.start_s if before else bar.end_s, row),
            xytext=(-4 if before else 4, 0),
            textcoords="offset points",
            ha="right" if before else "left",
            va="center",
            fontsize=8,
        )
    axes.vlines(lane.latency_s, top + 0.7, top + len(lane.bars) + 0.7, colors=colour, linewidth=1)
    return top + len(lane.bars) + LANE_MARGIN


def _would_cross_the_end(bar: Bar, latency_s: float, room_s: float) -> bool:
    """Whether the bar's name, right of it, would cross the line at the prompt's end, and there is room left of it."""
    return bar.end_s < latency_s < bar.end_s + room_s and bar.start_s > room_s
