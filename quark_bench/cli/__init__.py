"""The commands: arguments become values, values go through a door, and an exit code comes out."""

from __future__ import annotations

import importlib
import io
import sys
import traceback

from quark_bench.errors import ExecutionError, QuarkBenchError
from quark_bench.plain import plain
from quark_bench.redact import redact

EXIT_INTERRUPTED = 130


def main() -> None:
    """Entry point of `quark-bench`."""
    _leave("quark-bench", "quark_bench.cli.app")


def main_live() -> None:
    """Entry point of `meta-async`: what a person types or an agent answers may be more than the terminal has."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    _leave("meta-async", "quark_bench.cli.meta_async")


def _leave(program: str, home: str) -> None:
    """The one place where an error becomes a message and an exit code; `home` is the module of the commands."""
    try:
        from quark_bench.cli.memory import give_back_freed_memory

        give_back_freed_memory()
        code = importlib.import_module(home).call(sys.argv[1:])
    except QuarkBenchError as error:
        print(f"{program}: {plain(redact(str(error)))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - Python's own exit code, 1, would say that an objective was missed
        print(plain(redact(traceback.format_exc())), file=sys.stderr)
        print(f"{program}: this is a fault of quark-bench; please report it with the lines above", file=sys.stderr)
        code = ExecutionError.exit_code
    sys.exit(code)
