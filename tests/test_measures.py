from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest

from quark_bench.measures import Measure, agent_table, measure_arm, measure_names
from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials
from quark_bench.units import SCORE, SECONDS

LAYOUT = (("left", ()), ("right", ()), ("join", ("left", "right")))
LEFT_S, RIGHT_S, JOIN_S = 0.2, 0.1, 0.1

Tables = tuple[pd.DataFrame, pd.DataFrame]


def run(prompts: int, *, failed: Sequence[int] = (), repeats: int = 1, blocks: int = 1, scores: bool = False) -> Tables:
    """Records and spans of one arm that runs prompts one after another: left beside right, then join.

    Each latency is 10 ms longer than its critical path of 0.3 s, and prompt n waits n ms more.
    """
    records, spans = [], []
    for repeat in range(repeats):
        clock_s = 0.0
        for n in range(prompts):
            block = repeat * blocks + n * blocks // prompts
            here = {"session": 0, "arm": "async", "repeat": repeat, "block": block, "chunk": 0, "prompt_id": f"p{n}"}
            latency_s = 0.31 + n / 1_000
            status = "failed" if n in failed else "ok"
            records.append(here | _record(clock_s, latency_s, status, n / prompts if scores else None))
            spans += [here | span for span in _spans(clock_s, failed=n in failed)]
            clock_s += latency_s
    table = pd.DataFrame(records)
    return (table if scores else table.drop(columns="score_exact")), pd.DataFrame(spans)


def _record(start_s: float, latency_s: float, status: str, score: float | None) -> dict[str, Any]:
    return {
        "status": status,
        "error": "ValueError: none" if status == "failed" else None,
        "fallbacks": 0,
        "due_s": start_s,
        "start_s": start_s,
        "latency_s": latency_s,
        "answer_s": None if status == "failed" else latency_s,
        "service_s": 0.3,
        "work_s": LEFT_S + RIGHT_S + JOIN_S,
        "critical_path_s": LEFT_S + JOIN_S,
        "tokens_in": 10,
        "tokens_out": 5,
        "cost_usd": 0.01,
        "score_exact": 0.0 if status == "failed" else score,
    }


def _spans(start_s: float, *, failed: bool) -> list[dict[str, Any]]:
    rows = [
        ("left", 1, "ok", 0.0, LEFT_S),
        ("right", 1, "failed" if failed else "ok", 0.0, RIGHT_S),
        ("join", 0 if failed else 1, "skipped" if failed else "ok", LEFT_S, LEFT_S + JOIN_S),
    ]
    return [
        {
            "agent": agent,
            "attempt": attempt,
            "status": status,
            "error": "ValueError: none" if status == "failed" else None,
            "start_s": start_s + begin_s,
            "end_s": start_s + end_s,
            "queue_s": 0.001,
            "tokens_in": 10,
            "tokens_out": 5,
            "simulated_s": (end_s - begin_s) / 2,
        }
        for agent, attempt, status, begin_s, end_s in rows
    ]


def measured(tables: Tables, usage: Sequence[Mapping[str, Any]] = ()) -> dict[str, Measure]:
    trials = FrameTrials(*tables)
    return measure_arm(trials, "async", sum_spans(trials, "async", LAYOUT), 1, usage)


def table_of(tables: Tables) -> pd.DataFrame:
    trials = FrameTrials(*tables)
    return agent_table(sum_spans(trials, "async", LAYOUT), LAYOUT)


def test_every_measure_has_its_name_and_unit() -> None:
    found = measured(run(20, scores=True))
    assert tuple(found) == measure_names(["exact"])
    assert all(measure.name == name for name, measure in found.items())
    assert found["p95_latency_s"].unit is SECONDS
    assert found["score_exact"].unit is SCORE


def test_latencies_are_those_of_the_records() -> None:
    found = measured(run(100))
    assert found["mean_latency_s"].value == pytest.approx(0.31 + 0.0495)
    assert found["p50_latency_s"].value == pytest.approx(0.31 + 0.0495)
    assert found["p50_latency_s"].low == pytest.approx(0.31 + 0.039)
    assert found["p99_latency_s"].note == "n too small: 368 needed"


def test_what_branches_could_give_and_what_they_gave() -> None:
    found = measured(run(21))
    assert found["speed_up_bound"].value == pytest.approx(4 / 3)
    assert found["parallel_efficiency"].value == pytest.approx(0.3 / 0.32)
    assert found["orchestration_overhead_s"].value == pytest.approx(0.02)


def test_a_failure_is_slower_than_everything_in_percentiles_and_left_out_of_means() -> None:
    found = measured(run(20, failed=range(10)))
    assert found["p90_latency_s"].value is None
    assert "failed" in found["p90_latency_s"].note
    assert found["mean_latency_s"].value == pytest.approx(0.31 + 0.0145)
    assert found["mean_latency_s"].note == "without 10 failed"
    assert found["failed_share"].value == 0.5
    assert found["failed_share"].low == pytest.approx(0.299, abs=1e-3)


def test_goodput_is_the_throughput_of_answered_records() -> None:
    whole, half = measured(run(40)), measured(run(40, failed=range(0, 40, 2)))
    assert whole["goodput_per_s"].value == whole["throughput_per_s"].value
    assert half["goodput_per_s"].value == pytest.approx(half["throughput_per_s"].value / 2, rel=0.06)
    assert measured(run(40, failed=range(40)))["goodput_per_s"].value == 0


def test_a_score_counts_failures_as_zero_and_the_answered_one_leaves_them_out() -> None:
    found = measured(run(4, failed=[3], scores=True))
    assert found["score_exact"].value == pytest.approx((0 + 0.25 + 0.5) / 4)
    assert found["score_exact_answered"].value == pytest.approx(0.25)


def test_an_answer_that_was_not_scored_is_no_zero() -> None:
    records, spans = run(4, scores=True)
    records.loc[0, "score_exact"] = math.nan
    assert measured((records, spans))["score_exact"].value == pytest.approx(0.5)


def test_concurrency_is_counted_within_a_prompt() -> None:
    found = measured(run(10))
    assert found["concurrent_agents"].value == 2
    assert found["concurrent_agents_mean"].value == pytest.approx(0.4 / 0.3)
    assert found["parallel_rate"].value == pytest.approx(0.5)
    assert found["ideal_parallel_rate"].value == pytest.approx(0.5)


def test_concurrency_across_the_run_sees_other_prompts_of_the_block() -> None:
    records, spans = run(10)
    together = spans.groupby("prompt_id")["start_s"].transform("min")
    spans = spans.assign(start_s=spans["start_s"] - together, end_s=spans["end_s"] - together)
    found = measured((records, spans))
    assert found["concurrent_agents"].value == 2
    assert found["agents_under_way_max"].value == 20


def test_a_sequential_arm_has_no_parallel_rate_but_an_ideal_one() -> None:
    records, spans = run(10)
    later = (spans["agent"] != "left") * 0.5 + (spans["agent"] == "join") * 0.5
    found = measured((records, spans.assign(start_s=spans["start_s"] + later, end_s=spans["end_s"] + later)))
    assert found["parallel_rate"].value == 0
    assert found["ideal_parallel_rate"].value == pytest.approx(0.5)


def test_throughput_is_completions_a_second() -> None:
    found = measured(run(200, blocks=10))["throughput_per_s"]
    assert found.value == pytest.approx(1 / 0.41, rel=0.02)
    assert found.low is not None
    assert found.note == ""


def test_the_pause_between_sessions_is_no_part_of_throughput() -> None:
    records, spans = run(100, blocks=5)
    resumed = records.assign(
        session=(records["block"] > 2).astype(int),
        **{name: records[name] + 1e4 * (records["block"] > 1) for name in ("due_s", "start_s")},
    )
    expected = measured((records, spans))["throughput_per_s"].value
    assert measured((resumed, spans))["throughput_per_s"].value == pytest.approx(expected)


def test_cpu_is_a_prompt_and_memory_the_peak_of_the_arm() -> None:
    usage = [{"block": n, "arm": "async", "cpu_s": 2.0 + n, "peak_memory_bytes": 100.0 + n} for n in range(5)]
    other = [{"block": 9, "arm": "sync", "cpu_s": 1e9, "peak_memory_bytes": 1e9}]
    found = measured(run(50, blocks=5), usage + other)
    assert found["cpu_s_per_prompt"].value == pytest.approx(0.4)
    assert found["cpu_s_per_prompt"].low is not None
    assert found["peak_memory_bytes"].value == 104


@pytest.mark.parametrize(
    "usage", [[], [{"block": 0, "arm": "async", "cpu_s": None, "peak_memory_bytes": None}], [{"arm": "async"}]]
)
def test_usage_that_was_not_measured_says_so(usage: list[dict[str, Any]]) -> None:
    found = measured(run(5), usage)
    for name in ("cpu_s_per_prompt", "peak_memory_bytes"):
        assert (found[name].value, found[name].note) == (None, "not measured")


def test_totals_are_sums_and_retries_are_attempts_beyond_the_first() -> None:
    records, spans = run(5)
    spans.loc[0, "attempt"] = 2
    spans.loc[1, "attempt"] = 3
    found = measured((records, spans))
    assert [found[name].value for name in ("tokens_in", "tokens_out", "retries")] == [50, 25, 2]
    assert found["cost_usd"].value == pytest.approx(0.05)


def test_repeats_of_a_prompt_count_once_in_intervals() -> None:
    once, thrice = measured(run(40)), measured(run(40, repeats=3))
    assert thrice["mean_latency_s"].low == pytest.approx(once["mean_latency_s"].low)
    assert thrice["p50_latency_s"].high == pytest.approx(once["p50_latency_s"].high)
    assert thrice["failed_share"].high == pytest.approx(once["failed_share"].high)


def test_spans_of_other_arms_are_passed_over() -> None:
    records, spans = run(10)
    both = pd.concat([spans, spans.assign(arm="sync", end_s=spans["end_s"] + 5)])
    assert measured((records, both)) == measured((records, spans))
    pd.testing.assert_frame_equal(table_of((records, both)), table_of((records, spans)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("prompts", [0, 1, 2])
@pytest.mark.parametrize("with_spans", [True, False])
def test_little_or_nothing_neither_raises_nor_warns(prompts: int, with_spans: bool) -> None:
    records, spans = run(prompts or 1, scores=True)
    records = records[:prompts]
    spans = spans if with_spans else pd.DataFrame()
    found = measured((records, spans))
    assert tuple(found) == measure_names(["exact"])
    assert all(measure.value is not None or measure.note for measure in found.values())
    assert len(table_of((records, spans))) == 3


@pytest.mark.filterwarnings("error")
def test_tables_without_columns_measure_nothing() -> None:
    found = measured((pd.DataFrame(), pd.DataFrame()))
    assert {measure.note for measure in found.values()} == {"no records"}
    assert table_of((pd.DataFrame(), pd.DataFrame()))["calls"].tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("error")
def test_an_arm_where_everything_failed_is_measured_without_a_warning() -> None:
    records, spans = run(10, failed=range(10), scores=True)
    records[["critical_path_s", "latency_s"]] = 0.0
    found = measured((records, spans))
    assert found["mean_latency_s"].value is None
    assert found["score_exact"].value == 0
    assert found["failed_share"].high == 1


def test_calls_that_were_answered_by_equal_ones_are_counted_and_are_no_agents_time() -> None:
    records, spans = run(4)
    answered = (spans["agent"] == "left") & spans["prompt_id"].isin(["p1", "p2"])
    spans.loc[answered, ["status", "attempt"]] = ["cached", 0]
    spans.loc[answered, "start_s"] = spans.loc[answered, "end_s"]
    shared_failure = (spans["agent"] == "right") & (spans["prompt_id"] == "p3")
    spans.loc[shared_failure, ["status", "attempt"]] = ["failed", 0]
    table = table_of((records, spans))
    assert table["cached"].to_dict() == {"left": 2, "right": 0, "join": 0}
    assert table["calls"].to_dict() == {"left": 2, "right": 3, "join": 4}
    assert table["failed"].to_dict() == {"left": 0, "right": 0, "join": 0}
    assert table.loc["left", "mean_s"] == pytest.approx(LEFT_S)
    assert measured((records, spans))["cached_calls"].value == 2


def test_the_agent_table_tells_calls_from_attempts() -> None:
    records, spans = run(4, failed=[0])
    retried = spans[(spans["prompt_id"] == "p1") & (spans["agent"] == "left")].assign(attempt=2)
    table = table_of((records, pd.concat([spans, retried])))
    assert table["calls"].to_dict() == {"left": 4, "right": 4, "join": 3}
    assert table["failed"].to_dict() == {"left": 0, "right": 1, "join": 0}
    assert table["skipped"].to_dict() == {"left": 0, "right": 0, "join": 1}
    assert table.loc["left", "mean_s"] == pytest.approx((3 * LEFT_S + 2 * LEFT_S) / 4)
    assert table.loc["join", "p50_s"] == pytest.approx(JOIN_S)
    assert table.loc["right", "queue_s"] == pytest.approx(0.001)
    assert table.loc["join", "tokens_out"] == 15
    assert table["simulated_share"].tolist() == pytest.approx([0.5, 0.5, 0.5])


def test_shares_of_work_and_of_the_critical_path_sum_to_one() -> None:
    table = table_of(run(4))
    assert table["work_share"].tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert table["critical_path_share"].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
