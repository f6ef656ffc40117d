"""Capacity table: what more workers and prompts in flight would give, and what holds it back, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from quark_bench.capacity import Capacity, Point, WallName
from quark_bench.plain import one_line
from quark_bench.report.sentences import plural
from quark_bench.report.what_if_table import told_change
from quark_bench.units import COUNT, DOLLARS, PER_SECOND, SECONDS

ADVICE = {
    WallName.PATH: "prompts come one at a time: ask more at once, or make agents faster",
    WallName.IN_FLIGHT: "more prompts in flight would give more, see --in-flight",
    WallName.WORKERS: "the workers' cores or threads are busy: more workers would give more",
    WallName.SCHEDULER: "the one scheduler is busy with tasks: take --granularity chunk",
    WallName.RATE: "the rate limit is used up: only a higher one, or fewer calls, gives more",
    WallName.TAIL: "the longest prompt outlasts all others: more prompts, or a timeout, would help",
}


def capacity_table(found: Capacity, title: str) -> Group:
    """A line for each number of prompts in flight and workers; below it where which wall begins."""
    costs = any(point.cost_usd_per_h for point in found.points)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    headers = ("in flight", "workers", "throughput", "median latency", "95 %", *(["cost/h"] if costs else []))
    for header in headers:
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("wall", no_wrap=True)
    for points in found.by_in_flight.values():
        for point in points:
            table.add_row(*_cells(point, costs=costs))
        table.add_section()
    heading = [Text(one_line(title), style="bold")] if title else []
    return Group(
        *heading,
        table,
        Text(""),
        *(Text(line) for line in walls_told(found)),
        *(Text(line, style="dim") for line in _notes(found)),
    )


def _cells(point: Point, *, costs: bool) -> tuple[str, ...]:
    return (
        COUNT.format(point.in_flight),
        COUNT.format(point.workers),
        PER_SECOND.format(point.throughput_per_s),
        SECONDS.format(point.p50_latency_s),
        SECONDS.format(point.p95_latency_s),
        *([DOLLARS.format(point.cost_usd_per_h)] if costs else []),
        point.wall.value,
    )


def walls_told(found: Capacity) -> Iterator[str]:
    """`64 in flight: the wall is workers; from 10 workers on: scheduler.`, and what to do about each."""
    met: dict[WallName, None] = {}
    for in_flight in found.by_in_flight:
        begun = list(found.walls(in_flight))
        met |= dict.fromkeys(wall for wall, _ in begun)
        (first, _), *others = begun
        told = "".join(f"; from {plural(workers, 'worker')} on: {wall.value}" for wall, workers in others)
        yield f"{COUNT.format(in_flight)} in flight: the wall is {first.value}{told}."
    yield from (f"- {wall.value}: {ADVICE[wall]}." for wall in met)


def _notes(found: Capacity) -> Iterator[str]:
    changed = f", {told_change(found.factors)}" if found.factors else ""
    yield f"Simulated with prompts drawn from {one_line(found.arm)}{one_line(changed)}; no interval."
    cores = f"{found.place.cores:g} {'core' if found.place.cores == 1 else 'cores'} a worker"
    cpu = "CPU time was not measured" if found.cpu_s is None else f"{SECONDS.format(found.cpu_s)} CPU a prompt"
    how = "a task for every agent's call" if found.place.by_agent else "chunks of prompts as tasks"
    yield f"{cores}, {cpu}; {how}."
    if found.place.by_agent:
        origin = "measured with the run" if found.overheads.measured else "not measured by the run, so assumed"
        hop, task = SECONDS.format(found.overheads.hop_s), SECONDS.format(found.overheads.task_s)
        yield f"A hop takes {hop}, a task {task} of the scheduler: {origin}."
