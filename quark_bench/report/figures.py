"""Figures: each one `<svg>` element, the same for the same findings.

Each arm keeps one colour, line style and marker throughout, told apart without colour vision and on light and
dark pages alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from quark_bench.compare import Attribution
from quark_bench.plain import one_line, shortened
from quark_bench.report.canvas import INK, draw
from quark_bench.report.findings import Findings
from quark_bench.report.waterfall import Lane, lanes, typical_trial
from quark_bench.stats import Floats
from quark_bench.trials import Trials, block_numbers, is_answered, numbers
from quark_bench.units import PER_SECOND, RATIO, SECONDS, Unit

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
LANE_MARGIN = 1.8
"""Rows of a waterfall that an arm's heading and the gap below it take."""
FAINT: dict[str, Any] = {"alpha": 0.13, "linewidth": 0.6}


def latency_figure(findings: Findings) -> str | None:
    """Share of prompts answered within a latency, by arm; failures never arrive. None without any answer."""
    by_arm = {arm: _answered_share(findings, arm) for arm in findings.arms}
    answered_s = np.concatenate([latencies_s for latencies_s, _ in by_arm.values()])
    if not answered_s.size:
        return None
    title = _title(findings, "Latency by arm")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for position, (arm, share) in enumerate(by_arm.items()):
            _paint_share(axes, share, arm, position)
        axes.set(xlabel="latency", ylabel="share of prompts answered", ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        _scale(axes, "x", answered_s, SECONDS)
        _titled_legend(axes, title)

    return draw(title, 3.6, paint)


def waterfall_figure(findings: Findings) -> str | None:
    """The agents' calls of the typical prompt under each arm, on one time axis. None without any record."""
    chosen = typical_trial(findings)
    if chosen is None:
        return None
    shown = lanes(findings, *chosen)
    longest_s = max(lane.latency_s for lane in shown) or 1.0
    title = _title(findings, f"Prompt {_name(chosen[0])} under each arm")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        top = 0.0
        for lane in shown:
            top = _paint_lane(axes, lane, findings.arms.index(lane.arm), top, longest_s)
        axes.set(
            title=title, xlabel="since the prompt was admitted", xlim=(0, longest_s * 1.04), ylim=(top - 0.4, -0.2)
        )
        axes.xaxis.set_major_formatter(_ticks(SECONDS))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])

    return draw(title, 1.0 + 0.2 * sum(len(lane.bars) + LANE_MARGIN for lane in shown), paint)


def order_figure(findings: Findings) -> str | None:
    """Every trial's latency and every block's throughput in the order of the run. None without any record."""
    order = _in_order(findings.trials)
    if not order.size:
        return None
    rates = _block_rates(findings.trials, order)
    shown = {arm: _shown_trials(findings.trials, order, arm) for arm in findings.arms}
    trials = len(order)
    del order  # of a million trials, 8 MB that drawing need not wait beside
    title = _title(findings, "The run in its order")

    def paint(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for position, arm in enumerate(findings.arms):
            _paint_trials(above, shown[arm], arm, position)
            _paint_rates(below, rates[rates["arm"] == arm], position)
        for axes in (above, below):
            axes.vlines(rates["first"][1:] - 0.5, 0, 1, transform=axes.get_xaxis_transform(), colors=INK, **FAINT)
            axes.grid(visible=False, axis="x")
        _scale(above, "y", np.concatenate([numbers(each, "latency_s") for each in shown.values()]), SECONDS)
        _scale(below, "y", rates["per_s"].to_numpy(), PER_SECOND)
        above.set(ylabel="latency")
        below.set(xlabel="trials in the order of their admission", ylabel="throughput", xlim=(-1, trials))
        _titled_legend(above, title)

    return draw(title, 4.6, paint)


def attribution_figure(findings: Findings) -> str | None:
    """What branches give, what prompts in flight give, and both, as factors. None without an attribution."""
    given = (("throughput", findings.attribution), ("latency", findings.latency_attribution))
    shown = [(what, each) for what, each in given if each is not None and _is_whole(each)]
    if not shown:
        return None
    title = _title(findings, "Where the gain comes from")

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (what, each) in zip(panels, shown, strict=True):
            _paint_factors(axes, each)
            axes.set_ylabel(what)
        _factor_axis(panels[0], [each for _, each in shown])
        panels[0].set_title(title)
        panels[-1].set_xlabel(f"times as good as {_name(findings.arms[0])}")

    return draw(title, 0.9 + 1.05 * len(shown), paint)


def _answered_share(findings: Findings, arm: str) -> tuple[Floats, Floats]:
    """Latencies of an arm's answered trials, ascending, as many as a figure has room for, and the share of all its
    trials that was answered within each."""
    trials = findings.trials.records(["status", "latency_s"], arm)
    latencies_s = np.sort(numbers(trials, "latency_s")[is_answered(trials)])
    kept = _thinned(latencies_s.size)
    return latencies_s[kept], (kept + 1) / max(1, len(trials))


def _paint_share(axes: Axes, share: tuple[Floats, Floats], arm: str, position: int) -> None:
    latencies_s, answered = share
    if not latencies_s.size:
        return
    xs, ys = np.concatenate([latencies_s[:1], latencies_s]), np.concatenate([[0.0], answered])
    axes.step(xs, ys, where="post", label=_name(arm), color=_colour(position), linestyle=_stroke(position), linewidth=2)


def _paint_lane(axes: Axes, lane: Lane, position: int, top: float, longest_s: float) -> float:
    """One arm's bars from `top` downwards, named beside them where there is room; returns where the next begins."""
    colour = _colour(position)
    label = f"{_name(lane.arm)}  {SECONDS.format(lane.latency_s)}" + ("  failed" if lane.status == "failed" else "")
    axes.text(0, top + 0.25, label, color=colour, fontweight="bold", va="center")
    rows = [top + 1.2 + row for row in range(len(lane.bars))]
    for row, bar in zip(rows, lane.bars, strict=True):
        axes.hlines(row, bar.ready_s, bar.start_s, colors=INK, alpha=0.35, linewidth=1)
        solid = 0.95 if bar.on_chain else 0.38
        axes.barh(row, bar.duration_s, left=bar.start_s, height=0.68, color=colour, alpha=solid, linewidth=0)
        name = _name(bar.agent) + (f" (try {bar.attempt})" if bar.attempt > 1 else "")
        outcome = "" if bar.status == "ok" else f", {_name(bar.status)}"
        before = bar.start_s > longest_s / 2
        axes.annotate(
            f"{name}  {SECONDS.format(bar.duration_s)}{outcome}",
            (bar.start_s if before else bar.end_s, row),
            xytext=(-4 if before else 4, 0),
            textcoords="offset points",
            ha="right" if before else "left",
            va="center",
            fontsize=8,
        )
    axes.vlines(lane.latency_s, top + 0.7, top + len(lane.bars) + 0.7, colors=colour, linewidth=1)
    return top + len(lane.bars) + LANE_MARGIN


def _paint_trials(axes: Axes, trials: pd.DataFrame, arm: str, position: int) -> None:
    failed = trials["status"] == "failed"
    answered, lost = trials[~failed], trials[failed]
    dots: dict[str, Any] = {"color": _colour(position), "alpha": 0.85}
    marker = MARKERS[position % len(MARKERS)]
    axes.scatter(answered["place"], answered["latency_s"], s=12, marker=marker, linewidths=0, label=_name(arm), **dots)
    if not lost.empty:
        axes.scatter(
            lost["place"], lost["latency_s"], s=24, marker="x", linewidths=1.3, label=f"{_name(arm)}, failed", **dots
        )


def _paint_rates(axes: Axes, rates: pd.DataFrame, position: int) -> None:
    first, last = rates["first"] - 0.5, rates["last"] + 0.5
    axes.hlines(rates["per_s"], first, last, colors=_colour(position), linewidth=3)


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
    axes.xaxis.set_major_formatter(_ticks(RATIO))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _is_whole(found: Attribution) -> bool:
    return all(each.value is not None and each.value > 0 for each in (found.branches, found.in_flight, found.total))


def _in_order(trials: Trials) -> NDArray[np.int64]:
    """The positions of all records in the order of admission, sessions one after another."""
    return np.lexsort((numbers(trials.records(["start_s"]), "start_s"), block_numbers(trials)))


def _shown_trials(trials: Trials, order: NDArray[np.int64], arm: str) -> pd.DataFrame:
    """The trials of an arm that a figure has room for, in order, with their `place` in it."""
    of_arm = (trials.records(["arm"])["arm"] == arm).to_numpy(bool)
    places = np.flatnonzero(of_arm[order])
    places = places[_thinned(len(places))]
    return trials.records(["status", "latency_s"], rows=order[places]).assign(place=places)


def _block_rates(trials: Trials, order: NDArray[np.int64]) -> pd.DataFrame:
    """For each block of each session: first and last place, and completions per second of its makespan."""
    firsts = np.flatnonzero(np.diff(block_numbers(trials)[order], prepend=-1))
    arms = trials.records(["arm"], rows=order[firsts])["arm"]
    start_s = numbers(trials.records(["start_s"]), "start_s")
    end_s = start_s + numbers(trials.records(["latency_s"]), "latency_s")
    rates = []
    for arm, first, end in zip(arms, firsts, [*firsts[1:], len(order)], strict=True):
        span_s = end_s[order[first:end]].max() - start_s[order[first]]
        if span_s > 0:
            rates.append((arm, first, end - 1, (end - first) / span_s))
    return pd.DataFrame(rates, columns=["arm", "first", "last", "per_s"])


def _thinned(n: int) -> np.ndarray:
    """Positions of at most MOST_POINTS of n points, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int)) if n else np.arange(0)


def _scale(axes: Axes, which: Literal["x", "y"], values: np.ndarray, unit: Unit) -> None:
    """Ticks in the unit; logarithmic where the values' range is wide, else from 0."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    positive = values[values > 0]
    if positive.size and positive.max() > WIDE * positive.min():
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
    else:
        axes.set(**{f"{which}lim": (0, None)})
    axis.set_major_formatter(_ticks(unit))


def _ticks(unit: Unit) -> FuncFormatter:
    return FuncFormatter(lambda value, _: unit.format(value))


def _titled_legend(axes: Axes, title: str) -> None:
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


def _title(findings: Findings, title: str) -> str:
    return one_line(shortened(findings.titled(title), LONGEST_TITLE))


def _name(text: str) -> str:
    """A name from outside as a figure shows it. A legend leaves out what begins with an underscore."""
    shown = one_line(text[: LONGEST_NAME + 1])
    shown = shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"
    return f" {shown}" if shown.startswith("_") else shown


def _colour(position: int) -> str:
    return COLOURS[position % len(COLOURS)]


def _stroke(position: int) -> str | tuple[float, Sequence[float]]:
    return STROKES[position % len(STROKES)]
