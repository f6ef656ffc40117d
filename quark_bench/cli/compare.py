"""`quark-bench compare`: two arms of one run, or of two, become a table, a page and JSON. It is no verdict."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from quark_bench.cli.run import WIDTH, as_text
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.plain import one_line
from quark_bench.report.compare_table import compare_table
from quark_bench.run import Run
from quark_bench.slo import nearest
from quark_bench.weigh_runs import OneArm, compare_sides


def compare(first: str, second: str, out: Path, *, page: Path | None, as_json: bool) -> int:
    """Tell how the second arm compares with the first; write the page that is asked for. The exit code is 0.

    Raises UsageError for unknown arms and for runs that do not compare, RunNotFoundError for unknown runs.
    """
    found = compare_sides(*_both(first, second, out))
    people = Console(width=WIDTH, stderr=as_json)
    people.print(compare_table(found))
    if page is not None:
        from quark_bench.report.compare_page import render_comparison

        try:
            page.write_text(render_comparison(found), "utf-8", "replace")
        except OSError as error:
            raise UsageError(f"--html {page}: cannot be written: {error.strerror}; choose another file") from error
        people.print(f"Page    {one_line(page)}", soft_wrap=True, highlight=False, markup=False)
    if as_json:
        print(as_text(found.as_data()))
    return 0


def _both(first: str, second: str, out: Path) -> tuple[OneArm, OneArm]:
    """The arms that are meant. Not named, they are the first and the last of one run; of two runs the last of the
    second, and the one of that name of the first."""
    (a, arm_a), (b, arm_b) = _named(first, out), _named(second, out)
    arm_b = arm_b or b.arms[-1]
    if arm_a is None and a.path.resolve() == b.path.resolve():
        arm_a = a.arms[0]
    return (a, arm_a or (arm_b if arm_b in a.arms else a.arms[-1])), (b, arm_b)


def _named(text: str, out: Path) -> tuple[Run, str | None]:
    """A run, and its arm if one stands after a colon: a path may hold colons too."""
    try:
        return Run.open(text, out), None
    except RunNotFoundError:
        named, colon, arm = text.rpartition(":")
        if not colon:
            raise
    run = Run.open(named, out)
    if arm not in run.arms:
        raise UsageError(f"run {run.path.name} has no arm {arm!r}{nearest(arm, run.arms)}")
    return run, arm
