"""Categories figure: what each category scored, arm by arm."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quark_bench.report.canvas import draw
from quark_bench.report.categories import Categories
from quark_bench.report.figures.axes import MARKERS, colour_of, name_of, title_of, titled_legend
from quark_bench.report.findings import Findings
from quark_bench.trials import SCORE_PREFIX

MOST_SCORERS = 4
MOST_CATEGORIES = 12
"""Of them a figure has room for; the table below has more."""
SPREAD = 0.5
"""Rows between the first arm's marks and the last arm's."""


def categories_figure(findings: Findings, found: Categories | None) -> str | None:
    """A panel per scorer, a row per category, a mark per arm, hollow where the group is small. None without scores."""
    if found is None or not found.scorers or not found.by_arm:
        return None
    title = title_of(findings, "Scores by category")
    scorers = found.scorers[:MOST_SCORERS]
    names = [each.name for each in next(iter(found.by_arm.values()))[:MOST_CATEGORIES]]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(scorers), sharey=True, squeeze=False)[0]
        for axes, scorer in zip(panels, scorers, strict=True):
            for arm in found.by_arm:
                _paint_arm(axes, found, arm, findings.arms.index(arm), SCORE_PREFIX + scorer, names)
            axes.set(xlabel=name_of(scorer.replace("_", " ")), xlim=(-0.04, 1.04), ylim=(len(names) - 0.4, -0.6))
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(names)), [name_of(name) for name in names])
        titled_legend(panels[0], title)

    return draw(title, 1.3 + 0.34 * len(names), paint)


def _paint_arm(axes: Axes, found: Categories, arm: str, position: int, column: str, names: list[str]) -> None:
    arms = len(found.by_arm)
    offset = SPREAD * (list(found.by_arm).index(arm) / max(1, arms - 1) - 0.5) if arms > 1 else 0.0
    colour = colour_of(position)
    style: dict[str, Any] = {"marker": MARKERS[position % len(MARKERS)], "edgecolors": colour, "linewidths": 1.2}
    label: str | None = name_of(arm)
    for each in found.by_arm[arm]:
        score = each.measures[column]
        if each.name not in names or score.value is None:
            continue
        row = names.index(each.name) + offset
        if score.low is not None and score.high is not None:
            axes.hlines(row, max(0.0, score.low), min(1.0, score.high), colors=colour, linewidth=1.1)
        face = "none" if each.small else colour
        axes.scatter([score.value], [row], s=26, facecolors=face, label=label, zorder=3, **style)
        label = None
