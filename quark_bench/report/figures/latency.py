"""Latency figure: what share of the prompts was answered within a time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from quark_bench.report.canvas import draw
from quark_bench.report.figures.axes import colour_of, name_of, scale, stroke_of, thinned, title_of, titled_legend
from quark_bench.report.findings import Findings
from quark_bench.stats import Floats
from quark_bench.trials import is_answered, numbers
from quark_bench.units import SECONDS


def latency_figure(findings: Findings) -> str | None:
    """Share of prompts answered within a latency, by arm; failures never arrive. None without any answer."""
    by_arm = {arm: _answered_share(findings, arm) for arm in findings.arms}
    answered_s = np.concatenate([latencies_s for latencies_s, _ in by_arm.values()])
    if not answered_s.size:
        return None
    title = title_of(findings, "Latency by arm")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for position, (arm, share) in enumerate(by_arm.items()):
            _paint_share(axes, share, arm, position)
        axes.set(xlabel="latency", ylabel="share of prompts answered", ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        scale(axes, "x", answered_s, SECONDS)
        titled_legend(axes, title)

    return draw(title, 3.6, paint)


def _answered_share(findings: Findings, arm: str) -> tuple[Floats, Floats]:
    """Latencies of an arm's answered trials, ascending, as many as a figure has room for, and the share of all its
    trials that was answered within each."""
    trials = findings.trials.records(["status", "latency_s"], arm)
    latencies_s = np.sort(numbers(trials, "latency_s")[is_answered(trials)])
    kept = thinned(latencies_s.size)
    return latencies_s[kept], (kept + 1) / max(1, len(trials))


def _paint_share(axes: Axes, share: tuple[Floats, Floats], arm: str, position: int) -> None:
    latencies_s, answered = share
    if not latencies_s.size:
        return
    xs, ys = np.concatenate([latencies_s[:1], latencies_s]), np.concatenate([[0.0], answered])
    axes.step(
        xs, ys, where="post", label=name_of(arm), color=colour_of(position), linestyle=stroke_of(position), linewidth=2
    )
