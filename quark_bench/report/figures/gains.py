"""Gain figures: how many times better each arm is, and what of that comes from where."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from quark_bench.compare import Attribution
from quark_bench.report.canvas import INK, draw
from quark_bench.report.figures.axes import COLOURS, name_of, ticks, title_of
from quark_bench.report.findings import Findings
from quark_bench.units import RATIO


def attribution_figure(findings: Findings) -> str | None:
    """What branches give, what prompts in flight give, and both, as factors. None without an attribution."""
    given = (("throughput", findings.attribution), ("latency", findings.latency_attribution))
    shown = [(what, each) for what, each in given if each is not None and _is_whole(each)]
    if not shown:
        return None
    title = title_of(findings, "Where the gain comes from")

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (what, each) in zip(panels, shown, strict=True):
            _paint_factors(axes, each)
            axes.set_ylabel(what)
        _factor_axis(panels[0], [each for _, each in shown])
        panels[0].set_title(title)
        panels[-1].set_xlabel(f"times as good as {name_of(findings.arms[0])}")

    return draw(title, 0.9 + 1.05 * len(shown), paint)


def _paint_factors(axes: Axes, found: Attribution) -> None:
    """Factors multiply, so on a logarithmic axis their bars add up."""
    branches, in_flight, total = (each.value or 1.0 for each in (found.branches, found.in_flight, found.total))
    steps = (
        ("branches", 1.0, branches, branches, COLOURS[1]),
        ("prompts in flight", branches, branches * in_flight, in_flight, COLOURS[2]),
        ("together", 1.0, total, total, COLOURS[5]),
    )
    for row, (_, start, end, factor, colour) in enumerate(steps):
        axes.barh(row, end - start, left=start, height=0.6, color=colour, linewidth=0)
        axes.annotate(
            RATIO.format(factor), (max(start, end), row), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.axvline(1.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(steps)), [name for name, *_ in steps])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _factor_axis(axes: Axes, shown: Sequence[Attribution]) -> None:
    """Logarithmic, with everything reached in view and room for the numbers beside the bars."""
    reached = [1.0, *(each.value or 1.0 for split in shown for each in (split.branches, split.total))]
    axes.set_xscale("log")
    axes.set_xlim(min(reached) * 0.92, max(reached) ** 1.12 * 1.05)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(reached) > 3 else (1, 1.2, 1.5, 2)))
    axes.xaxis.set_major_formatter(ticks(RATIO))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _is_whole(found: Attribution) -> bool:
    return all(each.value is not None and each.value > 0 for each in (found.branches, found.in_flight, found.total))
