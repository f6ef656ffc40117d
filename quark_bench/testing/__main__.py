"""`python -m quark_bench.testing`: a model server from the command line."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any

from quark_bench.errors import ExecutionError, UsageError
from quark_bench.testing.faults import KINDS
from quark_bench.testing.laws import Law
from quark_bench.testing.limits import RateLimit
from quark_bench.testing.model_server import ModelServer
from quark_bench.testing.sustained import sustained_rps
from quark_bench.units import PER_SECOND, SECONDS

EXAMPLES = """
examples:
  python -m quark_bench.testing --port 8000
  python -m quark_bench.testing --first-token-ms 200 --cv 0.3 --knee 16
  python -m quark_bench.testing --fault '429: share=0.1, retry_after_s=2' \\
                                --fault 'stall: nth=20, after_tokens=5'
  python -m quark_bench.testing --requests-per-s 50 --concurrent 8
  python -m quark_bench.testing --measure
"""
MEASURED = 10_000
FAULT_OPTIONS = """
a fault is KIND: name=value, ...   with any of
  share=0.1  nth=10-20  pattern=REGEX  attempts=1  after_tokens=3  body=false
  retry_after_s=2  retry_after_form=seconds|date|ms  lasts_s=5  megabytes=10
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or the time limit; the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        server = _server(asked)
        with server:
            return _measure(server) if asked.measure else _wait(server, asked.stop_after_s)
    except (UsageError, ExecutionError) as error:
        print(textwrap.fill(f"error: {error}", 80), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _server(asked: argparse.Namespace) -> ModelServer:
    def law(milliseconds: float) -> Law:
        seconds = 0.0 if asked.measure else milliseconds / 1_000
        return Law(seconds, asked.cv, asked.tail_share, asked.tail_factor, asked.knee)

    limits: dict[str, Any] = {name: getattr(asked, name) for name in ("requests_per_s", "tokens_per_minute")}
    limit = RateLimit(**limits, concurrent=asked.concurrent)
    return ModelServer(
        first_token_s=law(asked.first_token_ms),
        between_tokens_s=law(asked.between_tokens_ms),
        tokens=asked.tokens,
        seed=asked.seed,
        answer=asked.answer,
        usage=not asked.no_usage,
        model=asked.model,
        key=_key(asked.key_env),
        faults=asked.fault,
        rate_limit=None if limit == RateLimit() else limit,
        port=asked.port,
    )


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if key := os.environ.get(variable):
        return key
    raise UsageError(f"--key-env {variable}: that variable is not set; set it to the key that clients must send")


def _measure(server: ModelServer) -> int:
    before_s = server.stats()["cpu_s"]
    rate = sustained_rps(server.base_url, MEASURED)
    cpu_s = (server.stats()["cpu_s"] - before_s) / MEASURED
    print(f"{PER_SECOND.format(rate)} over 64 connections, streamed, each answer in two writes")
    print(f"the server took {SECONDS.format(cpu_s)} of CPU for each, {PER_SECOND.format(1 / cpu_s)} on a whole core")
    return 0


def _wait(server: ModelServer, seconds: float) -> int:
    print(server.base_url, flush=True)
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        print()
    stats = server.stats()
    by_status = ", ".join(f"{count:,} x {status or 'dropped'}" for status, count in sorted(stats["by_status"].items()))
    print(f"{stats['requests']:,} requests{': ' if by_status else ''}{by_status}")
    return 0


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {name:<16} {what}" for name, what in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m quark_bench.testing",
        description="A model server on 127.0.0.1 for tests, in OpenAI's protocol.\nPrints its URL.",
        epilog=f"{EXAMPLES}{FAULT_OPTIONS}kinds of faults:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="N", help="default: any that is free")
    add("--first-token-ms", type=float, default=100, metavar="MS", help="default 100")
    add("--between-tokens-ms", type=float, default=10, metavar="MS", help="default 10")
    add("--cv", type=float, default=0.0, help="latencies vary, lognormal; 0.2: by about 20 %%")
    add("--tail-share", type=float, default=0.0, metavar="SHARE", help="a share of requests is slow")
    add("--tail-factor", type=float, default=10.0, metavar="K", help="how many times slower; default 10")
    add("--knee", type=int, metavar="N", help="above N requests at once all are slower")
    add("--tokens", type=int, default=20, metavar="N", help="words of an answer; default 20")
    add("--seed", type=int, default=0, metavar="N", help="of latencies and faults; default 0")
    add("--answer", metavar="TEXT", help="'echo' for the user's last message; default: filler")
    add("--no-usage", action="store_true", help="tell no usage")
    add("--model", default="test-model", metavar="NAME", help="what /v1/models lists")
    add("--key-env", metavar="NAME", help="demand the key in this environment variable")
    add("--fault", action="append", default=[], metavar="FAULT", help="see below; again for more")
    add("--requests-per-s", type=float, metavar="N", help="answer 429 beyond it")
    add("--tokens-per-minute", type=float, metavar="N", help="answer 429 beyond it")
    add("--concurrent", type=int, metavar="N", help="answer 429 beyond so many at once")
    add("--stop-after-s", type=float, default=3_600, metavar="S", help="default 3600")
    add("--measure", action="store_true", help="measure what it sustains here, at no latency")
    return parser


if __name__ == "__main__":
    sys.exit(main())
