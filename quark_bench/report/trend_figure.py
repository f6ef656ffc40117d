"""Trend figure: a measure over the runs of a series, the band that the runs before each let expect behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from quark_bench.history import Mark, Trend
from quark_bench.plain import one_line, shortened
from quark_bench.report.canvas import INK, draw, paint_file
from quark_bench.report.figures import COLOURS, LONGEST_TITLE
from quark_bench.stats import Floats

HEIGHT_IN = 3.4
MARKS = {
    Mark.WORSE: ("v", "#c8442e"),
    Mark.BETTER: ("^", COLOURS[1]),
    Mark.HIGHER: ("^", COLOURS[3]),
    Mark.LOWER: ("v", COLOURS[3]),
}
"""Marker and colour: worse and better are told apart without colour vision too."""
BAND = COLOURS[2]
NARROWEST = 0.02
"""Room above and below, as a share of the largest value: closer ticks would read alike with three digits."""


def trend_figure(trend: Trend, title: str, kind: str) -> bytes:
    """The figure as a file of that kind, `svg` or `png`; the same bytes for the same trend."""
    return paint_file(HEIGHT_IN, _painter(trend, title), kind)


def trend_svg(trend: Trend, title: str, name: str) -> str:
    """The figure as one `<svg>` element for a page, in the page's colours. `name`, which no other figure of the page
    has, is what a screen reader says."""
    return draw(_fitting(name), HEIGHT_IN, _painter(trend, title))


def _fitting(title: str) -> str:
    return one_line(shortened(title, LONGEST_TITLE))


def _painter(trend: Trend, title: str) -> Callable[[Figure], None]:
    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(1.0, len(trend.points) + 1)
        values = _floats([point.run.value for point in trend.points])
        low, high = (_floats([getattr(point.band, end) for point in trend.points]) for end in ("low", "high"))
        _paint_band(axes, places, low, high)
        axes.plot(places, values, color=INK, linewidth=0.9, marker="o", markersize=3.5, alpha=0.75)
        _paint_marked(axes, trend)
        axes.set(xlabel="runs, oldest first", ylabel=one_line(trend.measure), xlim=(0.5, len(places) + 0.5))
        _scale(axes, trend, values, low, high)
        labelled = bool(axes.get_legend_handles_labels()[1])
        axes.set_title(_fitting(title), pad=26 if labelled else None)
        if labelled:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=4, fontsize=8.5, borderaxespad=0.1)

    return paint


def _paint_band(axes: Axes, places: Floats, low: Floats, high: Floats) -> None:
    """A step a run, as each has a band of its own."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    if known.size:
        axes.bar(
            places[known],
            (high - low)[known],
            1.0,
            bottom=low[known],
            color=BAND,
            alpha=0.22,
            linewidth=0,
            label="95 % prediction band",
        )


def _paint_marked(axes: Axes, trend: Trend) -> None:
    for mark, (marker, colour) in MARKS.items():
        places = [place for place, point in enumerate(trend.points, 1) if point.mark is mark]
        values = _floats([trend.points[place - 1].run.value for place in places])
        if np.isfinite(values).any():
            axes.scatter(places, values, s=52, marker=marker, color=colour, zorder=3, label=mark.value)


def _scale(axes: Axes, trend: Trend, values: Floats, low: Floats, high: Floats) -> None:
    """Ticks in the measure's unit and at whole runs; the values in view, and of the bands as much again at most."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: trend.unit.format(value)))
    known = values[np.isfinite(values)]
    if not known.size:
        return
    bottom, top = known.min(), known.max()
    room = max(top - bottom, 2 * NARROWEST * abs(top)) or 1.0
    below, above = np.nanmin([bottom, *low]), np.nanmax([top, *high])
    margin = max(0.08 * room, NARROWEST * abs(top))
    axes.set_ylim(max(0.0, max(below, bottom - room) - margin), min(above, top + room) + margin)


def _floats(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)
