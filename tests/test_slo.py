from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.measures import Measure, measure_names
from quark_bench.slo import DEFAULT_SLOS, Scope, Slo, SloResult, check, judged_share, parse_slo, require_known, scope_of
from quark_bench.stats import BEYOND_FAILURES, NO_VALUES, Interval, fewest_for_share, wilson
from quark_bench.units import PER_SECOND, SECONDS, SHARE, Direction


def _measures(p95_s: float | None, note: str = "") -> dict[str, Measure]:
    return {
        "p95_latency_s": Measure("p95_latency_s", p95_s, SECONDS, Direction.LOWER, note=note),
        "parallel_rate": Measure("parallel_rate", 0.5, SHARE, Direction.HIGHER),
        "throughput_per_s": Measure("throughput_per_s", 12.0, PER_SECOND, Direction.HIGHER),
    }


RUN = {"sync": _measures(3.0), "async": _measures(1.0)}


@pytest.mark.parametrize(
    ("text", "prefix", "name", "op", "limit"),
    [
        ("p95_latency_s<2", None, "p95_latency_s", "<", 2.0),
        ("sync.p95_latency_s<2", "sync", "p95_latency_s", "<", 2.0),
        (" sync.p95_latency_s <= 200ms ", "sync", "p95_latency_s", "<=", 0.2),
        ("mean_latency_s<1.5s", None, "mean_latency_s", "<", 1.5),
        ("parallel_rate>60%", None, "parallel_rate", ">", 0.6),
        ("v1.2.throughput_per_s>=1e3", "v1.2", "throughput_per_s", ">=", 1000.0),
    ],
)
def test_an_objective_is_read(text: str, prefix: str | None, name: str, op: str, limit: float) -> None:
    found = parse_slo(text)
    assert (found.prefix, found.name, found.op, found.share) == (prefix, name, op, None)
    assert found.limit == pytest.approx(limit)
    assert found.given


@pytest.mark.parametrize(
    ("text", "prefix", "name", "share"),
    [
        ("latency_s<2@99%", None, "latency_s", 0.99),
        ("Reasoning.first_token_s < 500ms @ 95 %", "Reasoning", "first_token_s", 0.95),
        ("async.score_f1>60%@99.9%", "async", "score_f1", 0.999),
    ],
)
def test_an_objective_of_each_trial_names_the_share_that_must_keep_to_it(
    text: str, prefix: str | None, name: str, share: float
) -> None:
    found = parse_slo(text)
    assert (found.prefix, found.name) == (prefix, name)
    assert found.share == pytest.approx(share)


@pytest.mark.parametrize("percent", ["0", "100", "101"])
def test_a_share_that_no_number_of_trials_shows_is_refused(percent: str) -> None:
    with pytest.raises(UsageError, match="below 100 %"):
        parse_slo(f"latency_s<2@{percent}%")


@pytest.mark.parametrize(
    ("text", "prefix", "name"),
    [
        ("score_retrieval.recall@5>=0.8", None, "score_retrieval.recall@5"),
        ("sync.score_nlu.accuracy_answered>80%", "sync", "score_nlu.accuracy_answered"),
        ("v1.2.score_retrieval.recall@5_pass>0.5@90%", "v1.2", "score_retrieval.recall@5_pass"),
        ("score_keeper.duration_s<2@95%", "score_keeper", "duration_s"),
    ],
)
def test_a_score_of_an_agent_has_its_agent_in_its_name(text: str, prefix: str | None, name: str) -> None:
    found = parse_slo(text)
    assert (found.prefix, found.name) == (prefix, name)


@pytest.mark.parametrize(
    ("prefix", "scope"),
    [
        ("", Scope(None, None)),
        ("sync.", Scope("sync", None)),
        ("Self_Improvement.", Scope(None, "self_improvement")),
        ("v1.2.selfimprovement.", Scope("v1.2", "self_improvement")),
        ("memory.", Scope("memory", None)),  # an arm of an agent's name: the arm
        ("memory.memory.", Scope("memory", "memory")),
    ],
)
def test_a_prefix_is_an_arm_as_it_is_spelled_before_an_agent_by_its_canonical_name(prefix: str, scope: Scope) -> None:
    arms, agents = ["sync", "v1.2", "memory"], ["self_improvement", "memory"]
    assert scope_of(parse_slo(f"{prefix}tokens_in<9@50%"), arms, agents) == scope


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Reasonin.duration_s<1@95%", "no arm or agent 'Reasonin' here; did you mean 'reasoning'"),
        ("async.reasonin.duration_s<1@95%", "did you mean 'async.reasoning'"),
        ("duration_s<1@95%", "a trial has no field 'duration_s'"),
        ("p95_latency_s<1@95%", "did you mean 'latency_s'"),
        ("reasoning.latency_s<1@95%", "an agent has no field 'latency_s'"),
        ("latency_s<1", "write|say of how many: --slo 'latency_s<1@95%'"),
        ("reasoning.mean_latency_s<1", "an agent has fields, as in Reasoning.duration_s<2@95%"),
        ("cost_usd<1s@95%", "cost_usd is in USD"),
        ("score_f2>0.5@95%", "did you mean 'score_f1'"),
    ],
)
def test_what_no_trial_of_the_run_has_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        require_known([parse_slo(text)], ["sync", "async"], measure_names(["f1"]), ["memory", "reasoning"])


def test_fewer_than_the_share_miss_and_of_too_few_even_all_do_not_show_it() -> None:
    slo = parse_slo("latency_s<2@95%")
    told = {
        (kept, n): judged_share(slo, "async", wilson(kept, n)) for kept, n in [(72, 72), (73, 73), (94, 100), (1, 9)]
    }
    assert [each.met for each in told.values()] == [None, True, False, False]
    assert told[72, 72].note == "n too small: 73 prompts needed"
    assert judged_share(slo, "async", Interval(None, None, None, 0, NO_VALUES)).met is None


@given(kept=st.floats(0, 1), wanted=st.floats(0.5, 0.999))
def test_the_number_needed_is_where_the_wilson_interval_leaves_the_share(kept: float, wanted: float) -> None:
    if abs(kept - wanted) < 0.01:
        return
    needed = fewest_for_share(wanted, kept)
    clear = [_result(wilson(kept * many, many), wanted).clear for many in (needed + 1, needed - 1) if many > 0]
    assert clear[0] is (kept > wanted)
    assert clear[1:] in ([], [None])


def _result(found: Interval, share: float) -> SloResult:
    slo = Slo("latency_s<2", None, "latency_s", "<", 2.0, share=share)
    return judged_share(slo, "async", found)


@pytest.mark.parametrize(
    ("low", "high", "note", "clear"),
    [(1.0, 1.9, "", True), (1.9, 2.1, "", None), (2.0, 3.0, "", False), (None, None, "n too small: 73 needed", None),
     (None, None, "without 3 failed; all values equal", True)],
)  # fmt: skip
def test_a_measure_meets_an_objective_clearly_where_its_whole_interval_does(
    low: float | None, high: float | None, note: str, clear: bool | None
) -> None:
    measure = Measure("p95_latency_s", 1.5, SECONDS, Direction.LOWER, low, high, note)
    assert check([parse_slo("p95_latency_s<2")], {"async": {"p95_latency_s": measure}}, "async")[0].clear is clear


@pytest.mark.parametrize(
    "text", ["", "p95_latency_s", "p95_latency_s=2", "<2", "p95_latency_s<two", "p95_latency_s<2h"]
)
def test_what_is_no_objective_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="p95_latency_s<2"):
        parse_slo(text)


def test_an_objective_judges_the_last_arm_unless_it_names_one() -> None:
    last, named = check([parse_slo("p95_latency_s<2"), parse_slo("sync.p95_latency_s<2")], RUN, "async")
    assert (last.value, last.met) == (1.0, True)
    assert (named.value, named.met) == (3.0, False)


@pytest.mark.parametrize(("op", "met"), [("<", False), ("<=", True), (">", False), (">=", True)])
def test_a_limit_belongs_to_the_operators_that_hold_equality(op: str, met: bool) -> None:
    assert check([parse_slo(f"throughput_per_s{op}12")], RUN, "async")[0].met is met


@pytest.mark.parametrize(
    ("text", "nearest"), [("p59_latency_s<2", "p95_latency_s"), ("asinc.p95_latency_s<2", "async")]
)
def test_an_unknown_name_is_refused_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{nearest}'"):
        check([parse_slo(text)], RUN, "async")


@pytest.mark.parametrize("text", ["p95_latency_s<60%", "throughput_per_s>10s", "parallel_rate>60ms"])
def test_a_limit_in_another_unit_than_the_measure_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="without a unit"):
        check([parse_slo(text)], RUN, "async")


def test_a_measure_without_value_is_neither_met_nor_missed() -> None:
    found = check([parse_slo("p95_latency_s<2")], {"async": _measures(None, "no records")}, "async")[0]
    assert (found.value, found.met) == (None, None)


def test_a_percentile_among_failures_misses_its_limit() -> None:
    found = check([parse_slo("p95_latency_s<2")], {"async": _measures(None, BEYOND_FAILURES)}, "async")[0]
    assert (found.value, found.met) == (None, False)


def test_names_can_be_checked_before_anything_has_run() -> None:
    require_known(DEFAULT_SLOS, ["sync"], measure_names())
    require_known([parse_slo("score_f1>0.5")], ["sync"], measure_names(["f1"]))
    with pytest.raises(UsageError, match="score_f1"):
        require_known([parse_slo("score_f2>0.5")], ["sync"], measure_names(["f1"]))


def test_the_defaults_are_those_of_the_design_document_and_were_not_given() -> None:
    assert [slo.text for slo in DEFAULT_SLOS] == [
        "throughput_per_s>10", "mean_latency_s<2", "concurrent_agents>=3", "parallel_rate>0.6"
    ]  # fmt: skip
    assert not any(slo.given for slo in DEFAULT_SLOS)


def test_a_default_that_a_person_gives_is_given() -> None:
    assert isinstance(DEFAULT_SLOS[0], Slo)
    assert check([parse_slo(DEFAULT_SLOS[0].text)], RUN, "async")[0].given
