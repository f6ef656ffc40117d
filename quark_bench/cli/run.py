"""`quark-bench run`: from arguments to values, through `bench`, to a table and an exit code."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench.cli.live import watching
from quark_bench.dataset import Dataset
from quark_bench.errors import RunInterrupted, UsageError
from quark_bench.pipeline import Pipeline

EXIT_SLO_MISSED = 1
EXIT_ALL_FAILED = 4
EXIT_INTERRUPTED = 130
WIDTH = 80


def arguments_of(named: str, out: Path, on: str | None) -> list[str]:
    """The arguments that continue a run: those it was begun with, from the folder it was begun in, and where it now
    runs `on` if that is another cluster.

    Raises UsageError for a run that was begun from Python.
    """
    from quark_bench.store import find_run, read_manifest

    path = find_run(named, out).resolve()
    manifest = read_manifest(path)
    if not manifest["command"]:
        raise UsageError(f"{path} was begun from Python: continue it with bench(..., resume={str(path)!r})")
    os.chdir(manifest["folder"])
    return [*shlex.split(manifest["command"])[1:], "--resume", str(path), *(["--on", on] if on else [])]


def read_prompts(path: Path, fields: Sequence[str], *, limit: int | None, category: str | None) -> Dataset:
    """The prompts that were asked for. Raises UsageError or DataError."""
    mapping: dict[str, str] = {}
    for pair in fields:
        name, separator, column = pair.partition("=")
        if not separator or not name or not column:
            raise UsageError(f"--field {pair!r}: write FIELD=COLUMN, for example --field text=question")
        mapping[name.strip()] = column.strip()
    dataset = Dataset.read(path, fields=mapping)
    if category is not None:
        dataset = dataset.where(category)
    return dataset if limit is None else dataset.limit(limit)


def choose_pipeline(named: str, *, model: str, latency: str | None, knowledge: Path | None) -> Pipeline | str:
    """The built-in pipeline with its settings, or the user's by name. Raises UsageError for settings it lacks."""
    if named != "quark":
        for option, given in (("--latency", latency not in (None, "none")), ("--knowledge", knowledge is not None)):
            if given:
                raise UsageError(f"{option} is for the built-in pipeline; leave it out with --pipeline {named}")
        if model != "offline":
            raise UsageError(f"--model is for the built-in pipeline; leave it out with --pipeline {named}")
        return named
    from quark_bench.agents.quark import quark
    from quark_bench.models import make_model

    return quark(knowledge=knowledge, model=make_model(model), latency="demo" if latency is None else latency)


def carry_out(dataset: Dataset, pipeline: Pipeline | str, options: Mapping[str, Any], *, as_json: bool) -> int:
    """Run, tell, and give the exit code."""
    from quark_bench.bench import bench
    from quark_bench.report.tables import run_table
    from quark_bench.run import summary

    with watching(Console(stderr=True)) as watcher:
        try:
            run = bench(dataset, pipeline, **options, watcher=watcher)
        except RunInterrupted as stop:
            print(f"quark-bench: {stop}", file=sys.stderr)
            return EXIT_INTERRUPTED
        except KeyboardInterrupt:
            print("quark-bench: interrupted; `quark-bench ls` shows what there is", file=sys.stderr)
            return EXIT_INTERRUPTED
        watcher.stage("writing the report")
        report = run.report()
    people = Console(width=WIDTH, file=sys.stderr if as_json else sys.stdout)
    people.print(run_table(run.findings))
    people.print(f"Report  {report}", soft_wrap=True, highlight=False)
    people.print(f"Look    quark-bench show {run.path} [PROMPT_ID]", soft_wrap=True, highlight=False, markup=False)
    if as_json:
        print(json.dumps(summary(run), indent=1, ensure_ascii=False))
    ended = run.manifest["conservation"]
    if ended["failed"] == ended["planned"]:
        people.print(f"Every trial failed; the first error: {run.records['error'].dropna().iloc[0]}", markup=False)
        return EXIT_ALL_FAILED
    return EXIT_SLO_MISSED if any(result.given and result.met is False for result in run.slos) else 0
