"""`quark-bench run`: from arguments to values, through `bench`, to a table and an exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console, RenderableType

from quark_bench.cli.live import Display, Lines, watching
from quark_bench.dataset import Dataset
from quark_bench.errors import RunInterrupted, UsageError
from quark_bench.model import Model
from quark_bench.model_use import Limits, ModelUse, parse_budget
from quark_bench.pipeline import Pipeline
from quark_bench.plain import one_line, shortened
from quark_bench.redact import MARK

if TYPE_CHECKING:
    from quark_bench.run import Run

T = TypeVar("T")

EXIT_SLO_MISSED = 1
EXIT_ALL_FAILED = 4
EXIT_INTERRUPTED = 130
WIDTH = 80
LONGEST_ERROR = 2_000
_STEERING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What JSON leaves as it is: the second set of control characters, and orders to write backwards."""


def arguments_of(named: str, out: Path, command: str) -> list[str]:
    """The arguments that continue a run of that command: those it was begun with, from the folder it was begun in.

    Says on stderr what they are: a run that came from elsewhere names code that came with it. Raises UsageError for
    a run that was begun from Python or by another command, or whose command held a secret, which is not kept.
    """
    from quark_bench.store import find_run, read_manifest

    path = find_run(named, out).resolve()
    manifest = read_manifest(path)
    return continuing_arguments(path, manifest["command"], manifest["folder"], command)


def continuing_arguments(path: Path, line: str | None, folder: str, command: str) -> list[str]:
    """The same of what is in that path and was begun with this line in this folder."""
    if not line:
        door = {"run": "bench"}.get(command, command)
        raise UsageError(f"{path} was begun from Python: continue it with {door}(..., resume={str(path)!r})")
    arguments = _arguments(path, line, command)
    again = f"give the whole command again, as in: {line} --resume {shlex.quote(str(path))}"
    if hidden := [_option_of(arguments, place) for place, value in enumerate(arguments) if MARK in value]:
        raise UsageError(f"{path}: {' and '.join(hidden)} held a secret, which is not kept; {again}")
    try:
        os.chdir(folder)
    except (OSError, ValueError):
        raise UsageError(
            f"{path} was begun in {folder}, which is no folder here; go where its files are, and {again}"
        ) from None
    print(f"Continuing {one_line(path)}\nin {one_line(folder)} with: {one_line(line)}", file=sys.stderr)
    return [*arguments, "--resume", str(path)]


def _arguments(path: Path, line: str, command: str) -> list[str]:
    """What follows `quark-bench`. A manifest is data that may come from anywhere: it can name no other command."""
    try:
        program, *arguments = shlex.split(line)
    except ValueError:
        program, arguments = line, []
    resumes = any(each.partition("=")[0] == "--resume" for each in arguments)
    if program != "quark-bench" or arguments[:1] != [command] or resumes:
        raise UsageError(f"{path} names no `quark-bench {command}` to continue with, but {line!r}; begin a new run")
    return arguments


def _option_of(arguments: Sequence[str], place: int) -> str:
    """The option that an argument is the value of, or the argument itself."""
    option, separator, _ = arguments[place].partition("=")
    if separator and option.startswith("--"):
        return option
    before = arguments[place - 1]
    return before if before.startswith("--") and "=" not in before else arguments[place]


def as_text(data: object, indent: int | None = 1) -> str:
    """One JSON object for machines, in which no character can steer a terminal."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(data, indent=indent, ensure_ascii=False))


def choose_model(spec: str, **options: Any) -> Model | None:
    """The model that takes the place of the pipeline's own; None for offline, which is quark's. `options` are those of
    `make_model`. Raises UsageError."""
    from quark_bench.models import OFFLINE, make_model

    made = make_model(spec, **options)
    return None if spec == OFFLINE else made


def choose_pipeline(
    named: str, *, model: Model | None, latency: str | None, knowledge: str | Dataset | None, learn: Path | None
) -> Pipeline | str:
    """The built-in pipeline with its settings, or the user's by name; what `model` it will ask decides what it may be.

    Raises UsageError for settings that it lacks.
    """
    if named != "quark":
        others = {"--latency": latency not in (None, "none"), "--knowledge": knowledge, "--learn": learn}
        for option, given in others.items():
            if given:
                raise UsageError(f"{option} is for the built-in pipeline; leave it out with --pipeline {named}")
        return named
    from quark_bench.agents.quark import quark

    if model is not None and latency not in (None, "none"):
        raise UsageError(f"--latency {latency}: {model.name} takes a time of its own; leave --latency out")
    profile = latency or ("demo" if model is None else "none")
    return quark(knowledge=knowledge, latency=profile, memory=learn, learn=learn is not None)


def model_use(limits: tuple[float | None, float | None, int | None], budget: str | None, *, record: bool) -> ModelUse:
    """How the run may use its model. Raises UsageError."""
    return ModelUse(Limits(*limits), record, None if budget is None else parse_budget(budget))


def tell_beforehand(dataset: Dataset, pipeline: Pipeline | str, options: Mapping[str, Any], *, as_json: bool) -> int:
    """What the run would take, by an earlier one; runs nothing. The exit code is 0. Raises UsageError."""
    from dataclasses import asdict

    from quark_bench.forecast import forecast
    from quark_bench.plan import chosen_arms, make_plan
    from quark_bench.report.forecast_table import forecast_table
    from quark_bench.resolve import resolve
    from quark_bench.store import read_manifests

    arms = chosen_arms(*(options[name] for name in ("arms", "in_flight", "rate", "arrivals")))
    plan = make_plan(arms, len(dataset), repeats=options["repeats"], seed=options["seed"], warmup=options["warmup"])
    main, _ = resolve(pipeline, model=options["model"])
    told = [manifest for _, manifest in read_manifests(options["out"]) if manifest and manifest["state"] == "complete"]
    found = forecast(plan, main, reversed(told))
    title = f"{main.name} over {dataset.name}, {len(dataset):,} prompts"
    Console(width=WIDTH, stderr=as_json).print(forecast_table(found, title))
    if as_json:
        print(as_text([asdict(each) for each in found]))
    return 0


def carry_out(dataset: Dataset, pipeline: Pipeline | str, options: Mapping[str, Any], *, as_json: bool) -> int:
    """Run, tell, and give the exit code."""
    from quark_bench.bench import bench
    from quark_bench.report.tables import run_table
    from quark_bench.summary import summary

    def work(watcher: Display | Lines) -> tuple[Run, Path]:
        run = bench(dataset, pipeline, **options, watcher=watcher)
        watcher.stage("writing the report")
        return run, run.report()

    made = watched(work)
    if isinstance(made, int):
        return made
    run, report = made
    answered = tell(run, report, run_table(run.findings), summary(run) if as_json else None)
    if not answered:
        return EXIT_ALL_FAILED
    return EXIT_SLO_MISSED if any(result.given and result.met is False for result in run.slos) else 0


def tell(run: Run, report: Path, table: RenderableType, data: Mapping[str, Any] | None) -> bool:
    """Tell people what was measured and where to look, and machines, on stdout, the `data` if there are any.

    Whether any trial gave an answer; else the first error is told.
    """
    people = Console(width=WIDTH, file=sys.stdout if data is None else sys.stderr)
    people.print(table)
    for line in (f"Report  {report}", f"Look    quark-bench show {run.path} [PROMPT_ID]"):
        people.print(one_line(line), soft_wrap=True, highlight=False, markup=False)
    if data is not None:
        print(as_text(data))
    ended = run.manifest["conservation"]
    if ended["failed"] < ended["planned"]:
        return True
    first = shortened(str(run.trials.struck(["error"])["error"].dropna().iloc[0]), LONGEST_ERROR)
    people.print(f"Every trial failed; the first error: {one_line(first)}", markup=False)
    return False


def watched(work: Callable[[Display | Lines], T]) -> T | int:
    """What the work gives, a person watching how it gets on; the exit code where it was interrupted."""
    try:
        with watching(Console(stderr=True)) as watcher:
            return work(watcher)
    except RunInterrupted as stop:  # told once the view is gone, which would break the command into lines
        print(f"quark-bench: {one_line(stop)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("quark-bench: interrupted before the first trial; there is nothing to continue", file=sys.stderr)
    return EXIT_INTERRUPTED
