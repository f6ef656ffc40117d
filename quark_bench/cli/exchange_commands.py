"""Commands that give runs to other tools, take theirs, or score a run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from quark_bench.cli.options import Out, RunName, Scores
from quark_bench.cli.program import Json


def score_command(
    context: typer.Context,
    run: RunName,
    score: Scores = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A copy of the run's prompt file, where that is not in its place.", show_default=False),
    ] = None,
    out: Out = Path("reports"),
    as_json: Json = False,
) -> int:
    """Score a run's stored answers, again or by more scorers, without running anything.

    Scores of the same name and another version are replaced; measures and report are written again. Where it is
    interrupted, the same command goes on. The prompts must be those that the run was made of, unchanged.

    \b
    quark-bench score last --score exact --score rouge_l
    quark-bench score last --score checks.py:polite
    quark-bench score RUN --score number:tolerance=0.01 --prompts copy.jsonl
    """
    from quark_bench.cli import exchange

    return exchange.score(run, score, prompts, out, context.obj, as_json=as_json)


def export_command(
    run: RunName,
    to: Annotated[str, typer.Option("--to", help="inspect, chrome, csv, parquet or junit.", show_default=False)],
    target: Annotated[
        Path,
        typer.Option("--out", help="A folder for inspect, csv and parquet, else a file.", show_default=False),
    ],
    # What other commands call --out, so that [tool.quark-bench] sets it for all of them.
    out: Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")] = Path("reports"),
) -> int:
    """Write a run in the form of other tools, and print the paths.

    inspect: an .eval log for every arm, for Inspect's viewer and tables. chrome: a trace that opens in Perfetto. csv
    and parquet: records, spans, calls and scores. junit: a test case for every prompt.

    \b
    quark-bench export last --to inspect --out logs/
    quark-bench export last --to chrome --out trace.json
    quark-bench export last --to parquet --out tables/
    quark-bench export last --to junit --out prompts.xml
    """
    from quark_bench.cli import exchange

    return exchange.export(run, to, target, out)


def import_command(
    log: Annotated[Path, typer.Argument(help="A log of Inspect: .eval.", show_default=False)],
    out: Out = Path("reports"),
    as_json: Json = False,
) -> int:
    """Make a run of a log that Inspect wrote, to compare, report and score it.

    Its arm is called inspect, its agents are the log's agents, or its solvers where it has none.

    \b
    quark-bench import logs/2026-01-01T00-00-00+00-00_support_a1.eval
    quark-bench compare RUN last
    """
    from quark_bench.cli import exchange

    return exchange.take_in(log, out, as_json=as_json)


COMMANDS: Mapping[str, Callable[..., int]] = {
    "score": score_command,
    "export": export_command,
    "import": import_command,
}
