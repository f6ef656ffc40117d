"""`quark-bench whatif`: what a change would give, or where to spend effort, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench.arm_run import workers_of
from quark_bench.capacity import Capacity
from quark_bench.cli.history import write_file
from quark_bench.cli.run import WIDTH, as_text
from quark_bench.errors import UsageError
from quark_bench.measures import unit_of
from quark_bench.plain import one_line
from quark_bench.report.capacity_table import capacity_table
from quark_bench.report.findings import titled
from quark_bench.report.what_if_table import what_if_table
from quark_bench.run import Run
from quark_bench.stats import Interval
from quark_bench.what_if import FASTER, WhatIf


@dataclass(frozen=True, slots=True)
class Change:
    """The arm that is asked about, and what is to change in it, as it was written."""

    arm: str | None
    agents: tuple[str, ...]
    drop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """What is to be simulated, as it was written; None and nothing where it was not."""

    workers: str | None
    in_flight: str | None
    granularity: str | None
    cores: float | None
    rates: tuple[str, ...]
    seed: int | None
    plot: Path | None

    @property
    def asked(self) -> bool:
        """Whether anything is to be simulated at all. Raises UsageError for options that need that."""
        if self.workers is not None or self.in_flight is not None:
            return True
        given = {"plot": self.plot, "rate": self.rates or None, "granularity": self.granularity}
        for option, value in (given | {"cores": self.cores, "seed": self.seed}).items():
            if value is not None:
                raise UsageError(f"--{option} belongs to a simulation: say of what, as in --workers 1,10,100")
        return False


def whatif(named: str, out: Path, change: Change, scale: Scale, *, as_json: bool) -> int:
    """Tell what faster, slower or fewer agents would make of an arm, or what a simulation finds. The exit code is 0.

    Raises UsageError for what cannot be read or is not there, RunNotFoundError.
    """
    run = Run.open(named, out)
    people = Console(width=WIDTH, stderr=as_json)
    if scale.asked:
        data = _simulate(run, change, scale, people)
    else:
        found = run.what_if(read_factors(change.agents), change.drop, arm=change.arm)
        people.print(what_if_table(found, _titled(run, "What if")))
        data = _data(found)
    if as_json:
        print(as_text({"run_id": run.manifest["run_id"], **data}))
    return 0


def _simulate(run: Run, change: Change, scale: Scale, people: Console) -> dict[str, Any]:
    if scale.plot is not None and scale.plot.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"--plot {scale.plot}: the plot is an SVG or a PNG; give a name that ends in .svg or .png")
    found = run.capacity(
        [workers_of(run.manifest)] if scale.workers is None else read_counts(scale.workers, "--workers"),
        (8,) if scale.in_flight is None else read_counts(scale.in_flight, "--in-flight"),
        agents=read_factors(change.agents),
        drop=change.drop,
        arm=change.arm,
        granularity=scale.granularity,
        cores=1.0 if scale.cores is None else scale.cores,
        rates=read_factors(scale.rates, "--rate"),
        seed=scale.seed or 0,
    )
    title = _titled(run, "Capacity, simulated")
    people.print(capacity_table(found, title))
    if scale.plot is not None:
        from quark_bench.report.capacity_figure import capacity_figure

        write_file("--plot", scale.plot, capacity_figure(found, title, scale.plot.suffix.lower()[1:]))
        people.print(f"Plot    {one_line(scale.plot)}", soft_wrap=True, highlight=False, markup=False)
    return _capacity_data(found)


def _titled(run: Run, what: str) -> str:
    return titled(run.manifest, f"{what}, {run.manifest['pipeline']['name']} over {run.manifest['dataset']['name']}")


def read_counts(text: str, option: str) -> list[int]:
    """`1,10,100`. Raises UsageError, with an example."""
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r} is no list of numbers; write {option} 1,10,100") from None


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


def _capacity_data(found: Capacity) -> dict[str, Any]:
    """What `--json` prints of a simulation."""
    place = found.place
    return {
        "arm": found.arm,
        "factors": dict(found.factors),
        "granularity": "agent" if place.by_agent else "chunk",
        "cores": place.cores,
        "cpu_s": found.cpu_s,
        "overheads": dataclasses.asdict(found.overheads),
        "points": [
            dataclasses.asdict(point)
            | {
                "wall": point.wall.value,
                "bounds": {name.value: bound for name, bound in point.bounds.items() if math.isfinite(bound)},
            }
            for point in found.points
        ],
        "walls": {
            str(in_flight): [{"wall": wall.value, "from_workers": workers} for wall, workers in found.walls(in_flight)]
            for in_flight in found.by_in_flight
        },
    }


def _data(found: WhatIf) -> dict[str, Any]:
    """What `--json` prints of a prediction."""
    return {
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
