"""What a gate found, in sentences; and that a result comes back from JSON as it was."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

from quark_bench.gate_result import PIPELINE, RUN, GateResult, NullRates
from quark_bench.report import gate_sentences
from quark_bench.report.gate_sentences import details, headline, measure
from quark_bench.rule import Verdict

from .gate_results import (
    AS_FAST,
    EQUAL,
    LOST_SCORE,
    MADE,
    MORE_FAILURES,
    NO_CHANGE,
    OPEN,
    PASSED,
    REGRESSED,
    SLOWER,
    TOO_SMALL,
    UNSURE,
    gated,
    ratio,
    results,
)


@given(results)
def test_a_result_comes_back_from_json_as_it_was(result):
    assert GateResult.of_data(json.loads(json.dumps(result.as_data()))) == result


@given(results)
def test_any_result_has_a_headline_of_one_line_and_details(result):
    assert headline(result)
    assert details(result)


def test_the_headline_of_a_regression_names_what_regressed():
    assert headline(gated(Verdict.REGRESSED, SLOWER, EQUAL)) == (
        "regressed against main (3fe2b81): latency 1.220x [1.210x to 1.230x], smallest detectable 0.80 %"
    )
    assert "failures 2.00 % -> 5.00 %, +3.0 points [+0.50 to +5.5]" in headline(REGRESSED)


def test_the_headline_of_a_pass_tells_latency_and_counts_the_others():
    assert headline(PASSED) == (
        "pass against main (3fe2b81): latency 0.998x [0.990x to 1.010x], smallest detectable 0.80 %; "
        "of 2 more measures 1 pass, 1 not judged"
    )


def test_a_pass_in_which_latency_was_not_judged_says_so_first():
    unjudged = replace(TOO_SMALL, change=replace(TOO_SMALL.change, measure="latency"))
    assert headline(gated(Verdict.PASS, unjudged)).endswith(
        "latency not judged (n too small: 5 prompts needed, 3 there)"
    )


def test_the_headline_of_an_inconclusive_gate_says_why():
    assert headline(OPEN) == (
        "inconclusive against main (3fe2b81): latency 1.020x [0.900x to 1.160x], a change twice the margin could have "
        "been overlooked, smallest detectable 13 %"
    )


def test_a_verdict_that_no_measure_stands_for_tells_the_first_finding():
    assert headline(gated(Verdict.INCONCLUSIVE, AS_FAST, findings=("12 pairs were lost",))).endswith(
        ": 12 pairs were lost"
    )
    assert headline(gated(Verdict.PASS)).endswith(": nothing was judged")


def test_many_regressions_are_counted_beyond_the_third():
    assert headline(gated(Verdict.REGRESSED, *[SLOWER] * 5)).endswith("; and 2 more measures")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"kind": PIPELINE, "against": "old.py:pipeline"}, "pass against pipeline old.py:pipeline: "),
        (
            {"kind": RUN, "against": "20260102-a1"},
            "pass against stored run 20260102-a1 (a trend only: another session, maybe another machine): ",
        ),
        ({"kind": "null"}, "no false alarm, the same code against itself: "),
        ({"kind": "null", "verdict": Verdict.REGRESSED}, "false alarm, the same code against itself: "),
        ({"kind": "null", "verdict": Verdict.INCONCLUSIVE}, "inconclusive, the same code against itself: "),
        ({"slos_missed": ("p95_latency_s<2",)}, "objective missed (p95_latency_s<2); pass against main (3fe2b81): "),
    ],
)
def test_the_headline_names_each_kind_of_baseline_and_missed_objectives(more, told):
    assert headline(replace(PASSED, **more)).startswith(told)


def test_a_measure_tells_both_measurements_and_its_worst_prompts():
    assert measure(SLOWER) == (
        "latency regressed: 307 ms -> 375 ms, 1.220x [1.210x to 1.230x]; regressed in both of two measurements, the "
        "second one 1.210x [1.200x to 1.220x]; smallest detectable 0.80 %; n = 64 prompts in 320 pairs; "
        "worst prompts: q-001, q-002, q-003, q-004, q-005"
    )


def test_a_lost_score_is_told_with_its_sign():
    assert "0.880 -> 0.830, -0.050 [-0.094 to -0.006]" in measure(LOST_SCORE)


def test_an_equal_measure_tells_how_many_may_differ_still():
    assert measure(EQUAL) == "failures pass: equal in all 320 pairs (of 64 prompts), upper bound 4.7 %"
    once = replace(EQUAL, change=replace(EQUAL.change, pairs=64))
    assert measure(once) == "failures pass: equal in all 64 pairs, upper bound 4.7 %"


def test_measures_that_were_equal_alike_are_told_together():
    score = replace(EQUAL, change=replace(EQUAL.change, measure="f1"))
    told = details(gated(Verdict.PASS, AS_FAST, EQUAL, score))
    assert told[0] == "failures, f1: equal in all 320 pairs (of 64 prompts), upper bound 4.7 %"


def test_an_inconclusive_measure_tells_what_would_help():
    assert "most of the error is between blocks: more repeats or a quieter machine narrow it" in measure(UNSURE)
    assert "more prompts narrow it" in measure(LOST_SCORE)


def test_throughput_counts_blocks():
    assert "n = 50 blocks" in measure(REGRESSED.judged[1])


def test_agents_that_changed_are_told_the_slower_first():
    assert gate_sentences.changed_agents(REGRESSED) == (
        "memory 1.500x slower [1.490x to 1.510x], 2.0 % of the critical path",
        "planning 2.000x faster [1.961x to 2.041x], 30 % of the critical path",
    )


def test_an_agent_may_be_called_like_a_measure():
    named = replace(REGRESSED.agents[1], change=ratio("throughput", 1.5, 1.49, 1.51))
    assert gate_sentences.agent(named).startswith("throughput 1.500x slower [1.490x to 1.510x]")


def test_noise_and_layout_are_told():
    assert details(REGRESSED)[-2:] == (
        "the baseline against itself: 1.003x between its halves",
        "64 prompts x 5 repeats in 50 blocks, 8 in flight, measured again to confirm an alarm",
    )
    assert not gate_sentences.noise(replace(PASSED, noise=None))


def test_what_passed_is_told_by_what_could_have_been_seen():
    told = details(PASSED)
    assert "smallest detectable: latency 0.80 %" in told
    assert not any(each.startswith("latency pass") for each in told)


def test_a_pass_that_was_not_confirmed_is_told():
    unconfirmed = replace(SLOWER, verdict=Verdict.PASS, why="a second measurement did not confirm it")
    told = details(gated(Verdict.PASS, unconfirmed))
    assert any("did not confirm it, the second one 1.210x" in each for each in told)


def test_prompts_that_lost_are_named_though_the_measure_passed():
    passed = replace(MORE_FAILURES, verdict=Verdict.PASS)
    assert any("worst prompts: q-001, q-002" in each for each in details(gated(Verdict.PASS, passed)))


def test_the_rates_of_a_null_gate_come_with_their_upper_bound():
    told = details(NO_CHANGE)
    assert any(each.startswith("noise floor: a change of latency below 0.80 %") for each in told)
    assert any(each.startswith("0 of 2,000 relabellings alarmed (at most 0.15 %)") for each in told)
    assert gate_sentences.null_rates(NullRates(2_000, 13)).startswith(
        "13 of 2,000 relabellings alarmed (0.65 %, at most 1.0 %)"
    )


def test_many_findings_are_counted_beyond_what_a_person_reads():
    told = details(gated(Verdict.PASS, AS_FAST, findings=tuple(map(str, range(30)))))
    assert "and 10 more findings" in told


@pytest.mark.parametrize("result", MADE)
def test_a_very_long_name_is_cut(result):
    assert len(headline(replace(result, against="x" * 100_000))) < 1_000
