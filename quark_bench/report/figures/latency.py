"""Latency figure: what share of the prompts was answered within a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from quark_bench.report.canvas import draw
from quark_bench.report.figures.axes import colour_of, name_of, scale, stroke_of, thinned, title_of, titled_legend
from quark_bench.report.findings import Findings
from quark_bench.stats import Floats, quantile_band
from quark_bench.trials import is_answered, numbers
from quark_bench.units import SECONDS

STEPS = 201
"""Shares at which the band is drawn."""


@dataclass(frozen=True, slots=True)
class _Share:
    """Within which latency which share of an arm's trials was answered; at each of `at`, the bounds of the latency."""

    latencies_s: Floats
    answered: Floats
    at: Floats
    low_s: Floats
    high_s: Floats


def latency_figure(findings: Findings) -> str | None:
    """Share of prompts answered within a latency, by arm; failures never arrive. None without any answer."""
    by_arm = {arm: _answered_share(findings, arm) for arm in findings.arms}
    answered_s = np.concatenate([share.latencies_s for share in by_arm.values()])
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


def _answered_share(findings: Findings, arm: str) -> _Share:
    """As many latencies as a figure has room for; the prompts of an arm, not their repeats, are independent."""
    trials = findings.trials.records(["status", "latency_s", "repeat"], arm)
    repeats = max(1, trials["repeat"].nunique())
    slowest_last = np.sort(np.where(is_answered(trials), numbers(trials, "latency_s"), np.inf))
    latencies_s = slowest_last[np.isfinite(slowest_last)]
    kept = thinned(latencies_s.size)
    at = np.linspace(0, 1, STEPS)[1:-1]
    low_s, high_s = quantile_band(slowest_last, at, max(1, len(trials) // repeats))
    return _Share(latencies_s[kept], (kept + 1) / max(1, len(trials)), at, low_s, high_s)


def _paint_share(axes: Axes, share: _Share, arm: str, position: int) -> None:
    if not share.latencies_s.size:
        return
    colour = colour_of(position)
    known = np.isfinite(share.low_s) & np.isfinite(share.high_s)
    axes.fill_betweenx(share.at[known], share.low_s[known], share.high_s[known], color=colour, alpha=0.18, linewidth=0)
    xs = np.concatenate([share.latencies_s[:1], share.latencies_s])
    ys = np.concatenate([[0.0], share.answered])
    style: dict[str, Any] = {"color": colour, "linestyle": stroke_of(position), "linewidth": 2}
    axes.step(xs, ys, where="post", label=name_of(arm), **style)
