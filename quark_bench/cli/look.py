"""Commands that look at what is there: `graph`, `ls`, `show`, `report`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console

from quark_bench import store
from quark_bench.cli.run import WIDTH, as_text
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.pipeline import Pipeline
from quark_bench.plain import one_line, plain
from quark_bench.provenance import NOBODY, is_alive
from quark_bench.record import RecordStatus
from quark_bench.report.dag import dag_svg, dag_text
from quark_bench.report.gate_table import gate_table
from quark_bench.report.tables import ls_table, record_view, run_summary, run_table
from quark_bench.resume import continuing
from quark_bench.run import Run
from quark_bench.summary import summary


def graph(named: str, out: Path | None) -> int:
    """Draw a pipeline as text, or as SVG into a file."""
    layout = _pipeline(named).layout
    if out is None:
        print(plain(dag_text(layout)))
        return 0
    if out.suffix.lower() != ".svg":
        raise UsageError(f"--out {out}: the drawing is an SVG; give a name that ends in .svg")
    try:
        out.write_text(dag_svg(layout), "utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from error
    print(out)
    return 0


def _pipeline(named: str) -> Pipeline:
    if named == "quark":
        from quark_bench.agents.quark import quark

        return quark()
    from quark_bench.user_code import find_pipeline

    return find_pipeline(named)[0]


def ls(out: Path, *, as_json: bool) -> int:
    """A line per run."""
    manifests = []
    for path in store.list_runs(out):
        try:
            manifests.append(Run(path).manifest)
        except RunNotFoundError as error:
            print(f"left out: {one_line(error)}", file=sys.stderr)
    if as_json:
        print(as_text(manifests))
    elif manifests:
        _console().print(ls_table(manifests))
    else:
        print(f"There are no runs in {out}; make one with: quark-bench run PROMPTS")
    return 0


def show(named: str, prompt_id: str | None, out: Path, *, as_json: bool) -> int:
    """A run's table, or one prompt's waterfalls."""
    run = Run.open(named, out)
    if as_json:
        print(as_text(_record_data(run, prompt_id) if prompt_id else summary(run)))
        return 0
    console = _console()
    if prompt_id is not None:
        console.print(record_view(run.findings, prompt_id))
        return 0
    console.print(run_summary(run.manifest))
    if (gate := run.findings.gate) is not None:
        console.print(gate_table(gate))
    elif any(run.manifest["conservation"][status.value] for status in RecordStatus):
        console.print(run_table(run.findings))
    if run.manifest["state"] != "complete":
        going = run.manifest["state"] == "running" and is_alive(run.manifest.get("client", NOBODY))
        told = "It is still under way" if going else f"Continue  {one_line(continuing(run.manifest, run.path))}"
        console.print(told, soft_wrap=True, highlight=False, markup=False)
    return 0


def _record_data(run: Run, prompt_id: str) -> dict[str, object]:
    record_view(run.findings, prompt_id)  # raises UsageError, naming the nearest id, where there is none
    records, spans = run.trials.of_prompts([prompt_id])
    whole = {"records": run.trials.with_scores(records), "spans": spans}
    return {name: json.loads(frame.to_json(orient="records")) for name, frame in whole.items()}


def report(named: str, out: Path) -> int:
    """Write the report again."""
    print(one_line(Run.open(named, out).report()))
    return 0


def _console() -> Console:
    return Console(width=WIDTH)
