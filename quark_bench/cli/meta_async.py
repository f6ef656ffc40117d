"""`meta-async`: the live orchestrator's command line; one function a command, one parameter an option."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from quark_bench.cli.options import ApiKeyEnv, BaseUrl, ModelName
from quark_bench.cli.program import Json, PipelineName, make_app, run_app, version_option
from quark_bench.errors import UsageError
from quark_bench.plain import one_line

app = make_app(
    "meta-async",
    "0 fine; 2 wrong usage or bad input; 4 an agent's set-up failed, the prompt of test failed, or every trial of "
    "benchmark did; 130 interrupted.",
)

MaxWorkers = Annotated[int, typer.Option("--max-workers", min=1, help="Agent calls under way at once.")]
Latency = Annotated[str, typer.Option(help="Simulated latency of quark's agents: none, demo or quark.")]
Routes = Annotated[
    Path | None,
    typer.Option(help="TOML that names the agents a category needs.", show_default=False),
]
State = Annotated[Path, typer.Option("--state", help="Folder of what is kept between sessions.")]
Log = Annotated[Path | None, typer.Option(help="Add what happens to this file, as lines of JSON.", show_default=False)]
ConversationName = Annotated[str, typer.Option("--conversation", help="The conversation that the prompts belong to.")]
HERE = Path(".meta-async")


def call(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code, which is 130 after Ctrl-C. Raises QuarkBenchError."""
    return run_app(app, arguments, "")


@app.callback()
def _root(version: Annotated[bool, version_option("meta-async")] = False) -> None:
    """Answer prompts as they come, with a pipeline of agents that run side by side.

    \b
    meta-async start
    meta-async test --prompt "Explain machine learning" --max-workers 4
    meta-async performance
    """


@app.command("start")
def start_command(
    max_workers: MaxWorkers = 4,
    pipeline: PipelineName = "quark",
    model: ModelName = "offline",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    latency: Latency = "none",
    routes: Routes = None,
    state: State = HERE,
    log: Log = None,
    conversation: ConversationName = "default",
) -> int:
    """Talk: answers each prompt, and shows which agents run.

    The words stats, history, help and quit have a meaning of their own. Ctrl-C
    cancels the prompt that is being answered, Ctrl-D leaves.

    \b
    meta-async start
    meta-async start --max-workers 8 --latency demo
    meta-async start --pipeline support.py:pipeline --log live.jsonl
    """
    from quark_bench.cli.live_session import LiveOptions
    from quark_bench.cli.log_file import logging_to
    from quark_bench.cli.run import choose_model
    from quark_bench.cli.start import start

    asked = choose_model(model, base_url=base_url, api_key_env=api_key_env, prices=None)
    options = LiveOptions("start", max_workers, pipeline, latency, routes, state, conversation, asked)
    with logging_to(log):
        return start(options)


@app.command("test")
def one_prompt_command(
    prompt: Annotated[str, typer.Option(help="What to ask.", show_default=False)],
    max_workers: MaxWorkers = 4,
    pipeline: PipelineName = "quark",
    model: ModelName = "offline",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    latency: Latency = "none",
    routes: Routes = None,
    state: State = HERE,
    log: Log = None,
    conversation: ConversationName = "default",
    as_json: Json = False,
) -> int:
    """Answer one prompt: agents on stderr while they run, the answer on stdout.

    \b
    meta-async test --prompt "Explain machine learning"
    meta-async test --prompt "What is 12 * 12?" --latency demo --json
    """
    from quark_bench.cli.live_session import LiveOptions
    from quark_bench.cli.log_file import logging_to
    from quark_bench.cli.one_prompt import answer_prompt
    from quark_bench.cli.run import choose_model

    asked = choose_model(model, base_url=base_url, api_key_env=api_key_env, prices=None)
    options = LiveOptions("test", max_workers, pipeline, latency, routes, state, conversation, asked)
    with logging_to(log):
        return answer_prompt(prompt, options, as_json=as_json)


@app.command("benchmark")
def benchmark_command(
    prompts: Annotated[
        str | None, typer.Option(help='Prompts, with commas between them: "a,b,c".', show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Prompt file: .jsonl, .csv, .tsv or .parquet.", show_default=False)
    ] = None,
    max_workers: Annotated[
        int, typer.Option("--max-workers", min=1, help="Prompts under way at once in arm async.")
    ] = 4,
    pipeline: PipelineName = "quark",
    model: ModelName = "offline",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    latency: Annotated[
        str | None,
        typer.Option(
            help="Simulated latency of quark's agents: none, demo or quark.  [default: demo for quark]",
            show_default=False,
        ),
    ] = None,
    state: State = HERE,
    as_json: Json = False,
) -> int:
    """Run the prompts one after another and side by side, and compare.

    This is quark-bench run --on inline --in-flight MAX_WORKERS, in this process as
    the live orchestrator is; the whole command is printed. A batch counts prompts
    under way, not agent calls, and every prompt gets the whole pipeline.

    \b
    meta-async benchmark --prompts "What is AI?,How does ML work?"
    meta-async benchmark --file prompts.jsonl --max-workers 16
    """
    from quark_bench.cli.app import call as quark_bench

    if (prompts is None) == (file is None):
        raise UsageError('give prompts either with --prompts "a,b,c" or with --file FILE')
    path = file if prompts is None else _kept(prompts, state)
    options = ["--pipeline", pipeline, "--on", "inline", "--in-flight", str(max_workers)]
    named = {"--model": model, "--base-url": base_url, "--api-key-env": api_key_env, "--latency": latency}
    options += [part for name, value in named.items() if value not in (None, "offline") for part in (name, str(value))]
    arguments = ["run", str(path), *options]
    print(one_line(shlex.join(["quark-bench", *arguments])), file=sys.stderr)
    return quark_bench([*arguments, "--json"] if as_json else arguments)


def _kept(prompts: str, state: Path) -> Path:
    """A prompt file of these prompts, named by what is in it: a run that is cut short can be continued with it."""
    from quark_bench.sessions import check_state

    texts = [text.strip() for text in prompts.split(",") if text.strip()]
    if not texts:
        raise UsageError(f'--prompts {prompts!r}: there is no prompt in it; write "What is AI?,How does ML work?"')
    check_state(state)
    rows = "".join(json.dumps({"id": f"p-{n}", "text": text}) + "\n" for n, text in enumerate(texts, 1))
    path = state / f"prompts-{hashlib.sha256(rows.encode()).hexdigest()[:8]}.jsonl"
    path.write_text(rows, "utf-8")
    return path


@app.command("performance")
def performance_command(
    max_workers: Annotated[
        int | None,
        typer.Option("--max-workers", min=1, help="Only sessions with so many.  [default: all]", show_default=False),
    ] = None,
    state: State = HERE,
    as_json: Json = False,
) -> int:
    """Show what earlier sessions did, the targets, and what to change.

    Every start and every test adds a session to STATE/sessions.jsonl when it ends.

    \b
    meta-async performance
    meta-async performance --max-workers 4
    """
    from quark_bench.cli.performance import performance

    return performance(state, max_workers, as_json=as_json)


if __name__ == "__main__":
    from quark_bench.cli import main_live

    main_live()
