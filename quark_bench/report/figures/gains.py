"""Gain figures: how many times better each arm is, and what of that comes from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from quark_bench.compare import Attribution, Ratio
from quark_bench.plan import BUILT_IN_ARMS
from quark_bench.report.canvas import INK, draw
from quark_bench.report.figures.axes import COLOURS, MARKERS, colour_of, name_of, ticks, title_of
from quark_bench.report.findings import Findings
from quark_bench.report.ratios import ArmRatios
from quark_bench.units import RATIO

MARGIN = 0.05
"""What the gate lets pass by default: the grey band."""
LOSS = "#c8442e"


def forest_figure(findings: Findings, shown: Sequence[ArmRatios]) -> str | None:
    """How many times better each arm is, as a whole and agent by agent, with intervals. None with one arm."""
    rows = [row for each in shown for row in _forest_rows(findings, each)]
    if not any(row.ratio is not None for row in rows):
        return None
    title = title_of(findings, f"How many times better than {name_of(shown[0].a)}")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color=INK, alpha=0.08, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        for place, row in enumerate(rows):
            if row.ratio is not None:
                _paint_ratio(axes, place, row.ratio, row.position, bold=row.whole)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row.ratio is None else "normal")
            label.set_fontsize(9)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        _ratio_axis(axes, [reached for row in rows if row.ratio for reached in _reach(row.ratio)])
        axes.set(title=title, xlabel=f"times as good as {name_of(shown[0].a)}; right of 1 is better")

    return draw(title, 1.1 + 0.22 * len(rows), paint)


@dataclass(frozen=True, slots=True)
class _ForestRow:
    """A line of the forest plot; one without a ratio is a heading."""

    label: str
    position: int
    ratio: Ratio | None = None
    whole: bool = False


def _forest_rows(findings: Findings, each: ArmRatios) -> list[_ForestRow]:
    position = findings.arms.index(each.b)
    rows = [_ForestRow(name_of(each.b), position)]
    rows += [
        _ForestRow(label, position, ratio, whole=True)
        for label, ratio in (("throughput", each.throughput), ("latency", each.latency))
        if _is_drawable(ratio)
    ]
    rows += [_ForestRow(name_of(name), position, ratio) for name, ratio in each.agents.items() if _is_drawable(ratio)]
    return rows


def _is_drawable(ratio: Ratio) -> bool:
    return ratio.value is not None and 0 < ratio.value < np.inf


def _paint_ratio(axes: Axes, place: int, ratio: Ratio, position: int, *, bold: bool) -> None:
    colour = colour_of(position)
    if ratio.low is not None and ratio.high is not None:
        axes.hlines(place, ratio.low, ratio.high, colors=colour, linewidth=2.4 if bold else 1.4)
    marker = MARKERS[position % len(MARKERS)]
    axes.scatter(
        [ratio.value or 1.0], [place], s=46 if bold else 22, marker=marker, color=colour, linewidths=0, zorder=3
    )
    axes.annotate(
        RATIO.format(ratio.value),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        annotation_clip=False,
    )


def _reach(ratio: Ratio) -> list[float]:
    """What of a ratio has to be in view; an interval without an end is cut."""
    value = ratio.value or 1.0
    ends = [each for each in (ratio.low, ratio.high) if each is not None and value / 30 < each < value * 30]
    return [value, *ends]


def _ratio_axis(axes: Axes, reached: Sequence[float]) -> None:
    low, high = min(0.9, *reached), max(1.1, *reached)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.06, high * 1.06)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 4 else (0.8, 0.9, 1, 1.2, 1.5, 2)))
    axes.xaxis.set_major_formatter(ticks(RATIO))
    axes.xaxis.set_minor_formatter(NullFormatter())


def attribution_figure(findings: Findings) -> str | None:
    """The gain as a waterfall: what branches and prompts in flight allow, what overhead takes, what is left. None
    without an attribution."""
    given = (("throughput", findings.attribution), ("latency", findings.latency_attribution))
    shown = [(what, _steps(findings, each, what)) for what, each in given if each is not None and _is_whole(each)]
    if not shown:
        return None
    title = title_of(findings, "Where the gain comes from")

    def paint(figure: Figure) -> None:
        heights = [len(steps) for _, steps in shown]
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (what, steps) in zip(panels, shown, strict=True):
            _paint_steps(axes, steps)
            axes.set_ylabel(what)
        _factor_axis(panels[0], [reached for _, steps in shown for step in steps for reached in (step.start, step.end)])
        panels[0].set_title(title)
        panels[-1].set_xlabel(f"times as good as {name_of(findings.arms[0])}")

    return draw(title, 1.1 + 0.34 * sum(len(steps) for _, steps in shown), paint)


@dataclass(frozen=True, slots=True)
class _Step:
    """A bar of the waterfall, from one factor to another."""

    label: str
    start: float
    end: float
    colour: str

    @property
    def factor(self) -> float:
        return self.end / self.start


def _steps(findings: Findings, found: Attribution, what: str) -> list[_Step]:
    """What would be possible, what of it is lost, what is left; where the DAG's bound is not known, the measured split.

    The bound is the median of work over critical path: Graham 1966, a DAG cannot be done sooner than its longest path.
    """
    parallel, last = BUILT_IN_ARMS[1:]
    total = found.total.value or 1.0
    bound = findings.measure(parallel, "speed_up_bound")
    at_once = {arm["name"]: arm["in_flight"] for arm in findings.manifest["arms"]}
    if bound is None or not bound.value:
        branches = found.branches.value or 1.0
        parts = [("branches", branches), ("prompts in flight", total / branches)]
    else:
        flight = at_once[last] / at_once[parallel] if what == "throughput" else 1.0
        allowed = [(f"{at_once[last]} prompts in flight", flight)] if flight != 1 else []
        parts = [("branches side by side", bound.value), *allowed, ("overhead and waits", total / bound.value / flight)]
    steps, reached = [], 1.0
    for colour, (label, factor) in zip((COLOURS[1], COLOURS[2], LOSS), parts, strict=False):
        lost = label.startswith("overhead") and factor < 1
        steps.append(_Step(label, reached, reached * factor, LOSS if lost else colour))
        reached *= factor
    return [*steps, _Step("measured gain", 1.0, total, COLOURS[5])]


def _paint_steps(axes: Axes, steps: Sequence[_Step]) -> None:
    """Factors multiply, so on a logarithmic axis their bars add up."""
    for row, step in enumerate(steps):
        axes.barh(row, step.end - step.start, left=step.start, height=0.6, color=step.colour, linewidth=0)
        axes.annotate(
            RATIO.format(step.factor),
            (max(step.start, step.end), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
        if row + 1 < len(steps):
            axes.vlines(step.end, row, row + 1, colors=INK, linewidth=0.6, alpha=0.5)
    axes.axvline(1.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(steps)), [step.label for step in steps])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _factor_axis(axes: Axes, reached: Sequence[float]) -> None:
    """Logarithmic, with everything reached in view and room for the numbers beside the bars."""
    low, high = min(reached), max(reached)
    axes.set_xscale("log")
    axes.set_xlim(low * 0.92, (high / low) ** 1.12 * 1.05 * low)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 3 else (1, 1.2, 1.5, 2)))
    axes.xaxis.set_major_formatter(ticks(RATIO))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _is_whole(found: Attribution) -> bool:
    return all(each.value is not None and each.value > 0 for each in (found.branches, found.in_flight, found.total))
