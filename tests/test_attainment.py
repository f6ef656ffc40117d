"""Which trials kept to objectives, and which of them count in goodput."""

import numpy as np
import pandas as pd
import pytest

from quark_bench.attainment import attained
from quark_bench.measures import measure_arm
from quark_bench.slo import parse_slo
from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials

from .simulated_runs import ARMS, LAYOUT, simulated

AGENTS = ["Reasoning", "Planning"]


def trial(number, *spans, status="ok", latency_s=1.0, repeat=0):
    """A record and its spans; a span is agent, attempt, status, seconds taken, and its first token."""
    place = {"session": 0, "arm": "async", "repeat": repeat, "block": 0, "chunk": 0, "prompt_id": f"p-{number}"}
    record = {**place, "status": status, "latency_s": latency_s, "tokens_out": 10, "cost_usd": 0.0, "score_f1": np.nan}
    rows = [
        place | {"agent": agent, "attempt": attempt, "status": ended, "start_s": 5.0, "end_s": 5.0 + took_s}
        | {"queue_s": 0.1, "first_token_s": first_s, "tokens_in": 3, "tokens_out": 4}
        for agent, attempt, ended, took_s, first_s in spans
    ]  # fmt: skip
    return record, rows


def trials(*made):
    return FrameTrials(
        pd.DataFrame([record for record, _ in made]), pd.DataFrame([row for _, rows in made for row in rows])
    )


def result(text, *made):
    return attained(trials(*made), "async", [parse_slo(text)], ["sync", "async"], AGENTS).results[parse_slo(text)]


CALLED = ("Reasoning", 1, "ok", 0.5, 0.1)


def test_a_trial_keeps_to_an_objective_by_its_own_field_and_a_failed_one_to_none():
    found = result(
        "latency_s<2@50%", trial(1), trial(2, latency_s=2.0), trial(3, status="failed"), trial(4, status="degraded")
    )
    assert found.value == pytest.approx(2 / 4)
    assert found.low < 0.5 < found.high


def test_attempts_of_an_agent_count_together_and_the_first_token_is_that_of_the_last():
    again = trial(
        1, ("Reasoning", 1, "failed", 0.5, 0.4), ("Reasoning", 2, "ok", 0.7, 0.1), ("Planning", 1, "ok", 9, 9)
    )
    for text in (
        "duration_s>1.1",
        "duration_s<1.3",
        "first_token_s<=0.1",
        "queue_s>0.15",
        "tokens_in>=6",
        "attempts>1",
    ):
        assert result(f"Reasoning.{text}@90%", again).value == 1.0


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ((CALLED,), 1.0),
        ((("Reasoning", 1, "failed", 0.5, None), ("Reasoning", 2, "fallback", 0.1, None)), 1.0),
        ((("Reasoning", 0, "cached", 0.0, None),), 1.0),
        ((("Reasoning", 0, "skipped", 0.0, None),), 0.5),
        ((("Reasoning", 1, "failed", 0.5, None),), 0.5),
        ((("Planning", 1, "ok", 0.5, None),), 1.0),  # not routed: not counted
    ],
)
def test_an_agent_misses_without_a_result_and_is_not_counted_where_it_was_not_routed(spans, share):
    assert result("Reasoning.duration_s<2@90%", trial(1, CALLED), trial(2, *spans, status="degraded")).value == share


def test_whatever_is_missing_of_a_failed_trial_is_a_miss():
    assert result("Reasoning.duration_s<2@90%", trial(1, CALLED), trial(2, status="failed")).value == 0.5
    assert result("Reasoning.duration_s<2@90%", trial(1, status="failed")).met is False


def test_what_no_answered_trial_has_is_not_judged():
    silent = trial(1, ("Reasoning", 1, "ok", 0.5, None))
    found = result("Reasoning.first_token_s<2@90%", silent, trial(2, status="failed"))
    assert (found.value, found.met, found.note) == (None, None, "no answered trial has it")
    assert result("score_f1>0.5@90%", silent).met is None


def test_repeats_of_a_prompt_count_once():
    made = [trial(number, repeat=repeat, latency_s=1.0 + repeat) for number in range(40) for repeat in range(2)]
    found, once = result("latency_s<1.5@40%", *made), result("latency_s<1.5@40%", *made[::2])
    assert found.value == 0.5
    assert found.low < 0.36  # of 80 trials it would be 0.39
    assert once.value == 1.0


def test_an_objective_without_an_arm_judges_the_last_and_counts_in_the_goodput_of_all():
    slos = [parse_slo("latency_s<1.5@90%"), parse_slo("sync.latency_s<0.5@90%")]
    made = trials(trial(1), trial(2, latency_s=2.0), trial(3, status="failed"))
    last = attained(made, "async", slos, ["sync", "async"], AGENTS)
    assert list(last.results) == slos[:1]
    assert last.good.tolist() == [True, False, False]
    first = attained(made, "async", slos, ["async", "sync"], AGENTS)
    assert (list(first.results), first.good.tolist()) == ([], [True, False, False])
    assert attained(made, "async", slos[1:], ["sync", "async"], AGENTS).good is None


def test_goodput_is_of_trials_that_kept_to_every_objective():
    records, spans, _ = simulated(ARMS[2:3], 120, failing=(50, 51))
    made, limit_s = FrameTrials(records, spans), float(records["latency_s"].median())
    slos = [parse_slo(f"latency_s<={limit_s!r}@40%"), parse_slo("Reasoning.duration_s<1@90%")]
    kept = attained(made, "async", slos, ["async"], [name for name, _ in LAYOUT])
    sums = sum_spans(made, "async", LAYOUT)
    plain, judged = (measure_arm(made, "async", sums, 8, [], good) for good in (None, kept.good))
    within = (records["status"] == "ok") & (records["latency_s"] <= limit_s)
    assert judged["goodput_share"].value == pytest.approx(within.mean())
    assert plain["goodput_share"].value == pytest.approx(118 / 120)
    assert judged["goodput_per_s"].value < plain["goodput_per_s"].value < plain["throughput_per_s"].value
    assert judged["throughput_per_s"] == plain["throughput_per_s"]
