"""`quark-bench history`: the runs of a folder, sorted into series, become a table, a plot and a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench import store
from quark_bench.cli.run import WIDTH, as_text
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.history import Observation, Point, Trend, trend
from quark_bench.measures import measure_names
from quark_bench.plain import one_line
from quark_bench.report.findings import titled
from quark_bench.report.sentences import plural
from quark_bench.report.trend_table import trend_table
from quark_bench.series import Series, most_similar, series_of
from quark_bench.slo import nearest

MEASURE = "p50_latency_s"
LAST = "last"
NEEDED = (
    *("run_id", "started", "dataset", "pipeline", "arms", "repeats", "scorers"),
    *("chaos", "cache", "cluster", "provenance", "measures"),
)
"""Of a manifest; the rest of hundreds would only take memory."""
COLUMNS = (
    *("series", "run_id", "started", "commit", "arm", "measure"),
    *("value", "low", "high", "unit", "band_low", "band_high", "mark"),
)

Runs = Sequence[Mapping[str, Any]]
"""Manifests of complete runs, oldest first."""


@dataclass(frozen=True, slots=True)
class History:
    """The complete runs below a folder by series; `runs` of the series that is shown are never none."""

    series: Series
    runs: Runs
    others: Mapping[str, tuple[Series, int]]
    """The other series by id, that of the newest run first, and how many runs each has."""
    not_complete: int
    unreadable: int

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm["name"] for arm in self.runs[-1]["arms"])

    @property
    def measures(self) -> tuple[str, ...]:
        return measure_names(self.runs[-1]["scorers"], self.runs[-1]["repeats"])

    def trend(self, arm: str, measure: str) -> Trend:
        """One measure of one arm over the series."""
        return trend(arm, measure, (observed(run, arm, measure) for run in self.runs))

    def titled(self, shown: Trend) -> str:
        """`p50_latency_s of async, support over few.jsonl, series 0123456789ab`, and how the runs were made."""
        newest = self.runs[-1]
        about = f"{shown.measure} of {shown.arm}, {newest['pipeline']['name']} over {newest['dataset']['name']}"
        return titled(newest, f"{about}, series {self.series.id}")


def history(
    measure: str | None,
    arm: str | None,
    series: str,
    out: Path,
    *,
    table: Path | None,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Tell one measure of one series; write the CSV file and the plot that are asked for. The exit code is 0.

    Raises UsageError for an unknown measure, arm or series, with the nearest name, and where there are no runs.
    """
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"--plot {plot}: the plot is an SVG or a PNG; give a name that ends in .svg or .png")
    found = read_history(out, series)
    chosen = _known("--arm", arm or found.arms[-1], found.arms)
    shown = found.trend(chosen, _known("--measure", measure or MEASURE, found.measures))
    people = Console(width=WIDTH, stderr=as_json)
    people.print(trend_table(shown, found.titled(shown)))
    for line in _notes(found):
        people.print(line, highlight=False, markup=False)
    if table is not None:
        trends = [shown] if measure else _all(found, (arm,) if arm else found.arms)
        write_file("--csv", table, _csv(found.series, trends).encode())
        people.print(f"CSV     {one_line(table)}", soft_wrap=True, highlight=False, markup=False)
    if plot is not None:
        from quark_bench.report.trend_figure import trend_figure

        write_file("--plot", plot, trend_figure(shown, found.titled(shown), plot.suffix.lower()[1:]))
        people.print(f"Plot    {one_line(plot)}", soft_wrap=True, highlight=False, markup=False)
    if as_json:
        print(as_text(_data(found, shown)))
    return 0


def read_history(out: Path, named: str = LAST) -> History:
    """The complete runs below a folder: those of the series named, or of the newest run's, beside how many others.

    Raises UsageError for an unknown series, RunNotFoundError where no run is complete.
    """
    runs, not_complete, unreadable = [], 0, 0
    for _, manifest in store.read_manifests(out):
        if manifest is None:
            unreadable += 1
            continue
        if manifest["state"] == "complete":
            runs.append({name: manifest[name] for name in NEEDED if name in manifest})
        else:
            not_complete += 1
    if not runs:
        raise RunNotFoundError(f"there are no complete runs in {out}; make one with: quark-bench run PROMPTS")
    runs.sort(key=lambda run: (run["started"], run["run_id"]))
    return _of_series(runs, named, not_complete, unreadable)


def by_series(runs: Runs) -> list[tuple[Series, Runs]]:
    """The runs of each series, oldest first; the series of the newest run first."""
    found: dict[str, tuple[Series, list[Mapping[str, Any]]]] = {}
    for run in reversed(runs):
        series = series_of(run)
        found.setdefault(series.id, (series, []))[1].append(run)
    return [(series, of_it[::-1]) for series, of_it in found.values()]


def _of_series(runs: Runs, named: str, not_complete: int, unreadable: int) -> History:
    found = {series.id: (series, of_it) for series, of_it in by_series(runs)}
    chosen = next(iter(found)) if named == LAST else _known("--series", named, found)
    others = {other: (series, len(of_it)) for other, (series, of_it) in found.items() if other != chosen}
    return History(*found[chosen], others, not_complete, unreadable)


def _known(option: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    if name not in names:
        raise UsageError(f"{option} {name!r}: there is no such {option[2:]}{nearest(name, names)}")
    return name


def observed(run: Mapping[str, Any], arm: str, measure: str) -> Observation:
    """What a run's manifest says of one measure of one arm."""
    about = run["run_id"], run["started"], str(run["provenance"].get("commit") or "")
    found = run.get("measures", {}).get(arm, {}).get(measure)
    if found is None:
        return Observation(*about, None, note="not measured")
    return Observation(*about, found["value"], found["low"], found["high"], found["note"])


def _all(found: History, arms: Iterable[str]) -> Iterator[Trend]:
    return (found.trend(arm, measure) for arm in arms for measure in found.measures)


def _notes(found: History) -> Iterator[str]:
    """What else lies in the folder, and is not shown."""
    others = [series for series, _ in found.others.values()]
    if (other := most_similar(found.series, others)) is not None:
        runs = plural(sum(count for _, count in found.others.values()), "run")
        which = "another series" if len(others) == 1 else f"{len(others)} other series, the most similar"
        differing = ", ".join(found.series.differs_in(other))
        yield f"Not shown: {runs} of {which} (--series {other.id}) that differs in {differing}"
    if found.not_complete:
        yield f"{plural(found.not_complete, 'run')} left out: not complete"
    if found.unreadable:
        yield f"{plural(found.unreadable, 'run')} left out: cannot be read; quark-bench ls says why"


def _csv(series: Series, trends: Iterable[Trend]) -> str:
    """A line per run, arm and measure, numbers in full; what is not there is empty."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(_row(series, each, point) for each in trends for point in each.points)
    return written.getvalue()


def _row(series: Series, of: Trend, point: Point) -> tuple[Any, ...]:
    """In the order of COLUMNS."""
    run, band = point.run, point.band
    what = (series.id, run.run_id, run.started, run.commit, of.arm, of.measure)
    mark = point.mark.value if point.mark else None
    return (*what, run.value, run.low, run.high, of.unit.name, band.low, band.high, mark)


def _data(found: History, shown: Trend) -> dict[str, Any]:
    """What `--json` prints."""
    shared = ("series", "arm", "measure", "unit")
    rows = [dict(zip(COLUMNS, _row(found.series, shown, point), strict=True)) for point in shown.points]
    notes = [{"note": point.run.note, "band_note": point.band.note} for point in shown.points]
    return {
        **{name: rows[0][name] for name in shared},
        "parts": dict(found.series.parts),
        "runs": [
            {name: value for name, value in row.items() if name not in shared} | note
            for row, note in zip(rows, notes, strict=True)
        ],
        "other_series": [
            {"series": other.id, "runs": runs, "differs_in": list(found.series.differs_in(other))}
            for other, runs in found.others.values()
        ],
        "not_complete": found.not_complete,
        "unreadable": found.unreadable,
    }


def write_file(option: str, path: Path, data: bytes) -> None:
    """Write what an option asked for. Raises UsageError where that cannot be."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}; choose another file") from error
