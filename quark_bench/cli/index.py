"""`quark-bench index`: all runs of a folder become one page, with a history of each series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from quark_bench import store
from quark_bench.cli.history import NEEDED, Runs, by_series, observed
from quark_bench.errors import RunNotFoundError
from quark_bench.history import Trend, trend
from quark_bench.plain import one_line
from quark_bench.report.findings import titled
from quark_bench.report.index_page import Index, IndexRow, SeriesShown, index_row, render_index, score_names
from quark_bench.report.sentences import plural
from quark_bench.report.trend_figure import trend_svg
from quark_bench.run import REPORT
from quark_bench.series import Series

PAGE = "index.html"
PLOTTED = ("p50_latency_s", "throughput_per_s")
"""Of a series, beside its scores."""
MOST_FIGURES = 30
"""A tenth of a second and some 50 kB each."""
MOST_RUNS = 100
"""In a figure, the newest; their bands come from all runs."""


def index(out: Path) -> int:
    """Write the page into the folder and print its path; the exit code is 0.

    Raises RunNotFoundError where there are no runs.
    """
    rows, runs, unreadable = _read(out)
    if not rows:
        damaged = f" but {plural(unreadable, 'damaged one')}" if unreadable else ""
        raise RunNotFoundError(f"there are no runs in {out}{damaged}; make one with: quark-bench run PROMPTS")
    shown, left_out = _shown(by_series(runs))
    notes = [f"{plural(unreadable, 'run')} left out: cannot be read; quark-bench ls says why"] if unreadable else []
    if left_out:
        notes.append(f"{left_out} more series not drawn: quark-bench history --series ID draws them")
    store.replace_text(out / PAGE, render_index(Index(str(out), rows, shown, notes)))
    print(one_line(out / PAGE))
    return 0


def _read(out: Path) -> tuple[Sequence[IndexRow], Runs, int]:
    """A row per run, the newest first; what histories need of the complete ones, oldest first; how many are damaged."""
    rows: list[tuple[tuple[str, str], IndexRow]] = []
    runs: list[Mapping[str, Any]] = []
    unreadable = 0
    for path, manifest in store.read_manifests(out):
        if manifest is None:
            unreadable += 1
            continue
        report = path / REPORT
        row = index_row(manifest, path.name, reported=report.is_file() and not report.is_symlink())
        rows.append(((manifest["started"], path.name), row))
        if manifest["state"] == "complete":
            runs.append({name: manifest[name] for name in NEEDED if name in manifest})
    runs.sort(key=lambda run: (run["started"], run["run_id"]))
    rows.sort(key=lambda row: row[0], reverse=True)
    return [row for _, row in rows], runs, unreadable


def _shown(found: Sequence[tuple[Series, Runs]]) -> tuple[list[SeriesShown], int]:
    """The newest series that have a history, as far as figures go, and how many more have one."""
    long = [(series, runs) for series, runs in found if len(runs) > 1]
    shown: list[SeriesShown] = []
    figures = 0
    for series, runs in long:
        trends = list(_trends(runs))
        figures += len(trends)
        if shown and figures > MOST_FIGURES:
            break
        shown.append(_series_shown(series, runs, trends))
    return shown, len(long) - len(shown)


def _trends(runs: Runs) -> Iterator[Trend]:
    """Those of the last arm."""
    arm = runs[-1]["arms"][-1]["name"]
    scores = score_names(runs[-1].get("measures", {}).get(arm, {}))
    for measure in (*PLOTTED, *scores):
        yield trend(arm, measure, (observed(run, arm, measure) for run in runs))


def _series_shown(series: Series, runs: Runs, trends: Sequence[Trend]) -> SeriesShown:
    newest = runs[-1]
    told = [f"{plural(len(runs), 'run')}, the newest {newest['run_id']}", *map(_told, trends)]
    if len(runs) > MOST_RUNS:
        told.append(f"drawn are the newest {MOST_RUNS}; bands come from earlier ones too")
    drawn = (_drawn(each, newest, series) for each in trends)
    title = titled(newest, f"{newest['pipeline']['name']} over {newest['dataset']['name']}")
    return SeriesShown(title, series.id, series.parts, tuple(drawn), tuple(told))


def _told(found: Trend) -> str:
    about = f"{found.measure} of {found.arm}"
    if not found.judged:
        return f"{about}: no band yet"
    last = found.marked[-1] if found.marked else None
    newest = f", the last of them {last.run.run_id}, which is {last.mark.value}" if last and last.mark else ""
    return f"{about}: {len(found.marked)} of {plural(found.judged, 'run')} outside the band{newest}"


def _drawn(found: Trend, newest: Mapping[str, Any], series: Series) -> Markup:
    """The figure; matplotlib has escaped its texts."""
    title = titled(newest, f"{found.measure} of {found.arm}")
    recent = replace(found, points=found.points[-MOST_RUNS:])
    return Markup(trend_svg(recent, title, f"{title}, series {series.id}"))  # noqa: S704 - our own drawing
