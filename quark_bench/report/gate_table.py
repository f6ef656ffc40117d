"""Gate table: a gate's result for the terminal, as a rich renderable that fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.gate_result import GateResult
from quark_bench.plain import one_line, shortened
from quark_bench.report import gate_sentences
from quark_bench.report.gate_cells import NOTE, GateRow, gate_rows
from quark_bench.report.tables import LONGEST_LINE
from quark_bench.rule import Verdict

STYLES = {
    Verdict.PASS: "green",
    Verdict.REGRESSED: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_JUDGED: "dim",
}
"""The word alone says the verdict too."""
LABEL_WIDTH = 19
VERDICT_WIDTH = max(len(each.value) for each in Verdict)


def gate_table(result: GateResult) -> Group:
    """The verdict, the measures side by side, and what else is worth a sentence."""
    style = STYLES[Verdict.REGRESSED if result.slos_missed else result.verdict]
    return Group(
        *([_text(result.conditions, "dim")] if result.conditions else []),
        _text(gate_sentences.headline(result), style),
        Text(""),
        *_measures(gate_rows(result)),
        _listed(gate_sentences.details(result)),
    )


def _measures(rows: Iterable[GateRow]) -> list[Table | Text]:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold", max_width=LABEL_WIDTH)
    for header in ("baseline", "candidate", "change"):
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=True, min_width=VERDICT_WIDTH)
    for row in rows:
        change = Text(row.change)
        if row.bounds:
            change.append(f"\n{row.bounds}", style="dim")
        verdict = Text(row.verdict.value, STYLES[row.verdict])
        table.add_row(_text(row.label), row.baseline, row.candidate, change, verdict)
    if not table.row_count:
        return []
    return [table, Text(NOTE, "dim"), Text("")]


def _listed(sentences: Iterable[str]) -> Table:
    """A sentence an item, its further lines indented."""
    listed = Table.grid(padding=(0, 1, 0, 0))
    listed.add_column(width=1)
    listed.add_column(overflow="fold")
    for told in sentences:
        listed.add_row("-", _text(told))
    return listed


def _text(value: str, style: str = "") -> Text:
    return Text(one_line(shortened(value, LONGEST_LINE)), style=style)
