"""Notebook: how things, runs and what they found show themselves, in a notebook and in a terminal."""

from __future__ import annotations

import dataclasses
import html
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console

from quark_bench.blame import Blame
from quark_bench.capacity import Capacity
from quark_bench.compare import Comparison, Ratio
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import UsageError
from quark_bench.gate_result import GateResult
from quark_bench.pipeline import Pipeline
from quark_bench.plain import one_line, plain, shortened
from quark_bench.report import sentences
from quark_bench.report.blame_table import blame_tables
from quark_bench.report.dag import Layout, Weight, dag_svg, dag_text
from quark_bench.report.findings import Findings
from quark_bench.slo import nearest
from quark_bench.sweep_result import SweepResult
from quark_bench.units import RATIO, SHARE
from quark_bench.what_if import WhatIf

if TYPE_CHECKING:
    from quark_bench.run import Run

FIRST_PROMPTS = 5
"""Of a data set, shown."""
LONGEST_CELL = 200
"""Characters of a prompt's text that a table shows."""
WIDTH = 80


def forms(thing: object) -> Mapping[str, str]:
    """A data set as a table, a pipeline as a drawing, by media type; nothing for what has no other form than text."""
    match thing:
        case Dataset():
            return {"text/html": dataset_html(thing)}
        case Pipeline():
            return drawn_dag(thing.layout).forms()
        case _:
            return {}


class Told:
    """What the terminal shows too: preformatted in a notebook, plain text elsewhere."""

    def __init__(self, renderable: object) -> None:
        self._renderable = renderable

    def __repr__(self) -> str:
        return as_text(self._renderable)

    def _repr_html_(self) -> str:
        return as_html(self._renderable)


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """A drawing that stands alone, on paper of its own, so that it is read in light and dark alike; and its text."""

    svg: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def forms(self) -> Mapping[str, str]:
        """By media type."""
        return {"image/svg+xml": self.svg, "text/plain": self.text}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Mapping[str, str]:
        return self.forms()


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
        body = "".join(
            f"<tr><th scope='row'>{name}</th><td>{RATIO.format(ratio.value)}</td><td>{_bounds(ratio)}</td></tr>"
            for name, ratio in (("throughput", self.throughput), ("latency", self.latency))
        )
        caption = html.escape(f"{self.b} against {self.a}: how many times better ({sentences.pairs(self)})")
        detectable = f", smallest detectable change {SHARE.format(self.mde)}" if self.mde is not None else ""
        told = ". ".join(filter(None, (sentences.answers(self) + detectable, sentences.faults(self))))
        return (
            f"<table><caption {WHOLE}>{caption}</caption><thead><tr><th></th><th scope='col'>ratio</th>"
            f"<th scope='col'>95 % interval</th></tr></thead><tbody>{body}</tbody></table>"
            f"<p>{html.escape(told)}.</p>"
        )


def _bounds(ratio: Ratio) -> str:
    """The interval, or why there is none."""
    without = ratio.low is None or ratio.high is None
    return html.escape(ratio.note if without and ratio.note else RATIO.format_interval(ratio.low, ratio.high))


class ShownBlame(Blame):
    """A Blame that reads as a table in a terminal and in a notebook."""

    @classmethod
    def of(cls, found: Blame) -> ShownBlame:
        return cls(found.scorer, found.answer, found.judges, found.arms)

    def __repr__(self) -> str:
        return as_text(blame_tables(self))

    def _repr_html_(self) -> str:
        return as_html(blame_tables(self))


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

    def figure(self) -> Drawn:
        """Throughput and latency over workers, with the names of the walls."""
        from quark_bench.report.capacity_figure import capacity_figure

        return Drawn(alone(capacity_figure(self, "Capacity, simulated", "svg").decode()), repr(self))


def dataset_html(dataset: Dataset) -> str:
    """Name and size of a data set, and its first prompts."""
    first = dataset.prompts[:FIRST_PROMPTS]
    rows = "".join(map(_row, first))
    head = "".join(f"<th scope='col' {LEFT}>{name}</th>" for name in ("id", "category", "text", "reference"))
    size = sentences.plural(len(dataset), "prompt")
    scored = "with references" if dataset.has_references else "without references"
    more = f"; the first {len(first)}" if len(dataset) > len(first) else ""
    caption = html.escape(one_line(f"{dataset.name}: {size}, {scored}{more}"))
    return f"<table><caption {WHOLE}>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


LEFT = "style='text-align:left'"
"""Notebooks align what is in tables to the right, as numbers are."""
WHOLE = "style='text-align:left;white-space:nowrap'"
"""In one line, also where it is wider than its table."""


def _row(prompt: Prompt) -> str:
    texts = (prompt.category or "", prompt.text, " | ".join(prompt.reference))
    return f"<tr>{_cell(prompt.id, WHOLE)}{''.join(map(_cell, texts))}</tr>"


def _cell(text: str, style: str = LEFT) -> str:
    return f"<td {style}>{html.escape(one_line(shortened(text, LONGEST_CELL)))}</td>"


def drawn_dag(layout: Layout, weights: Mapping[str, Weight] | None = None) -> Drawn:
    """The DAG of agents; `weights` say what each takes and its share of the critical paths."""
    told = "".join(f"\n  {name}: {weight.told} of the critical path" for name, weight in (weights or {}).items())
    return Drawn(alone(dag_svg(layout, weights)), plain(dag_text(layout) + told))


def drawn_figure(findings: Findings, name: str) -> Drawn:
    """A figure of the report. Raises UsageError for one that is unknown, with the nearest, or has nothing to draw."""
    from quark_bench.report.figures import FIGURES

    if name not in FIGURES:
        raise UsageError(f"there is no figure {name!r}{nearest(name, list(FIGURES))}")
    svg = FIGURES[name](findings)
    if svg is None:
        raise UsageError(f"run {findings.manifest['run_id']} has nothing to draw a figure {name!r} of")
    return Drawn(alone(svg), f"figure {name} of {findings.manifest['run_id']}")


def alone(svg: str) -> str:
    """An `<svg>` element of a page as a picture: with a size, dark ink and white paper of its own."""
    root = svg[: svg.index(">")]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', root)
    size = f' width="{float(box[1]):.0f}pt" height="{float(box[2]):.0f}pt"' if box and " width=" not in root else ""
    return svg.replace("<svg ", f'<svg style="{PAPER}"{size} ', 1)


PAPER = "color:#1f2328;background:#fff;max-width:100%"


def record_told(findings: Findings, prompt_id: str, repeat: int | None) -> Told:
    """One prompt, agent by agent, under each arm. Raises UsageError, naming the nearest id, for one unknown."""
    from quark_bench.report.tables import record_view

    return Told(record_view(findings, prompt_id, repeat))


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
    """A rich renderable as preformatted HTML, 80 columns wide, in colours that are read on white and on black."""
    from rich.terminal_theme import TerminalTheme

    console = _console(renderable)
    theme = TerminalTheme((236, 236, 236), (0, 0, 0), [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, GREY])
    return console.export_html(theme=theme, inline_styles=True, code_format=f"<pre style='{PRE}'>{{code}}</pre>")


PRE = "font-family:ui-monospace,Menlo,Consolas,monospace;line-height:1.2;white-space:pre;overflow-x:auto"
"""Spelt out, as some front ends set text of a cell in the font of their pages."""
BLACK, RED, GREEN, YELLOW = (96, 96, 96), (207, 63, 55), (38, 133, 68), (150, 110, 0)
BLUE, MAGENTA, CYAN, GREY = (56, 116, 203), (160, 80, 170), (10, 128, 150), (118, 118, 118)
"""In the order of a terminal's colours, each with a contrast of at least 4 to white and to black."""


def as_text(renderable: object) -> str:
    """A rich renderable as plain text, 80 columns wide."""
    return _console(renderable).export_text().rstrip()


def _console(renderable: object) -> Console:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_jupyter=False)
    console.print(renderable)
    return console
