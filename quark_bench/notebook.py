"""Notebook: how a Run and a Comparison show themselves, in a notebook and in a terminal."""

from __future__ import annotations

import dataclasses
import html
from typing import TYPE_CHECKING

from quark_bench.capacity import Capacity
from quark_bench.compare import Comparison
from quark_bench.gate_result import GateResult
from quark_bench.report import sentences
from quark_bench.sweep_result import SweepResult
from quark_bench.units import RATIO, SHARE
from quark_bench.what_if import WhatIf

if TYPE_CHECKING:
    from quark_bench.run import Run


class ShownComparison(Comparison):
    """A Comparison that reads as a sentence in a terminal and as a table in a notebook."""

    @classmethod
    def of(cls, comparison: Comparison) -> ShownComparison:
        fields = (field.name for field in dataclasses.fields(Comparison))
        return cls(**{name: getattr(comparison, name) for name in fields})

    def __repr__(self) -> str:
        told = (sentences.comparison(self), sentences.answers(self), sentences.faults(self))
        return "; ".join(filter(None, told))

    def _repr_html_(self) -> str:
        rows = (
            ("throughput", self.throughput.value, self.throughput.low, self.throughput.high),
            ("latency", self.latency.value, self.latency.low, self.latency.high),
        )
        body = "".join(
            f"<tr><th scope='row'>{name}</th><td>{RATIO.format(value)}</td>"
            f"<td>{RATIO.format_interval(low, high)}</td></tr>"
            for name, value, low, high in rows
        )
        caption = html.escape(f"{self.b} against {self.a}: how many times better ({sentences.pairs(self)})")
        detectable = f", smallest detectable change {SHARE.format(self.mde)}" if self.mde is not None else ""
        told = ". ".join(filter(None, (sentences.answers(self) + detectable, sentences.faults(self))))
        return (
            f"<table><caption>{caption}</caption><thead><tr><th></th><th scope='col'>ratio</th>"
            f"<th scope='col'>95 % interval</th></tr></thead><tbody>{body}</tbody></table>"
            f"<p>{html.escape(told)}.</p>"
        )


class ShownWhatIf(WhatIf):
    """A WhatIf that reads as sentences in a terminal and as tables in a notebook."""

    @classmethod
    def of(cls, found: WhatIf) -> ShownWhatIf:
        fields = (field.name for field in dataclasses.fields(WhatIf))
        return cls(**{name: getattr(found, name) for name in fields})

    def __repr__(self) -> str:
        from quark_bench.report.what_if_table import headline

        return headline(self)

    def _repr_html_(self) -> str:
        from quark_bench.report.what_if_table import what_if_table

        return as_html(what_if_table(self, ""))


class ShownCapacity(Capacity):
    """A Capacity that reads as sentences in a terminal and as a table in a notebook."""

    @classmethod
    def of(cls, found: Capacity) -> ShownCapacity:
        fields = (field.name for field in dataclasses.fields(Capacity))
        return cls(**{name: getattr(found, name) for name in fields})

    def __repr__(self) -> str:
        from quark_bench.report.capacity_table import walls_told

        return " ".join(walls_told(self))

    def _repr_html_(self) -> str:
        from quark_bench.report.capacity_table import capacity_table

        return as_html(capacity_table(self, ""))


def run_html(run: Run) -> str:
    """The run's final table, as the terminal shows it."""
    from quark_bench.report.tables import run_table

    return as_html(run_table(run.findings))


def gate_html(result: GateResult) -> str:
    """A gate's verdict and measures, as the terminal shows them."""
    from quark_bench.report.gate_table import gate_table

    return as_html(gate_table(result))


def sweep_html(result: SweepResult) -> str:
    """A sweep's levels as the terminal shows them, and its curves above them."""
    from quark_bench.report.sweep_figure import sweep_svg
    from quark_bench.report.sweep_table import sweep_table

    return (sweep_svg(result) if len(result.levels) > 1 else "") + as_html(sweep_table(result))


def as_html(renderable: object) -> str:
    """A rich renderable as preformatted HTML, 80 columns wide."""
    import io

    from rich.console import Console

    console = Console(record=True, width=80, file=io.StringIO(), force_jupyter=False)
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format="<pre style='line-height:1.2'>{code}</pre>")
