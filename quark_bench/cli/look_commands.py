"""Commands that measure nothing: they look at pipelines, runs and clusters, or write a start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from quark_bench.cli.options import Insecure, Out, RunName
from quark_bench.cli.program import Json, PipelineName


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


def ls_command(out: Out = Path("reports"), as_json: Json = False) -> int:
    """List the runs, oldest first."""
    from quark_bench.cli import look

    return look.ls(out, as_json=as_json)


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


def report_command(run: RunName, out: Out = Path("reports")) -> int:
    """Write a run's report.html again and print its path."""
    from quark_bench.cli import look

    return look.report(run, out)


def compare_command(
    first: Annotated[str, typer.Argument(metavar="RUN[:ARM]", help="A run, and an arm of it.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="RUN[:ARM]", help="What is held against it.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option(help="Write the comparison as one page to this file.", show_default=False)
    ] = None,
    out: Out = Path("reports"),
    as_json: Json = False,
) -> int:
    """Compare two arms of a run, or of two runs, prompt by prompt.

    Arms of one run were measured side by side. Two runs were not: between them it is a trend, and what does not compare
    is told or refused. It is no verdict: the exit code is 0 whatever it shows. Without an arm it is a run's last one;
    of one run, the first against the last.

    \b
    quark-bench compare last:sync last:async
    quark-bench compare 20261127-054214-prompts last --html compared.html
    """
    from quark_bench.cli import compare

    return compare.compare(first, second, out, page=html, as_json=as_json)


def index_command(out: Out = Path("reports")) -> int:
    """Write index.html, a page of all runs with the history of each series, and print its path.

    \b
    quark-bench index
    quark-bench index --out reports/
    """
    from quark_bench.cli import index

    return index.index(out)


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


def whatif_command(
    run: RunName,
    one_arm: Annotated[
        str | None, typer.Option("--arm", help="An arm's name.  [default: the last]", show_default=False)
    ] = None,
    agents: Annotated[
        list[str] | None, typer.Option("--agent", help="NAME=0.5: its durations times that; again for more agents.")
    ] = None,
    dropped: Annotated[list[str] | None, typer.Option("--drop", help="An agent to leave out; again for more.")] = None,
    numbers_of_workers: Annotated[
        str | None, typer.Option("--workers", help="Simulate these, as 1,10,100.", show_default=False)
    ] = None,
    numbers_in_flight: Annotated[
        str | None, typer.Option("--in-flight", help="Simulate these, as 8,64.  [default: 8]", show_default=False)
    ] = None,
    one_granularity: Annotated[
        str | None, typer.Option("--granularity", help="chunk or agent.  [default: the run's]", show_default=False)
    ] = None,
    cores: Annotated[float | None, typer.Option(help="Cores of a worker.  [default: 1]", show_default=False)] = None,
    rates: Annotated[
        list[str] | None,
        typer.Option("--rate", help="AGENT=20: at most 20 calls a second; A,B=20 for two that share them."),
    ] = None,
    draws: Annotated[int | None, typer.Option("--seed", help="Of the draws.  [default: 0]", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the simulation into this file: .svg or .png.", show_default=False)
    ] = None,
    out: Out = Path("reports"),
    as_json: Json = False,
) -> int:
    """Predict from a run what faster, slower or fewer agents, or more workers, would give.

    Every record's critical path is computed again with the changed durations; what a record took beyond it stays.
    Without changes, it tells what making each agent 10, 25 and 50 % faster gives: where to spend effort.

    With --workers or --in-flight it simulates each number of workers with each number of prompts in flight, and says
    what becomes the wall where: workers, scheduler, rate limit, prompts in flight, or the longest prompt.

    \b
    quark-bench whatif last
    quark-bench whatif last --agent Retrieval=0.5 --agent Reasoning=0.8 --drop Planning
    quark-bench whatif last --workers 1,10,100,1000 --in-flight 8,64,512 --plot capacity.svg
    """
    from quark_bench.cli import whatif

    change = whatif.Change(one_arm, tuple(agents or ()), tuple(dropped or ()))
    scale = whatif.Scale(numbers_of_workers, numbers_in_flight, one_granularity, cores, tuple(rates or ()), draws, plot)
    return whatif.whatif(run, out, change, scale, as_json=as_json)


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


COMMANDS: Mapping[str, Callable[..., int]] = {
    "graph": graph_command,
    "ls": ls_command,
    "show": show_command,
    "report": report_command,
    "compare": compare_command,
    "index": index_command,
    "history": history_command,
    "whatif": whatif_command,
    "doctor": doctor_command,
    "init": init_command,
}
