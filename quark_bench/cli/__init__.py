"""The commands: arguments become values, values go through a door, and an exit code comes out."""

from __future__ import annotations

import sys

from quark_bench.errors import QuarkBenchError

EXIT_INTERRUPTED = 130


def main() -> None:
    """Entry point of `quark-bench`: the one place where an error becomes a message and an exit code."""
    from quark_bench.cli.app import call

    try:
        code = call(sys.argv[1:])
    except QuarkBenchError as error:
        print(f"quark-bench: {error}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away, as `| head` does
        code = 0
    if code == EXIT_INTERRUPTED:
        print("quark-bench: interrupted; what was finished is in the run's folder (quark-bench ls)", file=sys.stderr)
    sys.exit(code)
