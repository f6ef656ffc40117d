"""Compare table: two arms side by side for the terminal, as a rich renderable that fits 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quark_bench.compared import Compared
from quark_bench.plain import one_line, shortened
from quark_bench.report import compare_cells
from quark_bench.report.compare_cells import CompareRow
from quark_bench.report.tables import LONGEST_LINE

LABEL_WIDTH = 19
VALUE_WIDTH = 26
"""Of a value of the environment, beside another one."""
STYLES = {"better": "green", "worse": "bold red", "": ""}


def compare_table(found: Compared) -> Group:
    """The headline, both sides, their measures and agents, and what has to be known of them."""
    measures, agents = compare_cells.measure_rows(found), compare_cells.agent_rows(found)
    parts: list[RenderableType] = [
        _text(compare_cells.title(found), "bold"),
        _text(compare_cells.headline(found)),
        _text(f"A  {compare_cells.legend(found.a)}", "dim"),
        _text(f"B  {compare_cells.legend(found.b)}", "dim"),
        Text(""),
        _changes("", measures, tinted=found.one_run),
    ]
    if agents:
        parts += [Text(""), _changes("agent", agents, tinted=found.one_run)]
    parts += [Text("\n".join(compare_cells.reading(found)), "dim"), Text("")]
    parts.append(_listed(found))
    if found.environment:
        parts += [Text(""), _environment(found)]
    return Group(*parts)


def _changes(header: str, rows: Sequence[CompareRow], *, tinted: bool) -> Table:
    table = _empty()
    table.add_column(header, overflow="fold", max_width=LABEL_WIDTH)
    for name in ("A", "B", "change", "detectable"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", no_wrap=True)
    for row in rows:
        change = Text(row.change)
        if row.bounds:
            change.append(f"\n{row.bounds}", style="dim")
        tone = row.tone if tinted else ""
        table.add_row(_text(row.label), row.a, row.b, change, row.smallest, Text(tone, STYLES[tone]))
    return table


def _listed(found: Compared) -> Table:
    """A sentence an item, its further lines indented."""
    listed = Table.grid(padding=(0, 1, 0, 0))
    listed.add_column(width=1)
    listed.add_column(overflow="fold")
    for told in compare_cells.details(found):
        listed.add_row("-", _text(told))
    return listed


def _environment(found: Compared) -> Table:
    table = _empty()
    table.add_column("differs", overflow="fold", max_width=LABEL_WIDTH)
    for name in ("A", "B"):
        table.add_column(name, overflow="fold", max_width=VALUE_WIDTH)
    for name, a, b in found.environment:
        table.add_row(_text(name), _text(a or "n/a"), _text(b or "n/a"))
    return table


def _empty() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)


def _text(value: str, style: str = "") -> Text:
    return Text(one_line(shortened(value, LONGEST_LINE)), style=style)
