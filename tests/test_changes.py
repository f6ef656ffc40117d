"""How each measure of a candidate compares with a baseline's, from records to changes and to verdicts."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.changes import (
    MOST_NAMED,
    agent_changes,
    agent_durations,
    changes_of,
    latency_components,
    noise_of,
    relabelled,
)
from quark_bench.rule import Conditions, Scale, Verdict, alarms, judge
from quark_bench.significance import ALPHA, mcnemar
from quark_bench.trials import FrameTrials

from .paired_records import BASELINE, CANDIDATE, named, of, records


def changes(table, clusters=None):
    return {each.measure: each for each in changes_of(table, ["exact"], clusters)}


def verdicts(table):
    return {each.measure: each for each in judge(changes_of(table, ["exact"]), Conditions(noise_of(table)))}


def wrong(table, *prompts, arm=CANDIDATE, repeats=range(100)):
    """The records with these prompts answered wrongly."""
    worse = table.copy()
    worse.loc[of(worse, arm, prompt_id=named(*prompts), repeat=list(repeats)), "score_exact"] = 0.0
    return worse


HUNDRED = records(prompts=100)


# Scores.


def test_ten_wrong_answers_of_a_hundred_have_regressed():
    found = verdicts(wrong(HUNDRED, *range(10)))
    exact = found["exact"]
    assert exact.verdict is Verdict.REGRESSED
    assert exact.change.worse == pytest.approx(0.10)
    assert exact.change.low > 0
    assert (exact.change.baseline, exact.change.candidate) == (1.0, pytest.approx(0.9))
    assert set(exact.change.prompts) == set(named(*range(10)))
    assert alarms(found.values()) == ("exact",)


def test_five_wrong_answers_of_a_hundred_are_shown_with_interval_smallest_change_and_names():
    exact = verdicts(wrong(HUNDRED, 3, 14, 15, 65, 92))["exact"]
    assert exact.verdict is Verdict.PASS
    assert exact.change.worse == pytest.approx(0.05)
    assert exact.change.low < 0 < exact.change.worse < exact.change.high
    assert 0.05 < exact.change.mde < 0.10
    assert set(exact.change.prompts) == set(named(3, 14, 15, 65, 92))
    assert (exact.change.n, exact.change.pairs) == (100, 500)


def test_five_lost_and_five_won_are_no_change_but_ten_might_have_been_overlooked():
    table = wrong(wrong(HUNDRED, *range(5)), *range(5, 10), arm=BASELINE)
    exact = verdicts(table)["exact"]
    assert exact.change.worse == 0.0
    assert exact.change.mde > 0.10
    assert exact.verdict is Verdict.INCONCLUSIVE
    assert set(exact.change.prompts) == set(named(*range(5)))


def test_better_answers_pass():
    exact = verdicts(wrong(HUNDRED, *range(20), arm=BASELINE))["exact"]
    assert exact.change.worse == pytest.approx(-0.2)
    assert (exact.verdict, exact.change.prompts) == (Verdict.PASS, ())


def test_the_prompts_that_lost_the_most_come_first():
    table = wrong(wrong(HUNDRED, 7, repeats=[0]), 8, repeats=[0, 1, 2])
    assert changes(table)["exact"].prompts == ("p8", "p7")
    assert len(changes(wrong(HUNDRED, *range(50)))["exact"].prompts) == MOST_NAMED


def test_answers_given_once_are_judged_by_mcnemar():
    table = records(prompts=100, repeats=1, blocks=10)
    found = changes(wrong(wrong(table, *range(9)), 20, 21, arm=BASELINE))["exact"]
    assert found.p == mcnemar(9, 2)
    assert changes(wrong(records(prompts=100, repeats=2), *range(9), repeats=[0]))["exact"].p != mcnemar(9, 0)


def test_marks_between_right_and_wrong_are_judged_by_their_means():
    table = records(prompts=100, repeats=1, blocks=10, score_exact=lambda row: 0.5 + row["n"] % 3 / 10)
    table.loc[of(table, CANDIDATE), "score_exact"] -= np.random.default_rng(1).uniform(0, 0.1, 100)
    found = changes(table)["exact"]
    assert found.worse == pytest.approx(0.05, abs=0.01)
    assert found.p < 1e-9


def test_equal_scores_are_equal_in_every_pair():
    exact = verdicts(HUNDRED)["exact"]
    assert exact.change.equal
    assert (exact.verdict, exact.why) == (Verdict.PASS, "equal in every pair")


def test_answers_that_were_not_scored_are_no_pairs():
    found = changes(records(score_exact=np.nan))["exact"]
    assert (found.worse, found.p, found.pairs, found.note, found.equal) == (None, None, 0, "no pairs", False)
    half = records(score_exact=lambda row: 1.0 if row["n"] % 2 else np.nan)
    assert changes(half)["exact"].pairs == 50


def test_prompts_of_few_documents_prove_less_than_as_many_of_their_own():
    worse = wrong(HUNDRED, *range(10))
    alone = changes(worse)["exact"]
    shared = changes(worse, {f"p{n}": f"document {n // 10}" for n in range(100)})["exact"]
    assert shared.worse == alone.worse
    assert shared.widest == "clusters"
    assert shared.p > ALPHA > alone.p


def test_prompts_without_a_cluster_stand_for_themselves():
    worse = wrong(HUNDRED, *range(10))
    assert changes(worse, {})["exact"].p == pytest.approx(changes(worse)["exact"].p)


# Failures.


def failing(table, *prompts, arm=CANDIDATE):
    worse = table.copy()
    worse.loc[of(worse, arm, prompt_id=named(*prompts)), "status"] = "failed"
    return worse


def test_ten_failures_of_a_hundred_have_regressed_and_cost_their_scores():
    found = verdicts(failing(HUNDRED, *range(10)))
    assert found["failures"].verdict is found["exact"].verdict is Verdict.REGRESSED
    assert found["failures"].change.worse == pytest.approx(0.10)
    assert (found["failures"].change.baseline, found["failures"].change.candidate) == (0.0, pytest.approx(0.10))
    assert set(found["failures"].change.prompts) == set(named(*range(10)))


def test_failures_take_no_part_in_latency_and_leave_the_others_their_pairs():
    found = changes(failing(HUNDRED, *range(10)))
    assert (found["latency"].n, found["latency"].pairs) == (90, 450)
    assert found["failures"].pairs == 500


def test_degraded_is_not_failed():
    table = HUNDRED.copy()
    table.loc[of(table, CANDIDATE), "status"] = "degraded"
    found = changes(table)
    assert found["failures"].equal
    assert found["latency"].pairs == 500


# Latency, throughput, cost.


def test_a_candidate_a_fifth_slower_has_regressed_in_latency_and_throughput():
    found = verdicts(records(slower=1.2))
    assert alarms(found.values()) == ("latency", "throughput")
    for measure in ("latency", "throughput"):
        change = found[measure].change
        assert change.scale is Scale.RATIO
        assert change.low < change.worse < change.high
        assert change.worse == pytest.approx(1.2, rel=0.02)
    latency, throughput = found["latency"].change, found["throughput"].change
    assert latency.candidate / latency.baseline == pytest.approx(1.2, rel=0.02)
    assert throughput.baseline / throughput.candidate == pytest.approx(1.2, rel=0.02)
    assert (throughput.n, throughput.pairs) == (15, 15)


@pytest.mark.parametrize("slower", [1.0, 1.03, 0.7])
def test_a_candidate_as_fast_or_faster_or_slower_within_the_margin_passes(slower):
    assert {each.verdict for each in verdicts(records(slower=slower)).values()} == {Verdict.PASS}


def test_throughput_counts_prompts_over_the_time_of_whole_blocks():
    table = records(prompts=12, repeats=5, blocks=3, noise=0.0)
    total_s = table[of(table, BASELINE)]["latency_s"].sum()
    assert changes(table)["throughput"].baseline == pytest.approx(60 / total_s)


def test_the_prompts_that_became_slower_are_named():
    table = records(slower=0.9, noise=0.0)
    table.loc[of(table, CANDIDATE, prompt_id=["p3", "p5"]), "latency_s"] *= [2 if n % 2 else 3 for n in range(10)]
    assert set(changes(table)["latency"].prompts) == {"p3", "p5"}


def test_latencies_of_different_sessions_are_not_compared_but_answers_are():
    table = wrong(records(slower=1.5), *range(20))
    table.loc[of(table, CANDIDATE), "session"] = 1
    found = changes(table)
    assert (found["latency"].note, found["throughput"].note) == ("no pairs", "no pairs")
    assert found["latency"].p is None
    assert found["exact"].pairs == 100


def test_arms_of_different_times_have_no_throughput_to_judge_and_share_no_blocks():
    table = records(slower=1.2)
    apart = {each.measure: each for each in changes_of(table, [], side_by_side=False)}
    throughput = apart["throughput"]
    assert throughput.worse == pytest.approx(1.2, rel=0.02)
    assert (throughput.p, throughput.low, throughput.note) == (None, None, "its blocks were not measured side by side")
    few = records(repeats=2, blocks=1)
    assert changes(few)["latency"].note == "n too small: 5 blocks needed, 2 there"
    assert changes_of(few, [], side_by_side=False)[0].p is not None


def test_prompts_that_one_arm_lacks_are_left_out():
    table = records()
    found = changes(table[~of(table, CANDIDATE, prompt_id=named(1, 2, 3))])
    assert found["latency"].n == found["exact"].n == 17


def test_cost_is_compared_where_something_was_paid():
    assert "cost" not in changes(records())
    dearer = records(cost_usd=lambda row: 0.01 * (1 + row["n"] / 10) * (1.3 if row["arm"] == CANDIDATE else 1.0))
    dearer["cost_usd"] *= np.random.default_rng(2).uniform(0.95, 1.05, len(dearer))
    found = verdicts(dearer)["cost"]
    assert found.verdict is Verdict.REGRESSED
    assert found.change.worse == pytest.approx(1.3, rel=0.02)
    assert found.change.candidate / found.change.baseline == pytest.approx(1.3, rel=0.02)


def test_a_price_that_changed_for_all_alike_has_regressed_without_an_interval():
    dearer = records(cost_usd=lambda row: 0.02 if row["arm"] == CANDIDATE else 0.01)
    found = verdicts(dearer)["cost"]
    assert (found.verdict, found.change.worse) == (Verdict.REGRESSED, pytest.approx(2.0))
    assert (found.change.low, found.change.note) == (None, "all values equal")


def test_prompts_that_cost_nothing_are_no_pairs_of_cost():
    partly = records(cost_usd=lambda row: 0.01 if row["n"] < 8 else (0.0 if row["n"] < 12 else None))
    assert changes(partly)["cost"].pairs == 40


def test_latency_has_components_between_prompts_and_within_one():
    table = records(prompts=200, noise=0.1, slower=1.1)
    table.loc[of(table, CANDIDATE), "latency_s"] *= np.exp(
        table.loc[of(table, CANDIDATE), "prompt_id"].map(lambda name: 0.2 * (-1) ** int(name[1:]))
    )
    between, within = latency_components(table)
    assert (between, within) == (pytest.approx(0.2, rel=0.1), pytest.approx(0.1 * math.sqrt(2), rel=0.1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("table", [HUNDRED[:0], HUNDRED[:1], HUNDRED[of(HUNDRED, BASELINE)]])
def test_nothing_to_compare_is_not_judged_and_neither_raises_nor_warns(table):
    found = verdicts(table)
    assert {each.verdict for each in found.values()} == {Verdict.NOT_JUDGED}
    assert {each.why for each in found.values()} == {"no pairs"}
    assert latency_components(table) is None
    assert agent_changes(pd.DataFrame(columns=[*"ab", "agent"]), []) == []


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.5, 2))
def test_swapping_the_arms_turns_every_ratio_over(seed, slower):
    table = records(prompts=8, blocks=2, slower=slower, noise=0.1, seed=seed)
    swapped = table.assign(arm=table["arm"].map({BASELINE: CANDIDATE, CANDIDATE: BASELINE}))
    there, back = changes(table), changes(swapped)
    for measure in ("latency", "throughput"):
        assert there[measure].worse == pytest.approx(1 / back[measure].worse)
        assert there[measure].low == pytest.approx(1 / back[measure].high)


# The machine's own noise.


def test_the_noise_is_the_second_half_of_the_baseline_over_the_first():
    table = records(repeats=4, noise=0.0)
    assert noise_of(table) == pytest.approx(1.0)
    table.loc[of(table, BASELINE, repeat=[2, 3]), "latency_s"] *= 1.2
    table.loc[of(table, CANDIDATE, repeat=[2, 3]), "latency_s"] *= 7
    assert noise_of(table) == pytest.approx(1.2)
    assert noise_of(table, CANDIDATE) == pytest.approx(7)


def test_the_repeat_in_the_middle_belongs_to_neither_half():
    table = records(repeats=5, noise=0.0)
    table.loc[of(table, BASELINE, repeat=2), "latency_s"] *= 9
    assert noise_of(table) == pytest.approx(1.0)


def test_failures_are_no_noise_and_one_repeat_has_none():
    table = records(repeats=4, noise=0.0)
    struck = of(table, BASELINE, repeat=3, prompt_id=named(1, 2))
    table.loc[struck, "status"] = "failed"
    table.loc[struck, "latency_s"] = 1e-9
    assert noise_of(table) == pytest.approx(1.0)
    assert noise_of(records(repeats=1)) is None
    assert noise_of(table[:0]) is None


# What identical arms would have shown.


def test_relabelled_blocks_alarm_rarely_whatever_the_candidate_did():
    drawn = list(relabelled(records(slower=1.3), np.random.default_rng(3), 300))
    assert len(drawn) == 300
    assert sum(bool(alarms(judge(each, Conditions(1.0)))) for each in drawn) <= 9
    middle = np.median([each[0].worse for each in drawn])
    assert 0.95 < middle < 1.05


def test_of_identical_arms_relabelling_shows_what_measuring_again_would():
    told = [each[0].worse for each in relabelled(records(noise=0.1), np.random.default_rng(4), 300)]
    measured = [changes(records(noise=0.1, seed=seed))["latency"].worse for seed in range(40)]
    assert np.std(np.log(told)) == pytest.approx(np.std(np.log(measured)), rel=0.35)


def test_latency_and_throughput_are_relabelled_together():
    drawn = list(itertools.islice(relabelled(records(slower=1.3, noise=0.0), np.random.default_rng(5), 50), 50))
    latency, throughput = (np.log([each[n].worse for each in drawn]) for n in (0, 1))
    assert np.corrcoef(latency, throughput)[0, 1] > 0.95


def test_equal_draws_relabel_equally():
    table = records(noise=0.1)
    first, second = (list(relabelled(table, np.random.default_rng(6), 5)) for _ in range(2))
    assert first == second


# Agents.


def spans(table, slower, *, noise=0.02, seed=0):
    """Three agents a record, of 1/2, 1/3 and 1/6 of its latency; `slower` by agent multiplies the candidate's."""
    random = np.random.default_rng(seed)
    parts = []
    for agent, part in (("search", 1 / 2), ("answer", 1 / 3), ("check", 1 / 6)):
        took_s = table["latency_s"] * part * np.exp(random.normal(0, noise, len(table)))
        took_s *= np.where(table["arm"] == CANDIDATE, slower.get(agent, 1.0), 1.0)
        place = table[["arm", "prompt_id", "repeat", "session", "block"]]
        parts.append(place.assign(agent=agent, status="ok", start_s=table["start_s"], end_s=table["start_s"] + took_s))
    return pd.concat(parts, ignore_index=True)


AGENTS = ["search", "answer", "check"]


def agents_of(spans_table):
    durations = agent_durations(FrameTrials(records(prompts=2, repeats=1), spans_table))
    return {each.measure: each for each in agent_changes(durations, AGENTS)}


def test_the_agent_that_became_slower_is_named_and_the_others_are_not():
    found = agents_of(spans(records(), {"answer": 1.3}))
    assert list(found) == AGENTS
    assert found["answer"].worse == pytest.approx(1.3, rel=0.03)
    assert [name for name, each in found.items() if each.p <= ALPHA] == ["answer"]


def test_p_values_of_agents_allow_for_there_being_several():
    table = spans(records(), {"answer": 1.01}, seed=1)
    durations = agent_durations(FrameTrials(records(prompts=2, repeats=1), table))
    alone = [agent_changes(durations, [name])[0].p for name in AGENTS]
    together = [each.p for each in agent_changes(durations, AGENTS)]
    assert all(several >= one for several, one in zip(together, alone, strict=True))
    assert together != pytest.approx(alone)


def test_attempts_of_a_call_are_summed_and_failed_calls_left_out():
    table = records(prompts=6, repeats=2)
    twice = pd.concat([spans(table, {}), spans(table, {})], ignore_index=True)
    once = spans(table, {})
    for found, factor in ((twice, 2), (once, 1)):
        durations = agent_durations(FrameTrials(table, found))
        assert len(durations) == 72
        assert durations["latency_s"].sum() == pytest.approx(factor * (once["end_s"] - once["start_s"]).sum())
    assert agent_durations(FrameTrials(table, once.assign(status="skipped"))).empty
    some = once["agent"].eq("check") & once["prompt_id"].eq("p1")
    failed = once.assign(status=np.where(some, "failed", "ok"))
    assert len(agent_durations(FrameTrials(table, failed))) == 68


def test_an_agent_that_only_one_arm_has_cannot_be_compared():
    table = spans(records(), {"answer": 1.3})
    table = table[~((table["agent"] == "check") & (table["arm"] == BASELINE))]
    found = agents_of(table)
    assert (found["check"].p, found["check"].note) == (None, "no pairs")
    assert found["answer"].p <= ALPHA
