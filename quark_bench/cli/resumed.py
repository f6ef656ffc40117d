"""Resumed: the arguments of a command that is continued with --resume alone."""

from __future__ import annotations

from pathlib import Path

import typer

from quark_bench.errors import UsageError


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def resumed_arguments(context: typer.Context, command: str, resume: str | None, out: Path) -> list[str]:
    """The arguments that continue a run, or a sweep, without its prompt file. Raises UsageError where other options
    stand beside."""
    if resume is None:
        raise UsageError(f"name a prompt file, as in: quark-bench {command} prompts.jsonl")
    given = {name for name in context.params if _was_given(context, name)}
    if beside := sorted(given - {"resume", "out", "on", "insecure", "budget", "as_json"}):
        raise UsageError(
            f"--{beside[0].replace('_', '-')} beside --resume: a run is continued as it was begun; leave it out, "
            "or begin a new run without --resume"
        )
    moved = [f"--{name}={context.params[name]}" for name in ("on", "budget") if name in given]
    flags = [flag for flag, name in (("--insecure", "insecure"), ("--json", "as_json")) if name in given]
    return [*_begun_with(resume, out, command), *moved, *flags]


def _begun_with(named: str, out: Path, command: str) -> list[str]:
    from quark_bench.cli import run

    if command != "sweep":
        return run.arguments_of(named, out, command)
    from quark_bench.sweep_store import find_sweep, read_sweep

    path = find_sweep(named, out).resolve()
    told = read_sweep(path)
    line, folder = told.get("command"), told.get("folder")
    return run.continuing_arguments(path, line if isinstance(line, str) else None, str(folder), command)
