"""Axes: what all figures share: colours by arm, scales with units, titles, names cut to their room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from quark_bench.plain import one_line, shortened
from quark_bench.report.canvas import INK
from quark_bench.report.findings import Findings
from quark_bench.units import Unit

COLOURS = ("#d9772b", "#1f9e89", "#3f84d8", "#b9589f", "#9a8a1c", "#7d8590")
"""By position of the arm; mid-tones of different lightness, legible on white and on near-black."""
STROKES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), "dashdot")
MARKERS = ("o", "s", "^", "D")
MOST_POINTS = 1_500
"""Points of an arm in a figure; more would only make the page heavy."""
LONGEST_NAME = 40
LONGEST_TITLE = 200
"""Characters of a name and of a title that a figure has room for."""
WIDE = 8.0
"""An axis turns logarithmic where its largest value is this many times its smallest."""
FAINT: dict[str, Any] = {"color": INK, "alpha": 0.13, "linewidth": 0.6}


def thinned(n: int) -> np.ndarray:
    """Positions of at most MOST_POINTS of n points, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)) if n else np.arange(0)


def scale(axes: Axes, which: Literal["x", "y"], values: np.ndarray, unit: Unit) -> None:
    """Ticks in the unit; logarithmic where the values' range is wide, else from 0."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    positive = values[values > 0]
    if positive.size and positive.max() > WIDE * positive.min():
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    else:
        axes.set(**{f"{which}lim": (0, None)})
    axis.set_major_formatter(ticks(unit))


def ticks(unit: Unit) -> FuncFormatter:
    """Ticks as the unit writes them."""
    return FuncFormatter(lambda value, _: unit.format(value))


def titled_legend(axes: Axes, title: str) -> None:
    """The title, and the arms in a row below it."""
    handles, labels = axes.get_legend_handles_labels()
    axes.set_title(title, pad=28)
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1),
        ncols=max(1, len(labels)),
        fontsize=8.5,
        borderaxespad=0.1,
        columnspacing=1.6,
    ).set_in_layout(False)


def title_of(findings: Findings, title: str) -> str:
    """The title, followed by the conditions of the run, on one line and cut to its room."""
    return one_line(shortened(findings.titled(title), LONGEST_TITLE))


def name_of(text: str) -> str:
    """A name from outside as a figure shows it. A legend leaves out what begins with an underscore."""
    shown = one_line(text[: LONGEST_NAME + 1])
    shown = shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
    return f" {shown}" if shown.startswith("_") else shown


def colour_of(position: int) -> str:
    """The arm's colour, by its position."""
    return COLOURS[position % len(COLOURS)]


def stroke_of(position: int) -> str | tuple[float, Sequence[float]]:
    """The arm's line style, by its position."""
    return STROKES[position % len(STROKES)]
