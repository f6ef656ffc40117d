from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.arm_run import ArmRun
from quark_bench.demand import Demand, draw
from quark_bench.errors import UsageError
from quark_bench.stats import Interval
from quark_bench.trials import FrameTrials

from .test_measures import LAYOUT, run
from .test_span_sums import Parted

ARM = ArmRun("async", False, False, 8, Interval(25.0, 24.0, 26.0, 10), None, 2)


def drawn(prompts: int, arm: ArmRun = ARM, seed: int = 0, **factors: float) -> Demand:
    return draw(FrameTrials(*run(10)), arm, LAYOUT, factors, prompts, np.random.default_rng(seed))


def test_every_prompt_comes_once_before_any_comes_again() -> None:
    overheads = Counter(np.round(drawn(25).overhead_s, 6))
    assert sorted(overheads.values()) == [2] * 5 + [3] * 5


def test_a_prompt_is_drawn_whole_with_what_it_took_beyond_its_agents() -> None:
    found = drawn(10)
    assert found.durations_s == pytest.approx(np.tile([0.2, 0.1, 0.1], (10, 1)))
    assert np.sort(found.overhead_s) == pytest.approx(0.01 + np.arange(10) / 1_000)
    assert found.cost_usd == pytest.approx(0.01)


def test_the_same_seed_draws_the_same() -> None:
    assert drawn(10, seed=3).overhead_s.tolist() == drawn(10, seed=3).overhead_s.tolist()
    assert drawn(10, seed=3).overhead_s.tolist() != drawn(10, seed=4).overhead_s.tolist()


def test_changed_agents_are_drawn_changed_and_the_overhead_stays() -> None:
    found = drawn(10, left=0.5, join=0.0)
    assert found.durations_s == pytest.approx(np.tile([0.1, 0.1, 0.0], (10, 1)))
    assert found.overhead_s.sum() == pytest.approx(drawn(10).overhead_s.sum())


def test_the_overhead_of_tasks_is_a_matter_of_the_place() -> None:
    assert not drawn(10, replace(ARM, by_agent=True)).overhead_s.any()


def test_of_agents_one_after_another_the_overhead_is_beyond_their_work() -> None:
    assert drawn(10, replace(ARM, one_by_one=True)).overhead_s.max() == 0.0  # work is longer than these latencies


@given(st.floats(0.0001, 2.0))
def test_a_core_is_busy_for_no_more_than_was_measured(cpu_s: float) -> None:
    found = drawn(10, replace(ARM, cpu_s=cpu_s))
    assert found.cpu_s <= cpu_s + 1e-9
    assert found.cpu_s == pytest.approx(min(cpu_s, 0.4 + found.overhead_s.mean()))


@given(st.lists(st.integers(0, 6), max_size=5))
def test_spans_in_parts_draw_the_same_as_at_once(sizes: list[int]) -> None:
    tables = run(12, repeats=2)
    tables[1]["end_s"] += tables[1]["prompt_id"].str[1:].astype(int)
    whole, parted = (
        draw(trials, ARM, LAYOUT, {}, 20, np.random.default_rng(1))
        for trials in (FrameTrials(*tables), Parted(*tables, sizes))
    )
    assert whole.durations_s == pytest.approx(parted.durations_s)


def test_an_arm_without_records_is_refused() -> None:
    with pytest.raises(UsageError, match="no records"):
        drawn(10, replace(ARM, name="sync"))
