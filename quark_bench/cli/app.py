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

from quark_bench.cli import exchange_commands, look_commands
from quark_bench.cli.options import (
    ApiKeyEnv,
    ArrivalsNamed,
    BaseUrl,
    BudgetText,
    Category,
    Clusters,
    FailedIn,
    Faults,
    FieldPairs,
    FieldsFile,
    GranularityName,
    InFlight,
    Insecure,
    Knowledge,
    Latency,
    Limit,
    ModelCalls,
    ModelName,
    On,
    Out,
    Prices,
    Prompts,
    Rate,
    Record,
    RequestsPerS,
    Resume,
    Scores,
    Seed,
    Shard,
    Slos,
    Speed,
    TemplateText,
    TokensPerMin,
    Warmup,
    Workers,
)
from quark_bench.cli.program import Json, PipelineName, make_app, run_app, version_option
from quark_bench.cli.resumed import resumed_arguments
from quark_bench.cli.sweep_command import sweep_command
from quark_bench.errors import UsageError
from quark_bench.redact import redact

app = make_app(
    "quark-bench",
    "0 fine; 1 a gate found a regression, or an SLO given with --slo was missed, of a sweep at its lowest level; 2 "
    "wrong usage or bad input; 3 a gate or a sweep is inconclusive; 4 the run could not start or finish, or every "
    "trial failed; 130 interrupted.",
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


@app.command("run")
def run_command(
    context: typer.Context,
    prompts: Prompts = None,
    pipeline: PipelineName = "quark",
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="sync, parallel or async; again for more.  [default: all three; async with --rate]",
            show_default=False,
        ),
    ] = None,
    on: On = "local",
    insecure: Insecure = False,
    workers: Workers = None,
    in_flight: InFlight = None,
    rate: Rate = None,
    arrivals: ArrivalsNamed = None,
    granularity: GranularityName = "auto",
    repeats: Annotated[int, typer.Option(help="How often every prompt is run.")] = 1,
    limit: Limit = None,
    category: Category = None,
    failed_in: FailedIn = None,
    shard: Shard = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    field: FieldPairs = None,
    fields: FieldsFile = None,
    template: TemplateText = None,
    knowledge: Knowledge = None,
    score: Scores = None,
    model: ModelName = "offline",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    prices: Prices = None,
    speed: Speed = None,
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
    clusters: Clusters = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Answer equal calls of agents with cache=True from this file.", show_default=False),
    ] = None,
    requests_per_s: RequestsPerS = None,
    tokens_per_min: TokensPerMin = None,
    model_calls: ModelCalls = None,
    budget: BudgetText = None,
    record: Record = False,
    out: Out = Path("reports"),
    resume: Resume = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell trials, calls, time, tokens and cost, and run nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run every prompt through a pipeline in every arm, and compare the arms.

    \b
    quark-bench run datasets/quickstart.jsonl
    quark-bench run prompts.csv --pipeline support.py:pipeline --in-flight 32
    quark-bench run gsm8k.jsonl --field text=question --field reference=answer
    quark-bench run prompts.jsonl --model openai:gpt-5-mini --record
    quark-bench run prompts.jsonl --model replay:last --speed 10
    quark-bench run prompts.jsonl --failed-in last:exact
    quark-bench run prompts.jsonl --arm async --slo 'latency_s<2@95%'
    quark-bench run prompts.jsonl --rate 20
    quark-bench run prompts.jsonl --rate 5..50 --arrivals constant
    quark-bench run prompts.jsonl --on tcp://127.0.0.1:8786 --granularity agent
    quark-bench run prompts.jsonl --on slurm.toml --in-flight 512
    quark-bench run prompts.jsonl --repeats 5 --dry-run
    quark-bench run --resume last
    """
    from quark_bench.cli import run
    from quark_bench.cli.prompts import CONTEXTS, Columns, Part, read_prompts, settled

    if prompts is None:
        return call(resumed_arguments(context, "run", resume, out))
    whole = read_prompts(prompts, Columns(field or [], fields, template))
    dataset = Part(limit, category, failed_in, shard).of(whole, out)
    knows = whole if knowledge == CONTEXTS else knowledge
    server = {"base_url": base_url, "api_key_env": api_key_env, "prices": prices}
    asked = run.choose_model(model, **server, speed=speed, out=out)
    chosen = run.choose_pipeline(pipeline, model=asked, latency=latency, knowledge=knows, learn=learn)
    options = {
        "arms": arm,
        "on": on,
        "insecure": insecure,
        "workers": workers,
        "in_flight": in_flight,
        "rate": rate,
        "arrivals": arrivals,
        "granularity": granularity,
        "repeats": repeats,
        "warmup": warmup,
        "seed": seed,
        "scores": score,
        "slos": slo or [],
        "model": asked,
        "chaos": chaos or [],
        "clusters": clusters,
        "cache": cache,
        "use": run.model_use((requests_per_s, tokens_per_min, model_calls), budget, record=record),
        "out": out,
        "resume": resume,
        "command": settled(context.obj, failed_in, out),
    }
    if dry_run:
        return run.tell_beforehand(dataset, chosen, options, as_json=as_json)
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
    one_arm: Annotated[str, typer.Option("--arm", help="How both sides run: sync, parallel or async.")] = "async",
    on: On = "local",
    insecure: Insecure = False,
    workers: Workers = None,
    in_flight: InFlight = None,
    rate: Rate = None,
    arrivals: ArrivalsNamed = None,
    granularity: GranularityName = "auto",
    repeats: Annotated[int, typer.Option(help="How often every prompt is run, at least.")] = 5,
    limit: Limit = None,
    category: Category = None,
    failed_in: FailedIn = None,
    shard: Shard = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    field: FieldPairs = None,
    fields: FieldsFile = None,
    template: TemplateText = None,
    knowledge: Knowledge = None,
    score: Scores = None,
    model: ModelName = "offline",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    prices: Prices = None,
    speed: Speed = None,
    latency: Latency = None,
    slo: Slos = None,
    chaos: Faults = None,
    clusters: Clusters = None,
    allow_stored: Annotated[
        bool, typer.Option("--allow-stored", help="Let a comparison with a stored run pass or fail.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.", show_default=False)] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary to this file.", show_default=False)
    ] = None,
    requests_per_s: RequestsPerS = None,
    tokens_per_min: TokensPerMin = None,
    model_calls: ModelCalls = None,
    budget: BudgetText = None,
    record: Record = False,
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
    quark-bench gate prompts.jsonl --pipeline support.py:pipeline --against main --rate 20
    quark-bench gate prompts.jsonl --against reports/20260101-120000-prompts
    """
    from quark_bench.cli import gate, run
    from quark_bench.cli.prompts import CONTEXTS, Columns, Part, read_prompts, settled

    if prompts is None:
        return call(resumed_arguments(context, "gate", resume, out))
    whole = read_prompts(prompts, Columns(field or [], fields, template))
    dataset = Part(limit, category, failed_in, shard).of(whole, out)
    knows = whole if knowledge == CONTEXTS else knowledge
    server = {"base_url": base_url, "api_key_env": api_key_env, "prices": prices}
    asked = run.choose_model(model, **server, speed=speed, out=out)
    chosen = run.choose_pipeline(pipeline, model=asked, latency=latency, knowledge=knows, learn=None)
    options = {
        "against": gate.baseline_named(against, null=null),
        "arm": one_arm,
        "on": on,
        "insecure": insecure,
        "workers": workers,
        "in_flight": in_flight,
        "rate": rate,
        "arrivals": arrivals,
        "granularity": granularity,
        "repeats": repeats,
        "warmup": warmup,
        "seed": seed,
        "scores": score,
        "slos": slo or [],
        "model": asked,
        "chaos": chaos or [],
        "clusters": clusters,
        "allow_stored": allow_stored,
        "use": run.model_use((requests_per_s, tokens_per_min, model_calls), budget, record=record),
        "out": out,
        "resume": resume,
        "command": settled(context.obj, failed_in, out),
    }
    return gate.carry_out(dataset, chosen, options, gate.Files(junit, markdown), as_json=as_json)


_LISTED = {**look_commands.COMMANDS, **exchange_commands.COMMANDS, "sweep": sweep_command}
for _name, _command in _LISTED.items():
    app.command(_name)(_command)
