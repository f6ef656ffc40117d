"""Options that several commands have, under one name and with one help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

On = Annotated[
    str,
    typer.Option(help="local, inline, tcp://, tls:// or HOST:PORT, a scheduler file .json, or a cluster's .toml."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow a plain tcp:// scheduler beyond this machine: it runs anyone's code.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder that holds the runs.")]
RunName = Annotated[str, typer.Argument(help="A run's path, its id, or last.", show_default=False)]
Prompts = Annotated[
    Path | None,
    typer.Argument(
        help="Prompt file: .jsonl, .json, .csv, .tsv, .parquet or .yaml, or .gz of one.", show_default=False
    ),
]
Workers = Annotated[int | None, typer.Option(help="Worker processes.  [default: cores, at most 4]", show_default=False)]
InFlight = Annotated[
    int | None,
    typer.Option(
        help="Prompts under way at once in arm async; with --rate, at most.  [default: 8; 1,000 with --rate]",
        show_default=False,
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        help="Open load: start so many prompts a second, whether or not others have ended; 5..50 rises.",
        show_default=False,
    ),
]
ArrivalsNamed = Annotated[
    str | None,
    typer.Option("--arrivals", help="constant, poisson, burst or burst:N.  [default: poisson]", show_default=False),
]
GranularityName = Annotated[str, typer.Option(help="What is one Dask task: auto, agent or chunk.")]
Limit = Annotated[int | None, typer.Option(help="Only the first N prompts.", show_default=False)]
Category = Annotated[str | None, typer.Option(help="Only prompts of this category.", show_default=False)]
Warmup = Annotated[
    int | None,
    typer.Option(help="Unrecorded trials an arm.  [default: 8, or in flight if more]", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Seed of every draw in the run.")]
FailedIn = Annotated[
    str | None,
    typer.Option(
        help="Only prompts that failed in RUN, or in RUN:SCORER whose score was below 1.",
        metavar="RUN[:SCORER]",
        show_default=False,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(help="Only part 2 of 8 equal ones, of all that is asked for: 2/8.", show_default=False),
]
FieldPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--field", help="FIELD=COLUMN, e.g. text=question; fields: id, text, category, reference, contexts, choices."
    ),
]
FieldsFile = Annotated[
    Path | None,
    typer.Option(help="TOML that tells fields.  [default: beside the prompts, of their name]", show_default=False),
]
TemplateText = Annotated[
    str | None,
    typer.Option(help="The prompt's text of several columns: '{context} Question: {question}'.", show_default=False),
]
Knowledge = Annotated[
    str | None,
    typer.Option(
        help="JSONL of id, text that replaces quark's knowledge; contexts: those of all prompts in the file.",
        show_default=False,
    ),
]
Scores = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        help="NAME[:OPTION=VALUE,...]: exact, contains, number, f1, choice, yes_no, regex, rouge1, rouge2, rouge_l, "
        "bleu, chrf, json, similarity, judge; 'latency<2', 'cost<0.01', FILE.py:NAME; of an agent AGENT.MEASURE, as "
        "retrieval.recall@5; again for more. All take weight, threshold and name; number tolerance, regex pattern, "
        "json schema, judge model and rubric.  [default: what fits the prompts]",
        show_default=False,
    ),
]
Clusters = Annotated[
    str | None,
    typer.Option(help="Field by which prompts depend on one another: document, category, ...", show_default=False),
]
ModelName = Annotated[str, typer.Option("--model", help="What agents ask: offline (quark), openai:NAME or replay:RUN.")]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Server of an openai: model.  [default: OPENAI_BASE_URL, else https://api.openai.com/v1]",
        show_default=False,
    ),
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        help="Environment variable that holds its key.  [default: OPENAI_API_KEY]", metavar="NAME", show_default=False
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        help="TOML with what models cost: ['NAME'], usd_per_million_in, usd_per_million_out.", show_default=False
    ),
]
Latency = Annotated[
    str | None,
    typer.Option(
        help="Simulated latency of quark's agents: none, demo or quark.  [default: demo for quark]",
        show_default=False,
    ),
]
Slos = Annotated[
    list[str] | None,
    typer.Option("--slo", help="An objective that decides the exit code: 'p95_latency_s<2', 'latency_s<2@99%'."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--chaos", help="Faults to inject: 'AGENT: error=SHARE, delay=DURATION@SHARE'; * is every other agent."
    ),
]
Speed = Annotated[
    float | None, typer.Option(help="Replay so many times as fast as it was recorded.", show_default=False)
]
RequestsPerS = Annotated[
    float | None, typer.Option("--requests-per-s", help="Requests a second to the model, over all workers.")
]
TokensPerMin = Annotated[
    float | None, typer.Option("--tokens-per-min", help="Tokens a minute, in and out, over all workers.")
]
ModelCalls = Annotated[
    int | None, typer.Option("--model-calls", help="Calls of the model under way at once, over all workers.")
]
BudgetText = Annotated[
    str | None, typer.Option("--budget", help="Stop when so much is spent: 5usd or 200000tokens.", show_default=False)
]
Record = Annotated[bool, typer.Option("--record", help="Keep every answer of the model, to be replayed.")]
Resume = Annotated[
    str | None,
    typer.Option(help="Continue an unfinished run, alone or with --on: its path, id, or last.", show_default=False),
]
