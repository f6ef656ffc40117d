"""`score`, `export` and `import`: runs that are scored again, given to other tools, or taken from them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from quark_bench.cli.live import Display, Lines
from quark_bench.cli.run import tell, watched
from quark_bench.errors import RunInterrupted
from quark_bench.plain import one_line
from quark_bench.report.tables import run_table
from quark_bench.run import REPORT, Run
from quark_bench.summary import summary

SHOWN_AFTER_S = 2.0


def score(
    named: str, scores: Sequence[str] | None, prompts: Path | None, out: Path, line: str, *, as_json: bool
) -> int:
    """Score, and tell what the run is like then."""
    before = Run.open(named, out)

    def work(watcher: Display | Lines) -> Run:
        began_s = monotonic()

        def told(done: int, records: int) -> None:
            if monotonic() - began_s >= SHOWN_AFTER_S:
                watcher.scored(done, records)

        watcher.stage("scoring")
        try:
            return before.score(scores, prompts, told)
        except KeyboardInterrupt:
            raise RunInterrupted(before.path, line) from None

    made = watched(work)
    if isinstance(made, int):
        return made
    if made.manifest.get("gate"):
        print("The gate's verdict stays as it was judged.", file=sys.stderr)
    return _told(made, as_json=as_json)


def export(named: str, form: str, target: Path, runs: Path) -> int:
    """Write the files and print their paths."""
    run = Run.open(named, runs)
    if form == "inspect" and not run.prompts:
        print("The run's prompt file is not at hand unchanged: its logs lack texts and targets.", file=sys.stderr)
    for file in run.export(form, target):
        print(one_line(file))
    return 0


def take_in(log: Path, out: Path, *, as_json: bool) -> int:
    """Make a run of the log, and tell what it is like."""
    from quark_bench.importing import import_inspect

    def work(watcher: Display | Lines) -> Run:
        watcher.stage("importing")
        try:
            return import_inspect(log, out)
        except KeyboardInterrupt:
            again = shlex.join(["quark-bench", "import", str(log), "--out", str(out)])
            raise RunInterrupted(out, again) from None

    made = watched(work)
    return made if isinstance(made, int) else _told(made, as_json=as_json)


def _told(run: Run, *, as_json: bool) -> int:
    """A run that is looked at anew, and not made: what its trials were like does not decide the exit code."""
    tell(run, run.path / REPORT, run_table(run.findings), summary(run) if as_json else None)
    return 0
