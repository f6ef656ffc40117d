from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from quark_bench.arm_run import Overheads
from quark_bench.capacity import Asked, Capacity, capacity
from quark_bench.report.capacity_figure import capacity_figure
from quark_bench.report.capacity_table import capacity_table, walls_told
from quark_bench.simulation import Place
from quark_bench.trials import FrameTrials

from .test_capacity import ARM
from .test_measures import LAYOUT, run


@pytest.fixture
def found() -> Capacity:
    asked = Asked((1, 2, 1_000), (1, 64), Place(1, by_agent=True), {"left": 0.5})
    tasks = Overheads(0.01, 0.001, measured=True)
    return capacity(FrameTrials(*run(20)), ARM, LAYOUT, asked, tasks, np.random.default_rng(0))


def told(found: Capacity) -> str:
    written = io.StringIO()
    Console(width=80, file=written).print(capacity_table(found, "Capacity"))
    return written.getvalue()


def test_it_says_where_which_wall_begins_and_what_to_do(found: Capacity) -> None:
    lines = list(walls_told(found))
    assert lines[:2] == [
        "1 in flight: the wall is critical path.",
        "64 in flight: the wall is workers; from 2 workers on: prompts in flight.",
    ]
    assert [line.split(":")[0] for line in lines[2:]] == ["- critical path", "- workers", "- prompts in flight"]


def test_it_says_what_it_was_simulated_with(found: Capacity) -> None:
    text = " ".join(told(found).split())
    assert "drawn from async, left x 0.5" in text
    assert "1 core a worker, 8.00 ms CPU a prompt" in text
    assert "A hop takes 10.0 ms, a task 1.00 ms of the scheduler: measured with the run." in text


def test_costs_are_a_column_where_there_are_any_and_all_fits_80_columns(found: Capacity) -> None:
    free = replace(found, points=tuple(replace(point, cost_usd_per_h=0.0) for point in found.points))
    assert "cost/h" in told(found)
    assert "cost/h" not in told(free)
    assert max(map(len, told(found).splitlines())) <= 80


def test_the_figure_is_the_same_for_the_same_and_names_the_walls(found: Capacity) -> None:
    drawn = capacity_figure(found, "Capacity, <b>", "svg")
    assert drawn == capacity_figure(found, "Capacity, <b>", "svg")
    text = drawn.decode()
    assert "64 in flight" in text
    assert "prompts in flight" in text
    assert "<b>" not in text
    assert capacity_figure(found, "Capacity", "png").startswith(b"\x89PNG")
