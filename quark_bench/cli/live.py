"""Live: what a person sees while a run goes on; plain lines where there is no terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from quark_bench.cli.under_way import UnderWay, under_way_table
from quark_bench.plain import one_line
from quark_bench.plan import Plan
from quark_bench.record import Batch
from quark_bench.redact import redact
from quark_bench.report.pace import Pace

LINE_EVERY_S = 5.0
"""Without a terminal, a line is written this often."""
DRAWN_A_SECOND = 4
"""In a terminal, the view is drawn this often: what comes back in between is counted, not told."""
RUNNING = "running"


def _told(text: str) -> str:
    """Names of arms and addresses are a user's: neither steers the terminal, nor shows a password."""
    return one_line(redact(text))


class Display:
    """A bar in a terminal, and below it what the agents of the arm that runs now are at.

    What comes back is counted as it comes, and told when it is drawn, which another thread does.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, status="")
        self._pace: Pace | None = None
        self._calls: defaultdict[str, UnderWay] = defaultdict(UnderWay)
        self._arm = ""
        self._lock = RLock()  # a signal's handler, which names a stage, may interrupt the thread that has it

    def stage(self, name: str) -> None:
        with self._lock:
            self._arm = ""
            self._progress.update(self._task, description=_told(name), status="")

    def began(self, plan: Plan, dashboard: str | None) -> None:
        if dashboard:
            self._progress.console.print(
                _told(f"Dask dashboard: {dashboard}"), style="dim", highlight=False, markup=False
            )
        with self._lock:
            self._pace = Pace(plan, monotonic())
            self._calls.clear()
            self._progress.update(self._task, description=RUNNING, total=plan.planned, completed=0)

    def finished_before(self, arm: str, trials: int) -> None:
        assert self._pace is not None, "began comes first"
        self._pace.skip(arm, trials)

    def advanced(self, batch: Batch) -> None:
        assert self._pace is not None, "began comes first"
        with self._lock:
            self._calls[batch.arm].take(batch, self._pace.take(batch, monotonic()))
            self._arm = batch.arm

    def drawn(self) -> Group:
        """The view as it is now."""
        with self._lock:
            if self._pace is None or not self._arm:
                return Group(self._progress)
            status = self._pace.told() if self._progress.tasks[0].description == RUNNING else ""
            self._progress.update(self._task, completed=self._pace.done, status=_told(status))
            return Group(self._progress, under_way_table(self._arm, self._calls[self._arm].agents()))

    def scored(self, done: int, records: int) -> None:
        self._progress.update(self._task, total=records, completed=done, status="judged")


class Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace: Pace | None = None
        self._told_s = 0.0

    def stage(self, name: str) -> None:
        self._say(f"{name} ...")

    def began(self, plan: Plan, dashboard: str | None) -> None:
        self._pace = Pace(plan, monotonic())
        self._told_s = monotonic()
        if dashboard:
            self._say(f"Dask dashboard: {dashboard}")
        self._say(f"running {plan.planned:,} trials")

    def finished_before(self, arm: str, trials: int) -> None:
        assert self._pace is not None, "began comes first"
        self._pace.skip(arm, trials)
        self._say(f"{trials:,} trials of {arm} were finished before")

    def advanced(self, batch: Batch) -> None:
        assert self._pace is not None, "began comes first"
        now_s = monotonic()
        self._pace.take(batch, now_s)
        if now_s - self._told_s >= LINE_EVERY_S or self._pace.done == self._pace.planned:
            self._told_s = now_s
            self._say(f"{self._pace.done:,}/{self._pace.planned:,} {self._pace.told()}")

    def scored(self, done: int, records: int) -> None:
        now_s = monotonic()
        if now_s - self._told_s >= LINE_EVERY_S or done == records:
            self._told_s = now_s
            self._say(f"{done:,}/{records:,} judged")

    def _say(self, text: str) -> None:
        self._console.print(_told(text), soft_wrap=True, highlight=False, markup=False)


def bar(console: Console) -> Progress:
    """The bar itself: one line of at most 80 columns."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=console,
    )


@contextmanager
def watching(console: Console) -> Iterator[Display | Lines]:
    """A watcher that fits the console."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
        return
    display = Display(bar(console))
    with Live(console=console, get_renderable=display.drawn, refresh_per_second=DRAWN_A_SECOND, transient=True):
        yield display
