"""Forecast table: what a run would take, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.forecast import ArmForecast
from quark_bench.plain import one_line
from quark_bench.units import COUNT, DOLLARS, SECONDS


def forecast_table(found: Sequence[ArmForecast], title: str) -> Group:
    """A line per arm; below it where the estimates come from."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("arm", overflow="fold")
    for header in ("trials", "agents' calls", "time", "tokens", "cost"):
        table.add_column(header, justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            Text(one_line(each.arm)),
            COUNT.format(each.trials),
            COUNT.format(each.calls),
            _about(SECONDS.format(each.took_s)),
            _about(COUNT.format(None if each.tokens is None else round(each.tokens))),
            _about(DOLLARS.format(each.cost_usd)) if each.cost_usd else "n/a",
        )
    return Group(Text(one_line(title), style="bold"), table, *(Text(line, style="dim") for line in _lines(found)))


def _about(text: str) -> str:
    return text if text == "n/a" else f"about {text}"


def _lines(found: Sequence[ArmForecast]) -> Iterator[str]:
    seen = dict.fromkeys(each.seen_in for each in found if each.seen_in)
    if seen:
        yield f"Estimated by {', '.join(map(one_line, seen))}; warm-ups and the start of workers come on top."
    if unknown := [one_line(each.arm) for each in found if each.seen_in is None]:
        yield (
            f"No earlier run of this pipeline in arm {', '.join(unknown)} to estimate by: try a few prompts first, as "
            "with --limit 20."
        )
    yield "Nothing was run."
