"""Compare page: two arms side by side as one HTML file that opens anywhere, offline."""

from __future__ import annotations

from quark_bench.compared import Compared
from quark_bench.report import compare_cells, page


def render_comparison(found: Compared) -> str:
    """The comparison as one HTML document: no network, no script, everything from outside escaped."""
    return page.template("compare.html.j2").render(
        css=page.stylesheet(),
        policy=page.policy(),
        found=found,
        cells=compare_cells,
        measures=compare_cells.measure_rows(found),
        agents=compare_cells.agent_rows(found),
    )
