"""The command line: one function a command, one parameter an option."""

from __future__ import annotations

import difflib
import inspect
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quark_bench.cli.options import (
    Category,
    Faults,
    Fields,
    GranularityName,
    InFlight,
    Insecure,
    Knowledge,
    Latency,
    Limit,
    ModelName,
    On,
    Out,
    Prompts,
    Resume,
    RunName,
    Scores,
    Seed,
    Slos,
    Warmup,
    Workers,
)
from quark_bench.cli.program import Json, PipelineName, make_app, run_app, version_option
from quark_bench.errors import UsageError
from quark_bench.redact import redact

app = make_app(
    "quark-bench",
    "0 fine; 1 a gate found a regression, or an SLO given with --slo was missed; 2 wrong usage or bad input; 3 a gate "
    "is inconclusive; 4 the run could not start or finish, or every trial failed; 130 interrupted.",
)


def call(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code, which is 130 after Ctrl-C. Raises QuarkBenchError."""
    line = shlex.join(map(redact, ["quark-bench", *arguments]))
    return run_app(app, arguments, line, _settings())


def _settings() -> dict[str, Any]:
    """Options from `[tool.quark-bench]` of a pyproject.toml in this folder, for every command that has them.

    Raises UsageError for a file that cannot be read and for an option that no command has.
    """
    file = Path("pyproject.toml")
    try:
        tools = tomllib.loads(file.read_text("utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {error}; mend it, or start from another folder") from error
    options = tools.get("quark-bench", {}) if isinstance(tools, dict) else {}
    if not isinstance(options, dict):
        raise UsageError(f"{file}: tool.quark-bench is no table; write [tool.quark-bench], then an option a line")
    commands = [(command.name or "", command.callback) for command in app.registered_commands if command.callback]
    known = sorted({name for _, function in commands for name in inspect.signature(function).parameters})
    named = {name.replace("-", "_"): value for name, value in options.items()}
    for name in sorted(named.keys() - set(known)):
        close = difflib.get_close_matches(name, known, 1, cutoff=0)[0].replace("_", "-")
        raise UsageError(f"{file}, [tool.quark-bench]: no option {name.replace('_', '-')!r}; did you mean {close!r}?")
    return {command: named for command, _ in commands}


@app.callback()
def _root(
    version: Annotated[bool, version_option("quark-bench")] = False,
) -> None:
    """Benchmark and evaluate pipelines of agents over files of prompts.

    \b
    quark-bench run datasets/quickstart.jsonl
    quark-bench run prompts.jsonl --pipeline support.py:pipeline --repeats 3
    quark-bench show last
    """


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def resumed_arguments(context: typer.Context, command: str, resume: str | None, out: Path) -> list[str]:
    """The arguments that continue a run without its prompt file. Raises UsageError where other options stand beside."""
    from quark_bench.cli import run

    if resume is None:
        raise UsageError(f"name a prompt file, as in: quark-bench {command} prompts.jsonl")
    given = {name for name in context.params if _was_given(context, name)}
    if beside := sorted(given - {"resume", "out", "on", "insecure", "as_json"}):
        raise UsageError(
            f"--{beside[0].replace('_', '-')} beside --resume: a run is continued as it was begun; leave it out, "
            "or begin a new run without --resume"
        )
    moved = ["--on", str(context.params["on"])] if "on" in given else []
    flags = [flag for flag, name in (("--insecure", "insecure"), ("--json", "as_json")) if name in given]
    return [*run.arguments_of(resume, out, command), *moved, *flags]


@app.command("run")
def run_command(
    context: typer.Context,
    prompts: Prompts = None,
    pipeline: PipelineName = "quark",
    arm: Annotated[
        list[str] | None,
        typer.Option(help="sync, parallel or async; again for more.  [default: all three]", show_default=False),
    ] = None,
    on: On = "local",
    insecure: Insecure = False,
    workers: Workers = None,
    in_flight: InFlight = 8,
    granularity: GranularityName = "auto",
    repeats: Annotated[int, typer.Option(help="How often every prompt is run.")] = 1,
    limit: Limit = None,
    category: Category = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    field: Fields = None,
    knowledge: Knowledge = None,
    score: Scores = None,
    model: ModelName = "offline",
    latency: Latency = None,
    learn: Annotated[
        Path | None,
        typer.Option(
            help="Store of conversations from which quark learns as it runs: its arms do not compare.",
            show_default=False,
        ),
    ] = None,
    slo: Slos = None,
    chaos: Faults = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Answer equal calls of agents with cache=True from this file.", show_default=False),
    ] = None,
    out: Out = Path("reports"),
    resume: Resume = None,
    as_json: Json = False,
) -> int:
    """Run every prompt through a pipeline in every arm, and compare the arms.

    \b
    quark-bench run datasets/quickstart.jsonl
    quark-bench run prompts.csv --pipeline support.py:pipeline --in-flight 32
    quark-bench run gsm8k.jsonl --field text=question --field reference=answer
    quark-bench run prompts.jsonl --arm async --slo 'async.p95_latency_s<2'
    quark-bench run prompts.jsonl --on tcp://127.0.0.1:8786 --granularity agent
    quark-bench run prompts.jsonl --on slurm.toml --in-flight 512
    quark-bench run --resume last
    """
    from quark_bench.cli import run

    if prompts is None:
        return call(resumed_arguments(context, "run", resume, out))
    dataset = run.read_prompts(prompts, field or [], limit=limit, category=category)
    chosen = run.choose_pipeline(pipeline, model=model, latency=latency, knowledge=knowledge, learn=learn)
    options = {
        "arms": arm,
        "on": on,
        "insecure": insecure,
        "workers": workers,
        "in_flight": in_flight,
        "granularity": granularity,
        "repeats": repeats,
        "warmup": warmup,
        "seed": seed,
        "scores": score,
        "slos": slo or [],
        "chaos": chaos or [],
        "cache": cache,
        "out": out,
        "resume": resume,
        "command": context.obj,
    }
    return run.carry_out(dataset, chosen, options, as_json=as_json)


@app.command("gate")
def gate_command(
    context: typer.Context,
    prompts: Prompts = None,
    pipeline: PipelineName = "quark",
    against: Annotated[
        str | None,
        typer.Option(
            help="The baseline: a git revision, a pipeline (with a colon), or a run's folder.", show_default=False
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", help="Measure the same code as both arms: the noise of this machine.")
    ] = False,
    arm: Annotated[str, typer.Option(help="How both arms run: sync, parallel or async.")] = "async",
    on: On = "local",
    insecure: Insecure = False,
    workers: Workers = None,
    in_flight: InFlight = 8,
    granularity: GranularityName = "auto",
    repeats: Annotated[int, typer.Option(help="How often every prompt is run, at least.")] = 5,
    limit: Limit = None,
    category: Category = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    field: Fields = None,
    knowledge: Knowledge = None,
    score: Scores = None,
    model: ModelName = "offline",
    latency: Latency = None,
    slo: Slos = None,
    chaos: Faults = None,
    clusters: Annotated[
        str | None,
        typer.Option(help="Field by which prompts depend on one another: document, category, ...", show_default=False),
    ] = None,
    allow_stored: Annotated[
        bool, typer.Option("--allow-stored", help="Let a comparison with a stored run pass or fail.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.", show_default=False)] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary to this file.", show_default=False)
    ] = None,
    out: Out = Path("reports"),
    resume: Resume = None,
    as_json: Json = False,
) -> int:
    """Did the candidate get worse? Measure it beside a baseline, in turn, and judge.

    Latency, throughput, failures, each score and cost are judged. What alarms is measured once more with fresh workers
    before it counts. Inside a GitHub job a summary and annotations are written by themselves.

    \b
    quark-bench gate prompts.jsonl --pipeline support.py:pipeline --against main
    quark-bench gate prompts.jsonl --pipeline new.py:pipeline --against old.py:pipeline
    quark-bench gate prompts.jsonl --pipeline support.py:pipeline --null
    quark-bench gate prompts.jsonl --against reports/20260101-120000-prompts
    """
    from quark_bench.cli import gate, run

    if prompts is None:
        return call(resumed_arguments(context, "gate", resume, out))
    dataset = run.read_prompts(prompts, field or [], limit=limit, category=category)
    chosen = run.choose_pipeline(pipeline, model=model, latency=latency, knowledge=knowledge, learn=None)
    options = {
        "against": gate.baseline_named(against, null=null),
        "arm": arm,
        "on": on,
        "insecure": insecure,
        "workers": workers,
        "in_flight": in_flight,
        "granularity": granularity,
        "repeats": repeats,
        "warmup": warmup,
        "seed": seed,
        "scores": score,
        "slos": slo or [],
        "chaos": chaos or [],
        "clusters": clusters,
        "allow_stored": allow_stored,
        "out": out,
        "resume": resume,
        "command": context.obj,
    }
    return gate.carry_out(dataset, chosen, options, gate.Files(junit, markdown), as_json=as_json)


@app.command("graph")
def graph_command(
    pipeline: PipelineName = "quark",
    drawing: Annotated[
        Path | None, typer.Option("--out", help="Write an SVG to this file.", show_default=False)
    ] = None,
) -> int:
    """Draw a pipeline's DAG, as text or as SVG.

    \b
    quark-bench graph
    quark-bench graph --pipeline support.py:pipeline --out dag.svg
    """
    from quark_bench.cli import look

    return look.graph(pipeline, drawing)


@app.command("ls")
def ls_command(out: Out = Path("reports"), as_json: Json = False) -> int:
    """List the runs, oldest first."""
    from quark_bench.cli import look

    return look.ls(out, as_json=as_json)


@app.command("show")
def show_command(
    run: RunName,
    prompt_id: Annotated[str | None, typer.Argument(help="A prompt's id.", show_default=False)] = None,
    out: Out = Path("reports"),
    as_json: Json = False,
) -> int:
    """Show a run, or one prompt of it under each arm.

    \b
    quark-bench show last
    quark-bench show last q-007
    """
    from quark_bench.cli import look

    return look.show(run, prompt_id, out, as_json=as_json)


@app.command("report")
def report_command(run: RunName, out: Out = Path("reports")) -> int:
    """Write a run's report.html again and print its path."""
    from quark_bench.cli import look

    return look.report(run, out)


@app.command("history")
def history_command(
    measure: Annotated[
        str | None, typer.Option(help="A measure's name.  [default: p50_latency_s]", show_default=False)
    ] = None,
    one_arm: Annotated[
        str | None, typer.Option("--arm", help="An arm's name.  [default: the last]", show_default=False)
    ] = None,
    series: Annotated[str, typer.Option(help="A series' id, or last: that of the newest complete run.")] = "last",
    out: Out = Path("reports"),
    csv: Annotated[
        Path | None,
        typer.Option(help="Write all measures, or the one named, to this CSV file.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the measure into this file: .svg or .png.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Show how a measure went over the runs of a series, oldest first.

    Runs are of one series where shape of pipeline, data set, scorers, model, layout and hardware are the same. Each run
    is held against the band in which 95 of 100 values lie where nothing changes, by the runs before it. It is a trend,
    no verdict: the exit code is 0 whatever it shows.

    \b
    quark-bench history
    quark-bench history --measure throughput_per_s --plot throughput.svg
    quark-bench history --csv history.csv
    """
    from quark_bench.cli import history

    return history.history(measure, one_arm, series, out, table=csv, plot=plot, as_json=as_json)


@app.command("doctor")
def doctor_command(
    on: Annotated[
        str, typer.Option(help="local, tcp://, tls:// or HOST:PORT, a scheduler file .json, or a cluster's .toml.")
    ] = "local",
    pipeline: Annotated[
        str | None, typer.Option(help="A pipeline that every worker should be able to load.", show_default=False)
    ] = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> int:
    """Tell what a cluster is like, whether a run would start on it, and what to change.

    \b
    quark-bench doctor --on tcp://127.0.0.1:8786 --pipeline support.py:pipeline
    quark-bench doctor --on slurm.toml
    """
    from quark_bench.cli import doctor

    return doctor.doctor(on, pipeline, insecure=insecure, as_json=as_json)


@app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(help="Where to write.  [default: here]", show_default=False)] = Path(),
    ci: Annotated[
        str | None, typer.Option(help="Write a workflow that gates pull requests, too: github.", show_default=False)
    ] = None,
) -> int:
    """Write a small pipeline and prompts to start from; files that are there stay as they are.

    \b
    quark-bench init
    quark-bench init --ci github
    quark-bench init benchmarks --ci github
    """
    from quark_bench.cli import init

    return init.init(folder, ci)
