"""The command `sweep`: one parameter an option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quark_bench.cli.options import (
    ApiKeyEnv,
    ArrivalsNamed,
    BaseUrl,
    Category,
    FailedIn,
    Faults,
    FieldPairs,
    FieldsFile,
    GranularityName,
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
    RequestsPerS,
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
from quark_bench.cli.program import Json, PipelineName
from quark_bench.cli.resumed import resumed_arguments


def sweep_command(
    context: typer.Context,
    prompts: Prompts = None,
    pipeline: PipelineName = "quark",
    in_flight: Annotated[
        str | None,
        typer.Option(help="Prompts under way at once: 1,2,4,8 or a range.  [default: 1..64]", show_default=False),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Prompts that arrive a second, instead: 5,10,20 or 1..100.", show_default=False)
    ] = None,
    arrivals: ArrivalsNamed = None,
    one_arm: Annotated[str, typer.Option("--arm", help="How prompts are run; with --in-flight it is async.")] = "async",
    on: On = "local",
    insecure: Insecure = False,
    workers: Workers = None,
    granularity: GranularityName = "auto",
    repeats: Annotated[int, typer.Option(help="How often every prompt is run at a level.")] = 1,
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
    requests_per_s: RequestsPerS = None,
    tokens_per_min: TokensPerMin = None,
    model_calls: ModelCalls = None,
    out: Out = Path("reports"),
    resume: Annotated[
        str | None,
        typer.Option(
            help="Continue an unfinished sweep, alone or with --on: its path, id, or last.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run the prompts at one load after another: the knee, and the highest load that meets the objectives.

    All levels of a list are measured. A range is doubled until a level does not meet the objectives by their whole
    intervals, then the gap is halved down to 5 %. Each level is a run of its own below the sweep's folder.

    \b
    quark-bench sweep prompts.jsonl --in-flight 1,2,4,8,16
    quark-bench sweep prompts.jsonl --in-flight 1..64 --slo 'latency_s<2@95%'
    quark-bench sweep prompts.jsonl --rate 1..100 --slo 'Reasoning.first_token_s<0.5@95%'
    quark-bench sweep --resume last
    """
    from quark_bench.cli import run, sweep
    from quark_bench.cli.prompts import CONTEXTS, Columns, Part, read_prompts, settled

    if prompts is None:
        from quark_bench.cli.app import call

        return call(resumed_arguments(context, "sweep", resume, out))
    whole = read_prompts(prompts, Columns(field or [], fields, template))
    dataset = Part(limit, category, failed_in, shard).of(whole, out)
    knows = whole if knowledge == CONTEXTS else knowledge
    server = {"base_url": base_url, "api_key_env": api_key_env, "prices": prices}
    asked = run.choose_model(model, **server, speed=speed, out=out)
    chosen = run.choose_pipeline(pipeline, model=asked, latency=latency, knowledge=knows, learn=None)
    options = {
        "in_flight": in_flight,
        "rate": rate,
        "arrivals": arrivals,
        "arm": one_arm,
        "on": on,
        "insecure": insecure,
        "workers": workers,
        "granularity": granularity,
        "repeats": repeats,
        "warmup": warmup,
        "seed": seed,
        "scores": score,
        "slos": slo or [],
        "chaos": chaos or [],
        "model": asked,
        "use": run.model_use((requests_per_s, tokens_per_min, model_calls), None, record=False),
        "out": out,
        "resume": resume,
        "command": settled(context.obj, failed_in, out),
    }
    return sweep.carry_out(dataset, chosen, options, as_json=as_json)
