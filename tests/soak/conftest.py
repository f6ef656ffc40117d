"""The tables of a soak: what was done, what had to hold and what came of it, kept beside the tests."""

import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest

TABLES = {
    "test_soak": ("RESULTS.md", "kills and crowds", "every row is real processes, really killed"),
    "test_arrivals": ("ARRIVALS.md", "arrivals", "1,000 Poisson arrivals a row, seven agents that sleep"),
    "test_gates": ("GATES.md", "gates", "two gates at a time, each on two worker processes a side"),
}
"""By test module: file, what it is about, and how it was done."""


@pytest.fixture(scope="module")
def table(request):
    """Rows of (what was done, what had to hold, what came, seconds), written when the module ends."""
    module = request.module.__name__.rpartition(".")[2]
    file, about, how = TABLES[module]
    rows = []
    yield rows
    if rows:
        Path(__file__).with_name(file).write_text(
            f"# What `make soak` found: {about}\n\n"
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `pytest -m soak tests/soak/{module}.py`, Python "
            f"{platform.python_version()}, 2 shared cores; {how}.\n\n"
            "| done | must hold | came out | took |\n|---|---|---|--:|\n"
            + "".join(f"| {done} | {law} | {came} | {took_s:.0f} s |\n" for done, law, came, took_s in rows)
        )
