"""Pairs figure: every prompt by what it took in the first arm and in the last."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from quark_bench.report.canvas import INK, draw
from quark_bench.report.figures.axes import colour_of, name_of, scale, thinned, title_of
from quark_bench.report.findings import Findings
from quark_bench.report.pairs import Pairs
from quark_bench.stats import Floats
from quark_bench.units import SECONDS


def pairs_figure(findings: Findings, pairs: Pairs | None) -> str | None:
    """A dot per prompt, below the line y = x where the last arm was faster. None without pairs."""
    if pairs is None:
        return None
    title = title_of(findings, f"Prompt by prompt, {name_of(pairs.a)} against {name_of(pairs.b)}")
    times_s = _shown(pairs)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        a_s, b_s = times_s.T
        axes.scatter(a_s, b_s, s=14, color=colour_of(len(findings.arms) - 1), alpha=0.6, linewidths=0)
        scale(axes, "x", times_s.ravel(), SECONDS)
        scale(axes, "y", times_s.ravel(), SECONDS)
        both = np.array([0.0 if axes.get_xscale() == "linear" else times_s.min() * 0.9, times_s.max() * 1.1])
        axes.plot(both, both, color=INK, linewidth=0.9)
        axes.annotate("equal", (both[1], both[1]), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set(xlabel=f"latency, {name_of(pairs.a)}", ylabel=f"latency, {name_of(pairs.b)}", title=title)

    return draw(title, 4.6, paint)


def _shown(pairs: Pairs) -> Floats:
    """As many prompts as there is room for, by how much they gained: the extremes are among them."""
    times_s = pairs.times[["a_s", "b_s"]].to_numpy(np.float64)
    order = np.argsort(times_s[:, 0] / times_s[:, 1], kind="stable")
    shown: Floats = times_s[order[thinned(len(order))]]
    return shown
