"""What-if table: what a change of some agents would give, and where speed pays most, for the terminal in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quark_bench.measures import unit_of
from quark_bench.plain import one_line
from quark_bench.report.cells import interval
from quark_bench.report.sentences import plural
from quark_bench.stats import Interval
from quark_bench.units import RATIO, SHARE, Unit
from quark_bench.what_if import FASTER, Predicted, WhatIf

LABELS = {
    "mean_latency_s": "latency, mean",
    "p50_latency_s": "latency, median",
    "p95_latency_s": "latency, 95 %",
    "mean_answer_s": "answer, mean",
    "throughput_per_s": "throughput",
}
NAME_WIDTH = 19
PERCENT = Unit("share", lambda value: "0 %" if abs(value) < 5e-4 else f"{value * 100:+.1f} %")
"""A change: with its sign, to a tenth of a percent."""
PERCENT_LESS = Unit("share", lambda ratio: f"{(1 - ratio) * 100:.1f} %")
"""A ratio of then to now as the part that is saved."""
BUSY = 0.7
"""Share of the cores' time from which waits for them may be longer than what computes (M/M/1: twice as long)."""
NOTHING = "0 %"
NO_CHANGE = "0 to 0 %"
SPEND = FASTER.index(0.25)
"""The gain that is told in a sentence, and that agents are sorted by."""


def what_if_table(found: WhatIf, title: str) -> Group:
    """What would be beside what was, where there is a change; then each agent's gain, the largest first."""
    heading = [Text(one_line(title), style="bold")] if title else []
    predicted: list[RenderableType] = [_predicted(found), Text("")] if found.predicted else []
    return Group(
        *heading,
        *predicted,
        Text("Latency, if one agent was faster and the others as they are"),
        _gains(found),
        Text(""),
        *(Text(line) for line in _sentences(found)),
        *(Text(line, style="dim") for line in notes(found)),
    )


def headline(found: WhatIf) -> str:
    """One line: what the change gives, or where to spend effort."""
    return " ".join(_sentences(found))


def told_change(factors: Mapping[str, float]) -> str:
    """`retrieval x 0.5, without planning`."""
    return ", ".join(f"{name} x {factor:g}" if factor else f"without {name}" for name, factor in factors.items())


def change(ratio: Interval) -> tuple[str, str]:
    """A ratio of then to now as a change, `-11.2 %`, and its bounds, empty where there are none."""
    if ratio.value is None:
        return "n/a", ""
    low, high = (None if bound is None else bound - 1 for bound in (ratio.low, ratio.high))
    bounds = interval(PERCENT, low, high)
    return PERCENT.format(ratio.value - 1), "" if bounds == NO_CHANGE else bounds


def _predicted(found: WhatIf) -> Table:
    table = _table("", "recorded", "predicted", "change")
    for each in found.predicted:
        unit, now, then = unit_of(each.name), each.now, each.then
        cells = [_beside(unit.format(one.value), interval(unit, one.low, one.high)) for one in (now, then)]
        table.add_row(LABELS[each.name], *cells, _change_of(each))
    return table


def _change_of(predicted: Predicted) -> Text:
    now, then = predicted.now.value, predicted.then.value
    if now is None or then is None or now <= 0:
        return Text("n/a")
    return Text(PERCENT.format(then / now - 1))


def _gains(found: WhatIf) -> Table:
    table = _table("agent", "of path", *(f"{share * 100:.0f} % faster" for share in FASTER))
    for gain in found.gains:
        cells = [_beside(*change(ratio)) for ratio in gain.latency]
        table.add_row(Text(one_line(gain.agent)), SHARE.format(gain.critical_share), *cells)
    return table


def _table(first: str, *headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column(first, overflow="fold", max_width=NAME_WIDTH)
    for header in headers:
        table.add_column(header, justify="right", overflow="fold")
    return table


def _beside(value: str, bounds: str) -> Text:
    text = Text(value)
    if bounds:
        text.append(f"\n{bounds}", style="dim")
    return text


def _sentences(found: WhatIf) -> Iterator[str]:
    if found.latency is not None:
        value, bounds = change(found.latency)
        told = f"{value} [{bounds}]" if bounds else value
        throughput = found["throughput_per_s"]
        yield (
            f"{found.arm}, {one_line(told_change(found.factors))}: latency {told}, "
            f"throughput {RATIO.format(_over(throughput.then.value, throughput.now.value))}."
        )
    if (advice := effort(found)) is not None:
        yield advice


def effort(found: WhatIf) -> str | None:
    """One plain sentence: which agent to make faster first, what that would give, and the next best; for an arm where
    none gives anything, that. None for agents that nothing is known of."""
    best, *others = found.gains
    gain = best.latency[SPEND]
    faster = f"{FASTER[SPEND] * 100:.0f} % faster"
    if gain.value is None:
        return None
    if change(gain)[0] == NOTHING:
        return f"No agent alone is worth making faster: {faster}, each leaves {one_line(found.arm)} as slow as it is."
    bounds = interval(PERCENT_LESS, gain.high, gain.low) or gain.note
    told = (
        f"Make {one_line(best.agent)} faster first: {faster}, it would cut the latency of {one_line(found.arm)} by "
        f"{PERCENT_LESS.format(gain.value)}{f' ({bounds})' if bounds else ''}"
    )
    if others and change(others[0].latency[SPEND])[0] not in (NOTHING, "n/a"):
        least = PERCENT_LESS.format(others[0].latency[SPEND].value)
        told += f"; the next, {one_line(others[0].agent)}, by {least}"
    return f"{told}{', roughly, as the cores were busy' if _busy(found) else ''}."


def _busy(found: WhatIf) -> bool:
    return found.cores_busy is not None and found.cores_busy > BUSY


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def notes(found: WhatIf) -> Iterator[str]:
    """What has to be known to read the table, a sentence each."""
    yield f"From {plural(found.records, 'record')} of {one_line(found.arm)}; intervals are 95 %, over prompts."
    yield "What records took beyond their agents (waits, hops) is taken to stay as it is."
    if _busy(found):
        yield (
            f"Prompts kept the cores busy {SHARE.format(found.cores_busy)} of the time: agents waited for them, which "
            "is not the agents' own time; ask an arm with fewer prompts in flight with --arm."
        )
    yield from dict.fromkeys(
        f"{LABELS[each.name]}: {each.then.note}" for each in found.predicted if each.then.note and not each.then.high
    )
