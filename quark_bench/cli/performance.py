"""`meta-async performance`: what earlier sessions did, how far they were from the targets, and what to change."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from quark_bench.cli.live_session import SESSIONS
from quark_bench.cli.run import WIDTH, as_text
from quark_bench.plain import one_line
from quark_bench.report.sentences import plural
from quark_bench.sessions import Estimate, Session, read_sessions
from quark_bench.units import COUNT, PER_SECOND, SECONDS, SHARE, Unit, significant
from quark_bench.walls import Target

LISTED = 12
"""Sessions that the table shows; the totals are over all."""
LATENCIES = {"mean": "latency, mean", "p50": "latency, median", "p95": "latency, 95 %", "p99": "latency, 99 %"}
PIPELINE_WIDTH = 10
UNITS = {"req/s": PER_SECOND, "s": SECONDS, "%": SHARE}
"""Of a target, by the last word of its text; counts have none."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all sessions; `throughput_per_s` is per second in which any prompt was under way."""

    sessions: int
    prompts: int
    completed: int
    failed: int
    lasted_s: float
    throughput_per_s: float | None

    def as_data(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def totals_of(sessions: Sequence[Session]) -> Totals:
    """Sums, and the rate of all sessions together."""
    completed, failed = sum(each.completed for each in sessions), sum(each.failed for each in sessions)
    busy_s = math.fsum(each.busy_s for each in sessions)
    return Totals(
        sessions=len(sessions),
        prompts=sum(each.prompts for each in sessions),
        completed=completed,
        failed=failed,
        lasted_s=math.fsum(each.lasted_s for each in sessions),
        throughput_per_s=(completed + failed) / busy_s if busy_s > 0 else None,
    )


def performance(state: Path, max_workers: int | None, *, as_json: bool) -> int:
    """Show the sessions that had so many workers, or all."""
    path = state / SESSIONS
    found = read_sessions(path)
    if found.damaged:
        lines = ", ".join(map(str, found.damaged[:LISTED]))
        told = f"{path}: {plural(len(found.damaged), 'line')} left out that cannot be read: {lines}"
        print(f"meta-async: {one_line(told)}", file=sys.stderr)
    sessions = [each for each in found.read if max_workers in (None, each.max_workers)]
    if as_json:
        print(as_text(_as_data(sessions, found.damaged)))
    elif sessions:
        _tell(sessions, Console(width=WIDTH))
    else:
        with_workers = "" if max_workers is None else f" with {plural(max_workers, 'worker')}"
        print(one_line(f"There is no session{with_workers} in {path}; make one with: meta-async start"))
    return 0


def _as_data(sessions: Sequence[Session], damaged: Sequence[int]) -> dict[str, Any]:
    """`latest` is named by itself: targets, wall and warnings are of the pipeline and the workers that it had."""
    return {
        "sessions": [each.as_data() for each in sessions],
        "totals": totals_of(sessions).as_data(),
        "latest": sessions[-1].as_data() if sessions else None,
        "damaged_lines": list(damaged),
    }


def _tell(sessions: Sequence[Session], console: Console) -> None:
    console.print(_table(sessions[-LISTED:]))
    for line in _totals_lines(sessions):
        console.print(Text(line))
    latest = sessions[-1]
    console.print(
        Text(f"\nLatest session: {one_line(latest.pipeline)}, {plural(latest.max_workers, 'worker')}", "bold")
    )
    console.print(_facts(latest))
    if latest.targets:
        console.print(_targets_table(latest.targets))
    for warning in latest.warnings:
        console.print(Text(f"Warning: {one_line(warning)}", "yellow"))


def _table(sessions: Sequence[Session]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("began", no_wrap=True)
    table.add_column("pipeline", no_wrap=True, max_width=PIPELINE_WIDTH)
    for name in ("workers", "prompts", "failed", "req/s", "mean", "p95", "parallel"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in sessions:
        table.add_row(
            _local(each.began),
            Text(one_line(each.pipeline), overflow="ellipsis"),
            str(each.max_workers),
            COUNT.format(each.prompts),
            COUNT.format(each.failed),
            significant(each.throughput_per_s) if each.prompts else "n/a",
            SECONDS.format(each.latency_s["mean"].value),
            SECONDS.format(each.latency_s["p95"].value),
            SHARE.format(each.parallel_rate),
        )
    return table


def _local(began: str) -> str:
    """The time on this machine's clock."""
    try:
        return datetime.fromisoformat(began).astimezone().strftime("%m-%d %H:%M")
    except ValueError:
        return "n/a"


def _totals_lines(sessions: Sequence[Session]) -> Iterator[str]:
    total = totals_of(sessions)
    yield (
        f"{plural(total.sessions, 'session')}, {SECONDS.format(total.lasted_s)}: {plural(total.prompts, 'prompt')}, "
        f"{total.completed:,} answered, {total.failed:,} failed, {PER_SECOND.format(total.throughput_per_s)} "
        "while any was under way"
    )
    if len(sessions) > LISTED:
        yield f"The latest {LISTED} are shown; all are in --json."


def _facts(latest: Session) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column()
    for name, label in LATENCIES.items():
        facts.add_row(label, _with_interval(latest.latency_s[name]))
    if latest.wall is not None:
        bound = "" if latest.wall.bound_per_s is None else f", at {PER_SECOND.format(latest.wall.bound_per_s)}"
        facts.add_row("held back by", Text(one_line(f"{latest.wall.name}{bound}: {latest.wall.advice}")))
    return facts


def _with_interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{SECONDS.format(estimate.value)} (too few prompts for an interval)"
    return f"{SECONDS.format(estimate.value)} ({SECONDS.format_interval(estimate.low, estimate.high)})"


def _targets_table(targets: Sequence[Target]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("target", no_wrap=True)
    table.add_column("seen", justify="right", no_wrap=True)
    table.add_column("")
    for target in targets:
        style = {True: "green", False: "yellow", None: "dim"}[target.met]
        seen = _unit(target).format(target.value)
        table.add_row(Text(one_line(target.text)), seen, Text(one_line(target.told), style))
    return table


def _unit(target: Target) -> Unit:
    return UNITS.get(target.text.rpartition(" ")[2], COUNT)
