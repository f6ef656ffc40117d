"""The commands: arguments become values, values go through a door, and an exit code comes out."""

from __future__ import annotations

import sys
import traceback

from quark_bench.errors import ExecutionError, QuarkBenchError
from quark_bench.plain import plain
from quark_bench.redact import redact

EXIT_INTERRUPTED = 130


def main() -> None:
    """Entry point of `quark-bench`: the one place where an error becomes a message and an exit code."""
    try:
        from quark_bench.cli.app import call
        from quark_bench.cli.memory import give_back_freed_memory

        give_back_freed_memory()
        code = call(sys.argv[1:])
    except QuarkBenchError as error:
        print(f"quark-bench: {plain(redact(str(error)))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("quark-bench: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - Python's own exit code, 1, would say that an objective was missed
        print(plain(redact(traceback.format_exc())), file=sys.stderr)
        print("quark-bench: this is a fault of quark-bench; please report it with the lines above", file=sys.stderr)
        code = ExecutionError.exit_code
    sys.exit(code)
