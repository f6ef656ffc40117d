"""Progress: how what takes a while gets on in a notebook, as one line that plain display updates redraw.

No widgets: the line is shown by every front end, and its last state is what a stored notebook keeps.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from html import escape
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from quark_bench.plain import one_line
from quark_bench.plan import Plan
from quark_bench.record import Batch
from quark_bench.redact import redact
from quark_bench.report.pace import Pace
from quark_bench.units import COUNT, SECONDS

P = ParamSpec("P")
T = TypeVar("T")

AFTER_S = 1.0
"""What is over sooner shows nothing."""
EVERY_S = 0.5
UNDER_WAY: ContextVar[bool] = ContextVar("quark_bench_progress", default=False)
"""Whether a line is there already: one tells of all that its caller calls."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where something stands: what it does; of a run also trials done and planned, its pace and its dashboard."""

    doing: str
    done: int = 0
    planned: int = 0
    pace: str = ""
    dashboard: str = ""


def line(course: Course, took_s: float) -> Mapping[str, str]:
    """The line by media type, for a text and for a notebook; everything in it is escaped."""
    parts = (_count(course), course.pace or f"{took_s:.0f} s", course.dashboard and f"Dask {course.dashboard}")
    told = ", ".join(filter(None, (course.doing, *parts)))
    bar = f'<progress value="{course.done}" max="{course.planned}"></progress> ' if course.planned else ""
    return _forms(told, bar)


def last_line(course: Course, took_s: float, *, finished: bool) -> Mapping[str, str]:
    """What stays when it is over: `96 trials in 4.2 s`, or where it stopped."""
    took = SECONDS.format(took_s)
    if not finished:
        return _forms(", ".join(filter(None, (f"stopped while {course.doing}", _count(course), took))))
    return _forms(f"{COUNT.format(course.planned)} trials in {took}" if course.planned else f"{course.doing}: {took}")


def _count(course: Course) -> str:
    return f"{COUNT.format(course.done)} of {COUNT.format(course.planned)}" if course.planned else ""


def _forms(told: str, before: str = "") -> Mapping[str, str]:
    told = one_line(redact(told))  # names of arms and addresses are a user's
    return {"text/plain": told, "text/html": f"<small>{before}{escape(told)}</small>"}


class Watching:
    """A watcher of runs that keeps where they stand."""

    def __init__(self, doing: str) -> None:
        self.course = Course(doing)
        self._pace: Pace | None = None

    def stage(self, name: str) -> None:
        self._change(name, "")

    def began(self, plan: Plan, dashboard: str | None) -> None:
        self._pace = Pace(plan, monotonic())
        self.course = Course("running", 0, plan.planned, "", dashboard or "")

    def finished_before(self, arm: str, trials: int) -> None:
        assert self._pace is not None, "began comes first"
        self._pace.skip(arm, trials)
        self._change("running", "")

    def advanced(self, batch: Batch) -> None:
        assert self._pace is not None, "began comes first"
        self._pace.take(batch, monotonic())
        self._change("running", self._pace.told())

    def scored(self, done: int, records: int) -> None:
        self.course = Course("judging", done, records)

    def _change(self, doing: str, pace: str) -> None:
        before, done = self.course, self._pace.done if self._pace else 0
        self.course = Course(doing, done, before.planned, pace, before.dashboard)


@contextmanager
def watching(doing: str, show: Callable[[Mapping[str, str]], None]) -> Iterator[Watching]:
    """A watcher whose line `show` is given now and then by a thread, and once more when it is over."""
    watcher, over, began_s, shown = Watching(doing), threading.Event(), monotonic(), threading.Event()

    def redraw() -> None:
        wait_s = AFTER_S
        while not over.wait(wait_s):
            shown.set()
            show(line(watcher.course, monotonic() - began_s))
            wait_s = EVERY_S

    # In a copy of this context, by which a kernel knows the cell that the line belongs to.
    thread = threading.Thread(target=copy_context().run, args=(redraw,), name="progress", daemon=True)
    thread.start()
    finished = False
    try:
        yield watcher
        finished = True
    finally:
        over.set()
        thread.join()
        if shown.is_set():
            show(last_line(watcher.course, monotonic() - began_s, finished=finished))


@contextmanager
def waiting(doing: str) -> Iterator[Watching | None]:
    """Show in a notebook that this goes on; None elsewhere, and where a line is there already."""
    if UNDER_WAY.get() or not in_notebook():
        yield None
        return
    token = UNDER_WAY.set(True)
    try:
        with watching(doing, _cell_line()) as watcher:
            yield watcher
    finally:
        UNDER_WAY.reset(token)


def shows_progress(measures: Callable[P, T]) -> Callable[P, T]:
    """Gives the function a `watcher` that shows in a notebook how it gets on, where it was given none."""

    @functools.wraps(measures)
    def shown(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs.get("watcher") is not None:
            return measures(*args, **kwargs)
        with waiting("starting") as watcher:
            kwargs["watcher"] = watcher
            return measures(*args, **kwargs)

    return shown


def in_notebook() -> bool:
    """Whether this is a kernel, whose outputs can be redrawn; imports nothing."""
    python = sys.modules.get("IPython")
    return python is not None and hasattr(python.get_ipython(), "kernel")


def _cell_line() -> Callable[[Mapping[str, str]], None]:
    """Shows a line below the running cell, and then redraws it."""
    from IPython.display import display

    handle: Any = None

    def show(forms: Mapping[str, str]) -> None:
        nonlocal handle
        if handle is None:
            handle = display(forms, raw=True, display_id=True)
        else:
            handle.update(forms, raw=True)

    return show
