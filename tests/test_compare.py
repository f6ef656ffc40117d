from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.compare import MOST_NAMED, Ratio, attribute, compare_arms
from quark_bench.measures import Measure
from quark_bench.units import RATIO, SCORE, SHARE, Direction

MEASURES = {
    "speed_up_bound": Measure("speed_up_bound", 2.0, RATIO, Direction.NEITHER),
    "parallel_efficiency": Measure("parallel_efficiency", 0.9, SHARE, Direction.HIGHER),
    "score_exact": Measure("score_exact", 0.5, SCORE, Direction.HIGHER),
    "score_exact_answered": Measure("score_exact_answered", 0.5, SCORE, Direction.HIGHER),
}


def arm(
    name: str,
    latency_s: float,
    *,
    prompts: int = 40,
    blocks: int = 4,
    repeats: int = 1,
    in_flight: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Records of an arm whose latencies scatter by 5 % around `latency_s`; `in_flight` prompts end together."""
    random = np.random.default_rng([seed, *name.encode()])
    rows = []
    for repeat in range(repeats):
        start_s = np.zeros(in_flight)
        for n in range(prompts):
            took_s = latency_s * float(np.exp(random.normal(0, 0.05)))
            slot = n % in_flight
            rows.append(
                {
                    "session": 0,
                    "arm": name,
                    "repeat": repeat,
                    "block": 100 * repeat + 10 * (n * blocks // prompts) + len(name),
                    "prompt_id": f"p{n}",
                    "status": "ok",
                    "answer": f"answer {n}",
                    "start_s": start_s[slot],
                    "latency_s": took_s,
                    "score_exact": float(n % 2),
                }
            )
            start_s[slot] += took_s
    return pd.DataFrame(rows)


SYNC, PARALLEL, ASYNC = arm("sync", 1.0), arm("parallel", 0.5), arm("async", 0.55, in_flight=4)
RUN = pd.concat([SYNC, PARALLEL, ASYNC], ignore_index=True)


def compared(records: pd.DataFrame, a: str = "sync", b: str = "parallel") -> Any:
    return compare_arms(records, a, b, MEASURES, MEASURES)


def near(value: float) -> Any:
    return pytest.approx(value, rel=0.05)


def test_an_arm_of_half_the_latency_is_twice_as_fast() -> None:
    found = compared(RUN)
    assert found.latency.value == near(2.0)
    assert found.latency.low < found.latency.value < found.latency.high
    assert found.latency_sums == near(2.0)
    assert found.throughput.value == near(2.0)
    assert (found.pairs, found.lost_pairs) == (40, 0)
    assert (found.work_over_critical_path, found.parallel_efficiency) == (2.0, 0.9)
    assert 0 < found.mde < 0.1


def test_an_arm_against_itself_is_as_fast_and_has_no_interval() -> None:
    found = compared(RUN, "sync", "sync")
    assert found.latency.value == 1.0
    assert found.latency.note == "all values equal"
    assert found.answers_differ_count == 0


def test_arms_of_equal_speed_are_rarely_called_different() -> None:
    called = 0
    for seed in range(60):
        found = compared(pd.concat([arm("sync", 1.0, seed=seed), arm("parallel", 1.0, seed=seed)])).latency
        called += not found.low < 1 < found.high
    assert called <= 6


def test_a_pair_that_failed_in_either_arm_is_lost() -> None:
    records = RUN.copy()
    records.loc[(records["prompt_id"] == "p1") & (records["arm"] == "sync"), "status"] = "failed"
    records.loc[(records["prompt_id"] == "p2") & (records["arm"] == "parallel"), "status"] = "failed"
    records = records[~((records["prompt_id"] == "p3") & (records["arm"] == "parallel"))]
    found = compared(records)
    assert (found.pairs, found.lost_pairs) == (37, 3)


def test_a_pair_measured_in_different_sessions_is_lost_but_its_answers_count() -> None:
    records = RUN.copy()
    moved = (records["prompt_id"].isin(["p38", "p39"])) & (records["arm"] == "parallel")
    records.loc[moved, "session"] = 1
    records.loc[moved, "answer"] = "another"
    found = compared(records)
    assert (found.pairs, found.lost_pairs) == (38, 2)
    assert found.answers_differ == ("p38", "p39")
    assert found.throughput.n == 3


def test_the_first_prompts_of_different_answers_are_named_and_all_are_counted() -> None:
    records = RUN.copy()
    records.loc[records["arm"] == "parallel", "answer"] = "no"
    found = compared(records)
    assert len(found.answers_differ) == MOST_NAMED
    assert found.answers_differ[0] == "p0"
    assert found.answers_differ_count == 40


def test_two_answers_of_nothing_are_the_same() -> None:
    assert compared(RUN.assign(answer=None)).answers_differ_count == 0


def test_scores_are_compared_with_failures_as_zero() -> None:
    records = RUN.copy()
    failed = (records["prompt_id"].isin([f"p{n}" for n in range(10)])) & (records["arm"] == "parallel")
    records.loc[failed, "status"] = "failed"
    found = compared(records).scores
    assert list(found) == ["exact"]
    assert found["exact"].value == pytest.approx(-5 / 40)
    assert found["exact"].low < -5 / 40 < found["exact"].high < 0


def test_equal_scores_differ_by_nothing() -> None:
    found = compared(RUN).scores["exact"]
    assert (found.value, found.low, found.note) == (0.0, None, "all values equal")


def test_repeats_are_averaged_by_prompt() -> None:
    found = compared(pd.concat([arm("sync", 1.0, repeats=3), arm("parallel", 0.5, repeats=3)]))
    assert found.pairs == 120
    assert found.latency.n == 40
    assert found.throughput.n == 12


def test_one_block_gives_a_ratio_of_throughputs_without_interval() -> None:
    found = compared(pd.concat([arm("sync", 1.0, blocks=1), arm("parallel", 0.5, blocks=1)])).throughput
    assert found.value == near(2.0)
    assert (found.low, found.note) == (None, "n too small: 2 blocks needed")


def test_the_gain_splits_into_branches_and_prompts_in_flight() -> None:
    throughput, latency = attribute(RUN)
    assert throughput.branches.value == near(2.0)
    assert throughput.in_flight.value == pytest.approx(4 / 1.1, rel=0.2)
    assert latency.branches.value == near(2.0)
    assert latency.in_flight.value == near(1 / 1.1)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 3))
def test_the_parts_of_a_gain_multiply_to_the_whole(seed: int, prompts: int, repeats: int) -> None:
    arms = {"sync": 1, "parallel": 1, "async": 3}
    records = pd.concat(
        [arm(name, 1.0, prompts=prompts, repeats=repeats, in_flight=n, seed=seed) for name, n in arms.items()]
    )
    for found in attribute(records):
        assert found.branches.value * found.in_flight.value == found.total.value
        if found.total.low is not None:
            assert found.total.low <= found.total.value <= found.total.high


def test_the_parts_multiply_also_where_an_arm_lost_prompts() -> None:
    records = RUN.copy()
    records.loc[(records["prompt_id"] == "p1") & (records["arm"] == "async"), "status"] = "failed"
    throughput, latency = attribute(records)
    assert latency.branches.n == latency.in_flight.n == latency.total.n == 39
    assert throughput.total.value == throughput.branches.value * throughput.in_flight.value


def test_a_missing_arm_leaves_nothing_to_attribute() -> None:
    for found in attribute(pd.concat([SYNC, PARALLEL])):
        assert found.total == Ratio(None, None, None, 0, "no pairs")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("records", [pd.DataFrame(), RUN[:0], RUN[:1], RUN.assign(status="failed")])
@pytest.mark.parametrize("measures", [{}, MEASURES])
def test_nothing_to_compare_neither_raises_nor_warns(records: pd.DataFrame, measures: Mapping[str, Measure]) -> None:
    found = compare_arms(records, "sync", "parallel", measures, measures)
    assert (found.latency.value, found.latency.note, found.mde) == (None, "no pairs", None)
    assert found.pairs == 0
    attribute(records)
