"""Sweep page: the curves of a sweep and a table of its levels as one HTML file that opens anywhere."""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup

from quark_bench.report import page
from quark_bench.report.sweep_figure import sweep_svg
from quark_bench.report.sweep_table import headlines, notes, sweep_rows
from quark_bench.sweep_result import Load, SweepResult


def render_sweep(found: SweepResult) -> str:
    """The sweep as one HTML document: no network, no script, everything from outside escaped."""
    drawn = sweep_svg(found) if len(found.levels) > 1 else None
    return page.template("sweep.html.j2").render(
        css=page.stylesheet(),
        policy=page.policy(),
        found=found,
        load="in flight" if found.load is Load.IN_FLIGHT else "per second",
        rows=sweep_rows(found),
        headlines=headlines(found),
        notes=notes(found),
        figure=None if drawn is None else Markup(drawn),  # noqa: S704 - our own drawing
        report=lambda run: "./" + quote(f"{run}/report.html"),
    )
