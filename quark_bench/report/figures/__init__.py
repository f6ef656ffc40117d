"""Figures: each one `<svg>` element, the same for the same findings.

Each arm keeps one colour, line style and marker throughout, told apart without colour vision and on light and
dark pages alike.
"""

from collections.abc import Callable, Mapping

from quark_bench.report.figures.axes import COLOURS, LONGEST_TITLE
from quark_bench.report.figures.calls import waterfall_figure
from quark_bench.report.figures.categories import categories_figure
from quark_bench.report.figures.ceilings import ceilings_figure
from quark_bench.report.figures.gains import attribution_figure, forest_figure
from quark_bench.report.figures.latency import latency_figure
from quark_bench.report.figures.order import load_figure, order_figure
from quark_bench.report.figures.pairs import pairs_figure
from quark_bench.report.findings import Findings

FIGURES: Mapping[str, Callable[[Findings], str | None]] = {
    "attribution": attribution_figure,
    "latency": latency_figure,
    "waterfall": waterfall_figure,
    "load": load_figure,
    "order": order_figure,
}
"""Those that findings alone give, by name; None where there is nothing to draw."""

__all__ = [
    "COLOURS",
    "FIGURES",
    "LONGEST_TITLE",
    "attribution_figure",
    "categories_figure",
    "ceilings_figure",
    "forest_figure",
    "latency_figure",
    "load_figure",
    "order_figure",
    "pairs_figure",
    "waterfall_figure",
]
