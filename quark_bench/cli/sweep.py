"""`quark-bench sweep`: from arguments to values, through `sweep`, to a table of levels and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench.cli.live import Display, Lines
from quark_bench.cli.run import WIDTH, as_text, watched
from quark_bench.dataset import Dataset
from quark_bench.pipeline import Pipeline
from quark_bench.plain import one_line


def carry_out(dataset: Dataset, pipeline: Pipeline | str, options: Mapping[str, Any], *, as_json: bool) -> int:
    """Sweep, tell, and give the exit code."""
    from quark_bench.report.sweep_table import sweep_table
    from quark_bench.sweep import Sweep, sweep

    def work(watcher: Display | Lines) -> tuple[Sweep, Path]:
        made = sweep(dataset, pipeline, **options, watcher=watcher)
        return made, made.report()

    done = watched(work)
    if isinstance(done, int):
        return done
    made, report = done
    people = Console(width=WIDTH, file=sys.stderr if as_json else sys.stdout)
    people.print(sweep_table(made.result))
    first = made.result.ascending[0].run
    for line in (f"Curves  {report}", f"Look    quark-bench show {made.path / first}"):
        people.print(one_line(line), soft_wrap=True, highlight=False, markup=False)
    if as_json:
        print(as_text({"path": str(made.path), "report": str(report), **made.result.as_data()}))
    return made.result.exit_code
