"""Ceilings: how many calls at once a model's server taught the run to make."""

from __future__ import annotations

from matplotlib.figure import Figure

from quark_bench.report.canvas import draw
from quark_bench.report.figures.axes import COLOURS, name_of, title_of, titled_legend
from quark_bench.report.findings import Findings


def ceilings_figure(findings: Findings) -> str | None:
    """The ceiling of every model that refused, over the session. None where none did."""
    taught = [each for each in findings.rations if each["changes"]]
    if not taught:
        return None
    title = title_of(findings, "Calls at once that the model bears")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for position, each in enumerate(taught):
            times_s = [at_s for at_s, _, _ in each["changes"]]
            ceilings = [ceiling for _, ceiling, _ in each["changes"]]
            label = name_of(each["model"]) + (f", session {each['session'] + 1}" if each.get("session") else "")
            colour = COLOURS[position % len(COLOURS)]
            axes.step(times_s, ceilings, where="post", color=colour, label=label)
            refused = [(at_s, ceiling) for at_s, ceiling, why in each["changes"] if why == "refused"]
            axes.plot(*zip(*refused, strict=True), "v", color=colour, markersize=5)
        axes.set(xlabel="seconds since the session's start", ylabel="calls at once, at most")
        axes.set_ylim(bottom=0)
        titled_legend(axes, title)

    return draw(title, 2.8, paint)
