"""Capacity figure: throughput and latency over workers, a line for each number of prompts in flight."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from quark_bench.capacity import Capacity, Point
from quark_bench.plain import one_line, shortened
from quark_bench.report.canvas import paint_file
from quark_bench.report.figures import COLOURS, LONGEST_TITLE
from quark_bench.report.sentences import plural
from quark_bench.units import COUNT, PER_SECOND, SECONDS, Unit

HEIGHT_IN = 3.6
MARKERS = "osD^vPX"
"""Lines are told apart without colour vision too."""


def capacity_figure(found: Capacity, title: str, kind: str) -> bytes:
    """The figure as a file of that kind, `svg` or `png`; where another wall begins, its name stands at the line."""
    title = one_line(shortened(title, LONGEST_TITLE))

    def paint(figure: Figure) -> None:
        rates, latencies = figure.subplots(1, 2)
        _paint(rates, found, lambda point: point.throughput_per_s, PER_SECOND)
        _paint(latencies, found, lambda point: point.p95_latency_s, SECONDS)
        _name_walls(rates, found)
        rates.set_title("throughput")
        latencies.set_title("latency, 95 %")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(*rates.get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=8.5)

    return paint_file(HEIGHT_IN, paint, kind)


def _paint(axes: Axes, found: Capacity, value: Callable[[Point], float], unit: Unit) -> None:
    workers = sorted({point.workers for point in found.points})
    for number, (in_flight, points) in enumerate(found.by_in_flight.items()):
        axes.plot(
            [point.workers for point in points],
            [value(point) for point in points],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.1,
            label=f"{COUNT.format(in_flight)} in flight",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(count) for count in workers]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: COUNT.format(count)))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda shown, _: unit.format(shown)))
    axes.set_xlabel("workers")
    axes.set_ylim(bottom=0)


def _name_walls(axes: Axes, found: Capacity) -> None:
    for in_flight, points in found.by_in_flight.items():
        for wall, workers in found.walls(in_flight):
            at = next(point for point in points if point.workers == workers)
            axes.annotate(
                wall.value,
                (workers, at.throughput_per_s),
                xytext=(3, 5),
                textcoords="offset points",
                fontsize=7.5,
                gid=f"{plural(in_flight, 'prompt')} in flight",
            )
