"""The table of a soak: what was done, how often, and what came of it, kept beside the tests."""

import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest

RESULTS = Path(__file__).with_name("RESULTS.md")


@pytest.fixture(scope="session")
def table():
    """Rows of (fault, what was asserted, what came, seconds), written when the session ends."""
    rows = []
    yield rows
    if rows:
        RESULTS.write_text(
            "# What `make soak` found\n\n"
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, 2 shared cores; "
            "every row is real processes, really killed.\n\n"
            "| fault | must hold | came out | took |\n|---|---|---|--:|\n"
            + "".join(f"| {fault} | {law} | {came} | {took_s:.0f} s |\n" for fault, law, came, took_s in rows)
        )
