"""Blame table: of the wrong answers, at which agent it first went wrong; for the terminal and the page."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.blame import ArmBlame, Blame, Blamed
from quark_bench.discrimination import Discrimination
from quark_bench.plain import one_line, shortened
from quark_bench.report.sentences import plural
from quark_bench.units import COUNT, SCORE, SHARE

LONGEST_NAME = 30
LONGEST_PROMPTS = 80


@dataclass(frozen=True, slots=True)
class BlameRow:
    """An agent, by which scorer it is judged, and what it is to blame for, as text."""

    agent: str
    judged_by: str
    trials: str
    share: str
    bounds: str
    prompts: tuple[str, ...]


def blame_rows(found: Blame, told: ArmBlame) -> list[BlameRow]:
    """A row for each agent of an arm, and one for the trials in which no judged agent went wrong."""
    return [_row(found, each) for each in told.blamed]


def _row(found: Blame, each: Blamed) -> BlameRow:
    judges = {judge.agent: judge.scorer.partition(".")[2] for judge in found.judges}
    failed = f", {COUNT.format(each.failed)} failed" if each.failed else ""
    return BlameRow(
        "none of these" if each.agent is None else each.agent,
        "" if each.agent is None else judges.get(each.agent, "failures only"),
        f"{COUNT.format(each.trials)}{failed}",
        SHARE.format(each.share.value),
        SHARE.format_interval(each.share.low, each.share.high),
        each.prompts,
    )


def headline(found: Blame, told: ArmBlame) -> str:
    """`async: 12 of 64 trials wrong by contains`."""
    return f"{told.arm}: {COUNT.format(told.wrong)} of {plural(told.trials, 'trial')} wrong by {found.scorer}"


def reading(found: Blame) -> str:
    """What the last row means."""
    return f"Where none of these went wrong, {found.answer} is to be suspected: what it was given was right"


def discrimination_told(found: Discrimination) -> str:
    """How an agent's doubt stands to wrong answers, in a sentence."""
    area = found.auroc
    bounds = f" [{SCORE.format_interval(area.low, area.high)}]" if area.low is not None else ""
    told = f"{SCORE.format(area.value)}{bounds}" if area.value is not None else "n/a"
    why = f" ({area.note})" if area.note else ""
    brier = "" if found.brier is None else f", Brier score {SCORE.format(found.brier)}"
    return f"{found.arm}: doubt of {found.agent} against answers wrong by {found.by}: AUROC {told}{why}{brier}"


def blame_table(found: Blame, told: ArmBlame) -> Group:
    """One arm's blame for the terminal; of no wrong answers a sentence only."""
    title = Text(one_line(shortened(f"Blame, {headline(found, told)}", 1_000)))
    if not told.wrong:
        return Group(title)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("first wrong at", overflow="fold", max_width=LONGEST_NAME)
    for header in ("trials", "share"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("prompts", overflow="fold")
    for row in blame_rows(found, told):
        agent = Text(one_line(row.agent)).append(f"\n{one_line(row.judged_by)}" if row.judged_by else "", "dim")
        share = Text(row.share).append(f"\n{row.bounds}", "dim")
        prompts = one_line(shortened(", ".join(row.prompts), LONGEST_PROMPTS))
        table.add_row(agent, row.trials, share, Text(prompts))
    return Group(title, table, Text(f"{one_line(reading(found))}.", "dim"))


def blame_tables(found: Blame) -> Group:
    """All arms, one after another."""
    return Group(*(blame_table(found, told) for told in found.arms))
