"""`quark-bench whatif`: what a change would give, or where to spend effort, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench.cli.run import WIDTH, as_text
from quark_bench.errors import UsageError
from quark_bench.measures import unit_of
from quark_bench.report.findings import titled
from quark_bench.report.what_if_table import what_if_table
from quark_bench.run import Run
from quark_bench.stats import Interval
from quark_bench.what_if import FASTER, WhatIf


def whatif(named: str, out: Path, arm: str | None, agents: Sequence[str], drop: Sequence[str], *, as_json: bool) -> int:
    """Tell what faster, slower or fewer agents would make of an arm. The exit code is 0.

    Raises UsageError for what cannot be read or is not there, RunNotFoundError.
    """
    run = Run.open(named, out)
    found = run.what_if(read_factors(agents), drop, arm=arm)
    title = titled(run.manifest, f"What if, {run.manifest['pipeline']['name']} over {run.manifest['dataset']['name']}")
    Console(width=WIDTH, stderr=as_json).print(what_if_table(found, title))
    if as_json:
        print(as_text(_data(run, found)))
    return 0


def read_factors(texts: Sequence[str], option: str = "--agent") -> dict[str, float]:
    """`NAME=NUMBER` each. Raises UsageError, with an example."""
    factors: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not name or not math.isfinite(factor):
            raise UsageError(f"{option} {text!r} is not NAME=NUMBER; write {option} reasoning=0.5")
        if name in factors:
            raise UsageError(f"{option} {name!r} is given twice; give it once")
        factors[name] = factor
    return factors


def _data(run: Run, found: WhatIf) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "run_id": run.manifest["run_id"],
        "arm": found.arm,
        "records": found.records,
        "factors": dict(found.factors),
        "latency_ratio": None if found.latency is None else _interval(found.latency),
        "predicted": {
            each.name: {"unit": unit_of(each.name).name, "now": _interval(each.now), "then": _interval(each.then)}
            for each in found.predicted
        },
        "gains": [
            {
                "agent": gain.agent,
                "critical_share": gain.critical_share,
                "latency_ratio": {
                    f"{share:g}": _interval(ratio) for share, ratio in zip(FASTER, gain.latency, strict=True)
                },
            }
            for gain in found.gains
        ],
    }


def _interval(found: Interval) -> dict[str, Any]:
    told = dataclasses.asdict(found)
    return {name: told[name] for name in ("value", "low", "high", "n", "note")}
