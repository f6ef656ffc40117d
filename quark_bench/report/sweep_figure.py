"""Sweep figure: latency over throughput, a point a level, and throughput and goodput over the level."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from quark_bench.plain import one_line, shortened
from quark_bench.report.canvas import INK, draw
from quark_bench.report.figures import COLOURS, LONGEST_TITLE
from quark_bench.sweep_result import LevelResult, Load, SweepResult
from quark_bench.units import SECONDS

HEIGHT_IN = 3.9
LATENCIES = (("p50_latency_s", "median", "o", COLOURS[0]), ("p95_latency_s", "95 %", "s", COLOURS[1]))
RATES = (("throughput_per_s", "throughput", "D", COLOURS[2]), ("goodput_per_s", "goodput", "^", COLOURS[3]))
MOST_NAMED = 12
"""Levels that are named at their points and ticks; more would cover one another."""


def sweep_svg(found: SweepResult) -> str:
    """The figure as one `<svg>` element for a page; the same for the same result. It needs two levels or more."""
    title = one_line(shortened(f"Throughput and latency, {found.title}", LONGEST_TITLE))

    def paint(figure: Figure) -> None:
        curve, rates = figure.subplots(1, 2)
        levels = found.ascending
        for name, label, marker, colour in LATENCIES:
            _paint_curve(curve, levels, name, label=label, marker=marker, color=colour)
        _name_levels(curve, levels)
        curve.xaxis.set_major_locator(MaxNLocator(4))
        curve.yaxis.set_major_locator(MaxNLocator(5))
        curve.yaxis.set_major_formatter(FuncFormatter(lambda latency_s, _: SECONDS.format(latency_s)))
        curve.set(title="latency over throughput", xlabel="throughput, req/s", ylim=(0, None), xlim=(0, None))
        for name, label, marker, colour in RATES:
            _paint_rate(rates, levels, name, label=label, marker=marker, color=colour)
        _mark(rates, found)
        rates.yaxis.set_major_locator(MaxNLocator(5))
        _scale_levels(rates, levels)
        rates.set(title="over load", ylim=(0, None), ylabel="req/s", xlabel=_load_label(found.load))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
        figure.legend(
            *(curve_part + rate_part for curve_part, rate_part in zip(*map(_legend, (curve, rates)), strict=True)),
            loc="outside lower left",
            ncols=6,
            fontsize=8.5,
        )

    return draw(title, HEIGHT_IN, paint)


def _legend(axes: Axes) -> tuple[list[object], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(handles), list(labels)


def _load_label(load: Load) -> str:
    return "prompts in flight" if load is Load.IN_FLIGHT else "prompts a second"


def _paint_curve(axes: Axes, levels: list[LevelResult], name: str, **style: str) -> None:
    """In the order of the levels: beyond the knee the curve turns upwards, or even back."""
    points = [(each.measures["throughput_per_s"].value, each.measures[name].value) for each in levels]
    known = [(rate, latency_s) for rate, latency_s in points if rate is not None and latency_s is not None]
    axes.plot(*zip(*known, strict=True) if known else ([], []), markersize=4, linewidth=1.1, **style)  # type: ignore[arg-type]


def _name_levels(axes: Axes, levels: list[LevelResult]) -> None:
    for each in levels[:: max(1, -(-len(levels) // MOST_NAMED))]:
        rate, latency = each.measures["throughput_per_s"].value, each.measures["p95_latency_s"].value
        if rate is not None and latency is not None:
            axes.annotate(
                f"{each.level:,.6g}",
                (rate, latency),
                xytext=(-3, 5),
                textcoords="offset points",
                fontsize=7.5,
                ha="right",
            )


def _paint_rate(axes: Axes, levels: list[LevelResult], name: str, *, label: str, marker: str, color: str) -> None:
    known = [(each.level, each.measures[name]) for each in levels if each.measures[name].value is not None]
    values = [measure.value or 0.0 for _, measure in known]
    below = [value - (value if m.low is None else m.low) for value, (_, m) in zip(values, known, strict=True)]
    above = [(value if m.high is None else m.high) - value for value, (_, m) in zip(values, known, strict=True)]
    axes.errorbar(
        [level for level, _ in known],
        values,
        yerr=[[max(0.0, each) for each in part] for part in (below, above)],
        label=label,
        marker=marker,
        color=color,
        markersize=4,
        linewidth=1.1,
        elinewidth=0.8,
        capsize=2,
    )


def _mark(axes: Axes, found: SweepResult) -> None:
    """Upright lines at the knee and at the highest level that meets the objectives."""
    if (knee := found.knee) is not None and not knee.at_end:
        axes.axvline(knee.level, color=INK, linewidth=0.9, linestyle=":", label="knee")
    if (at := found.bracket) is not None and at.met is not None:
        axes.axvline(at.met, color=INK, linewidth=0.9, linestyle="--", label="objectives met up to here")


def _scale_levels(axes: Axes, levels: list[LevelResult]) -> None:
    axes.set_xscale("log")
    named = [each.level for each in levels[:: max(1, -(-len(levels) // MOST_NAMED))]]
    axes.xaxis.set_major_locator(FixedLocator(named))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:,.6g}"))
