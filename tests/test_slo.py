from __future__ import annotations

import pytest

from quark_bench.errors import UsageError
from quark_bench.measures import Measure, measure_names
from quark_bench.slo import DEFAULT_SLOS, Slo, check, parse_slo, require_known
from quark_bench.stats import BEYOND_FAILURES
from quark_bench.units import PER_SECOND, SECONDS, SHARE, Direction


def _measures(p95_s: float | None, note: str = "") -> dict[str, Measure]:
    return {
        "p95_latency_s": Measure("p95_latency_s", p95_s, SECONDS, Direction.LOWER, note=note),
        "parallel_rate": Measure("parallel_rate", 0.5, SHARE, Direction.HIGHER),
        "throughput_per_s": Measure("throughput_per_s", 12.0, PER_SECOND, Direction.HIGHER),
    }


RUN = {"sync": _measures(3.0), "async": _measures(1.0)}


@pytest.mark.parametrize(
    ("text", "arm", "measure", "op", "limit"),
    [
        ("p95_latency_s<2", None, "p95_latency_s", "<", 2.0),
        ("sync.p95_latency_s<2", "sync", "p95_latency_s", "<", 2.0),
        (" sync.p95_latency_s <= 200ms ", "sync", "p95_latency_s", "<=", 0.2),
        ("mean_latency_s<1.5s", None, "mean_latency_s", "<", 1.5),
        ("parallel_rate>60%", None, "parallel_rate", ">", 0.6),
        ("v1.2.throughput_per_s>=1e3", "v1.2", "throughput_per_s", ">=", 1000.0),
    ],
)
def test_an_objective_is_read(text: str, arm: str | None, measure: str, op: str, limit: float) -> None:
    found = parse_slo(text)
    assert (found.arm, found.measure, found.op) == (arm, measure, op)
    assert found.limit == pytest.approx(limit)
    assert found.given


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
