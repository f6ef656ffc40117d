"""Program: a command line with a function a command and a parameter an option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

PipelineName = Annotated[str, typer.Option("--pipeline", help="FILE.py:NAME, package.module:NAME, or quark.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all text on stderr.")]


def make_app(name: str, exit_codes: str) -> typer.Typer:
    """An app without commands yet; `exit_codes` ends its help."""
    return typer.Typer(
        name=name,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
        epilog=f"Exit codes: {exit_codes}",
    )


def run_app(app: typer.Typer, arguments: Sequence[str], line: str, settings: Mapping[str, Any] | None = None) -> int:
    """Run the command that the arguments name; its exit code, which is 130 after Ctrl-C.

    `line` is what the commands get as their context's `obj`; `settings` are defaults by command and option. Raises
    QuarkBenchError.
    """
    name = app.info.name
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), name, standalone_mode=False, obj=line, default_map=settings)
    except TyperException as error:  # wrong usage: it knows how to say so, though its type does not tell
        getattr(error, "show")()  # noqa: B009
        return int(getattr(error, "exit_code", 2))
    return int(code or 0)


def version_option(name: str) -> Any:
    """The type of an option that prints the version and leaves."""

    def tell(asked: bool) -> None:
        if asked:
            from quark_bench import __version__

            typer.echo(f"{name} {__version__}")
            raise typer.Exit

    return typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=tell)
