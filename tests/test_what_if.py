from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.arm_run import ArmRun
from quark_bench.errors import UsageError
from quark_bench.schedule import longest_path
from quark_bench.stats import Interval
from quark_bench.trials import FrameTrials, Trials
from quark_bench.what_if import FASTER, WhatIf, what_if

from .test_measures import LAYOUT, run
from .test_span_sums import Parted

ARM = ArmRun("async", False, False, 8, Interval(25.0, 24.0, 26.0, 10), None, 2)
ONE_BY_ONE = replace(ARM, one_by_one=True)
UNTIMED = Interval(None, None, None, 0, "n too small")


def of(trials: Trials, factors: Mapping[str, float] | None = None, arm: ArmRun = ARM) -> WhatIf:
    return what_if(trials, arm, LAYOUT, "join", factors or {})


@pytest.fixture
def trials() -> FrameTrials:
    return FrameTrials(*run(40))


def test_an_agent_on_the_critical_path_saves_until_its_sibling_takes_over(trials: FrameTrials) -> None:
    halved, vanished = (of(trials, {"left": factor})["mean_latency_s"] for factor in (0.5, 0.0))
    assert halved.then.value == pytest.approx(halved.now.value - 0.1)
    assert vanished.then.value == pytest.approx(halved.now.value - 0.1)  # right takes 0.1 s itself


def test_an_agent_beside_the_critical_path_saves_nothing(trials: FrameTrials) -> None:
    found = of(trials, {"right": 0.5})
    assert found.latency is not None
    assert found.latency.value == pytest.approx(1.0)
    assert found["throughput_per_s"].then.value == pytest.approx(25.0)


def test_agents_that_run_one_after_another_save_whatever_they_take_less(trials: FrameTrials) -> None:
    found = of(trials, {"right": 0.5}, ONE_BY_ONE)["mean_latency_s"]
    assert found.then.value == pytest.approx(found.now.value - 0.05)


def test_what_a_record_takes_beyond_its_agents_stays(trials: FrameTrials) -> None:
    found = of(trials, {"left": 0.5, "right": 0.5, "join": 0.5})["mean_latency_s"]
    assert found.now.value == pytest.approx(0.3 + 0.0295)
    assert found.then.value == pytest.approx(0.15 + 0.0295)


def test_an_agent_after_the_answer_does_not_hasten_it(trials: FrameTrials) -> None:
    found = what_if(trials, ARM, LAYOUT, "left", {"join": 0.5})
    assert found["mean_answer_s"].then.value == pytest.approx(found["mean_answer_s"].now.value)
    assert found["mean_latency_s"].then.value < found["mean_latency_s"].now.value


def test_a_slower_agent_makes_all_slower(trials: FrameTrials) -> None:
    found = of(trials, {"join": 2.0})
    assert found["p95_latency_s"].then.value == pytest.approx(found["p95_latency_s"].now.value + 0.1)
    assert found["throughput_per_s"].then.value < 25.0


def test_throughput_grows_as_latency_falls_with_as_many_in_flight(trials: FrameTrials) -> None:
    found = of(trials, {"left": 0.5})
    latency, rate = found["mean_latency_s"], found["throughput_per_s"]
    assert rate.then.value * latency.then.value == pytest.approx(25.0 * latency.now.value)
    assert rate.then.low / 24.0 == pytest.approx(rate.then.high / 26.0)


def test_throughput_that_was_not_measured_is_prompts_in_flight_over_latency(trials: FrameTrials) -> None:
    found = of(trials, {"left": 0.5}, replace(ARM, throughput_per_s=UNTIMED))
    assert found["throughput_per_s"].then.value == pytest.approx(8 / found["mean_latency_s"].then.value)


def test_throughput_is_bounded_by_the_cores_where_agents_burn_cpu(trials: FrameTrials) -> None:
    found = of(trials, {"left": 0.5}, replace(ARM, cpu_s=0.08))["throughput_per_s"]
    assert found.then.value == pytest.approx(2 / (0.08 * 0.75))  # work falls from 0.4 to 0.3 s
    assert "cores" in found.then.note


def test_how_busy_the_cores_were_is_known_where_cpu_time_is(trials: FrameTrials) -> None:
    assert of(trials).cores_busy is None
    assert of(trials, {}, replace(ARM, cpu_s=0.04)).cores_busy == pytest.approx(25.0 * 0.04 / 2)


def test_failures_stay_failures_slower_than_everything() -> None:
    found = of(FrameTrials(*run(40, failed=range(10))), {"left": 0.5})
    assert found["p95_latency_s"].then.value is None
    assert found["mean_latency_s"].then.n == 30


def test_gains_are_sorted_and_say_what_each_agent_alone_would_give(trials: FrameTrials) -> None:
    gains = of(trials).gains
    assert [gain.agent for gain in gains] == ["left", "join", "right"]
    assert [gain.critical_share for gain in gains] == pytest.approx([2 / 3, 1 / 3, 0.0])
    for gain in gains:
        for share, ratio in zip(FASTER, gain.latency, strict=True):
            alone = of(trials, {gain.agent: 1 - share}).latency
            assert alone is not None
            assert (ratio.value, ratio.n) == (pytest.approx(alone.value), 40)
            if alone.low is not None:
                assert (ratio.low, ratio.high) == pytest.approx((alone.low, alone.high))


def test_without_a_change_only_gains_are_told(trials: FrameTrials) -> None:
    found = of(trials)
    assert (found.latency, found.predicted, found.records) == (None, (), 40)


def test_repeats_of_a_prompt_count_as_one_in_intervals() -> None:
    found = of(FrameTrials(*run(30, repeats=3)), {"left": 0.5})
    assert found.latency is not None
    assert found.latency.n == found.gains[0].latency[0].n == 30


def test_an_arm_without_records_is_refused(trials: FrameTrials) -> None:
    with pytest.raises(UsageError, match="'sync' has no records"):
        of(trials, {}, replace(ARM, name="sync"))


@given(
    st.lists(st.integers(0, 6), max_size=5),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("left", "right", "join"), st.floats(0.01, 3.0))),
    st.booleans(),
)
def test_spans_in_parts_predict_the_same_as_at_once(
    sizes: list[int], factors: dict[str, float], one_by_one: bool
) -> None:
    tables, arm = run(12, failed=[3], repeats=2), replace(ARM, one_by_one=one_by_one)
    whole = of(FrameTrials(*tables), factors, arm)
    parted = of(Parted(*tables, sizes), factors, arm)
    assert _numbers(parted) == pytest.approx(_numbers(whole), nan_ok=True)


def _numbers(found: WhatIf) -> list[float]:
    intervals = [found.latency or UNTIMED, *(each.then for each in found.predicted)]
    intervals += [ratio for gain in sorted(found.gains, key=lambda gain: gain.agent) for ratio in gain.latency]
    return [math.nan if end is None else end for each in intervals for end in (each.value, each.low, each.high)]


@given(
    st.lists(st.tuples(*[st.floats(0.001, 2.0)] * 3), min_size=1, max_size=12),
    st.tuples(*[st.floats(0.1, 3.0)] * 3),
    st.floats(0.0, 0.5),
)
def test_latency_is_the_new_critical_path_and_the_old_overhead(
    durations_s: Sequence[tuple[float, ...]], factor: tuple[float, ...], overhead_s: float
) -> None:
    needs = ((), (), (0, 1))
    paths_s = [longest_path(each, needs) for each in durations_s]
    thens_s = [longest_path([a * b for a, b in zip(each, factor, strict=True)], needs) for each in durations_s]
    records, spans = run(len(durations_s))
    records["latency_s"] = np.array(paths_s) + overhead_s
    flat = pd.Series([value for each in durations_s for value in each], index=spans.index)
    spans["end_s"] = spans["start_s"] + flat
    found = of(FrameTrials(records, spans), dict(zip(("left", "right", "join"), factor, strict=True)))
    expected = float(np.mean(thens_s)) + overhead_s
    assert found["mean_latency_s"].then.value == pytest.approx(expected, rel=1e-2 if overhead_s < 0.01 else 1e-6)
