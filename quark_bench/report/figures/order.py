"""Order figures: the run as it went, trial by trial, block by block, and each arm over its own time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from quark_bench.report.canvas import draw
from quark_bench.report.figures.axes import (
    FAINT,
    MARKERS,
    colour_of,
    name_of,
    scale,
    stroke_of,
    thinned,
    title_of,
    titled_legend,
)
from quark_bench.report.findings import Findings
from quark_bench.report.load import loads
from quark_bench.trials import Trials, block_numbers, numbers
from quark_bench.units import PER_SECOND, SECONDS


def order_figure(findings: Findings) -> str | None:
    """Every trial's latency and every block's throughput in the order of the run. None without any record."""
    order = _in_order(findings.trials)
    if not order.size:
        return None
    rates = _block_rates(findings.trials, order)
    shown = {arm: _shown_trials(findings.trials, order, arm) for arm in findings.arms}
    trials = len(order)
    del order  # of a million trials, 8 MB that drawing need not wait beside
    title = title_of(findings, "The run in its order")

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for position, arm in enumerate(findings.arms):
            _paint_trials(above, shown[arm], arm, position)
            _paint_rates(below, rates[rates["arm"] == arm], position)
        for axes in (above, below):
            axes.vlines(rates["first"][1:] - 0.5, 0, 1, transform=axes.get_xaxis_transform(), **FAINT)
            axes.grid(visible=False, axis="x")
        scale(above, "y", np.concatenate([numbers(each, "latency_s") for each in shown.values()]), SECONDS)
        scale(below, "y", rates["per_s"].to_numpy(), PER_SECOND)
        above.set(ylabel="latency")
        below.set(xlabel="trials in the order of their admission", ylabel="throughput", xlim=(-1, trials))
        titled_legend(above, title)

    return draw(title, 4.6, paint)


def load_figure(findings: Findings) -> str | None:
    """Completions a second and calls under way, each arm over its own time. None without any record."""
    shown = loads(findings)
    if not shown:
        return None
    title = title_of(findings, "Throughput and calls under way")

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        for load in shown:
            position = findings.arms.index(load.arm)
            style: dict[str, Any] = {"color": colour_of(position), "linestyle": stroke_of(position)}
            label = f"{name_of(load.arm)}, {SECONDS.format(load.took_s)}"
            above.stairs(load.per_s, np.linspace(0, 1, len(load.per_s) + 1), label=label, linewidth=1.6, **style)
            below.stairs(load.under_way, np.linspace(0, 1, len(load.under_way) + 1), linewidth=1.3, **style)
        borders = np.unique(np.concatenate([load.borders for load in shown]).round(2))
        for axes in (above, below):
            axes.vlines(borders, 0, 1, transform=axes.get_xaxis_transform(), **FAINT)
            axes.grid(visible=False, axis="x")
        scale(above, "y", np.concatenate([load.per_s for load in shown]), PER_SECOND)
        above.set(ylabel="throughput")
        below.set(ylabel="calls under way", xlabel="time of the arm, its blocks joined", xlim=(0, 1), ylim=(0, None))
        below.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        titled_legend(above, title)

    return draw(title, 4.6, paint)


def _paint_trials(axes: Axes, trials: pd.DataFrame, arm: str, position: int) -> None:
    failed = trials["status"] == "failed"
    answered, lost = trials[~failed], trials[failed]
    dots: dict[str, Any] = {"color": colour_of(position), "alpha": 0.85}
    marker = MARKERS[position % len(MARKERS)]
    axes.scatter(
        answered["place"], answered["latency_s"], s=12, marker=marker, linewidths=0, label=name_of(arm), **dots
    )
    if not lost.empty:
        axes.scatter(
            lost["place"], lost["latency_s"], s=24, marker="x", linewidths=1.3, label=f"{name_of(arm)}, failed", **dots
        )


def _paint_rates(axes: Axes, rates: pd.DataFrame, position: int) -> None:
    first, last = rates["first"] - 0.5, rates["last"] + 0.5
    axes.hlines(rates["per_s"], first, last, colors=colour_of(position), linewidth=3)


def _in_order(trials: Trials) -> NDArray[np.int64]:
    """The positions of all records in the order of admission, sessions one after another."""
    return np.lexsort((numbers(trials.records(["start_s"]), "start_s"), block_numbers(trials)))


def _shown_trials(trials: Trials, order: NDArray[np.int64], arm: str) -> pd.DataFrame:
    """The trials of an arm that a figure has room for, in order, with their `place` in it."""
    of_arm = (trials.records(["arm"])["arm"] == arm).to_numpy(bool)
    places = np.flatnonzero(of_arm[order])
    places = places[thinned(len(places))]
    return trials.records(["status", "latency_s"], rows=order[places]).assign(place=places)


def _block_rates(trials: Trials, order: NDArray[np.int64]) -> pd.DataFrame:
    """For each block of each session: first and last place, and completions per second of its makespan."""
    firsts = np.flatnonzero(np.diff(block_numbers(trials)[order], prepend=-1))
    arms = trials.records(["arm"], rows=order[firsts])["arm"]
    start_s = numbers(trials.records(["start_s"]), "start_s")
    end_s = numbers(trials.records(["due_s"]), "due_s") + numbers(trials.records(["latency_s"]), "latency_s")
    rates = []
    for arm, first, end in zip(arms, firsts, [*firsts[1:], len(order)], strict=True):
        span_s = end_s[order[first:end]].max() - start_s[order[first]]
        if span_s > 0:
            rates.append((arm, first, end - 1, (end - first) / span_s))
    return pd.DataFrame(rates, columns=["arm", "first", "last", "per_s"])
