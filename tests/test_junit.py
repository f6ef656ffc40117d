"""A gate's result as JUnit XML."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.report.junit import junit_xml
from quark_bench.rule import Verdict

from .gate_results import AS_FAST, MADE, OPEN, PASSED, REGRESSED, gated, hostile, results


def suite_of(result):
    return ElementTree.fromstring(junit_xml(result)).find("testsuite")


def outcomes(result):
    """By test case, the names of what stands in it but for output."""
    cases = suite_of(result).iter("testcase")
    return {case.get("name"): [each.tag for each in case if each.tag != "system-out"] for case in cases}


def test_there_is_a_test_case_a_measure():
    assert outcomes(REGRESSED) == {
        "latency": ["failure"],
        "throughput": ["failure"],
        "failures": ["failure"],
        "f1": ["skipped"],
        "cost": ["skipped"],
    }
    assert outcomes(PASSED) == {"latency": [], "failures": [], "cost": ["skipped"]}


def test_what_made_the_gate_inconclusive_is_a_failure_of_its_own_type():
    assert outcomes(OPEN) == {"latency": ["failure"], "failures": [], "f1": ["skipped"]}
    assert suite_of(OPEN).find("testcase/failure").get("type") == "inconclusive"


def test_a_failure_says_the_sentence_and_a_skipped_case_why():
    suite = suite_of(REGRESSED)
    assert suite.find("testcase/failure").get("message").startswith("latency regressed: 307 ms -> 375 ms, 1.220x")
    skipped = [each.get("message") for each in suite.iter("skipped")]
    assert any("n too small: 5 prompts needed, 3 there" in each for each in skipped)


def test_a_missed_objective_is_a_failure_beside_measures_that_passed():
    missed = replace(PASSED, slos_missed=("p95_latency_s<2",))
    assert outcomes(missed)["objective p95_latency_s<2"] == ["failure"]


def test_a_verdict_that_no_measure_stands_for_is_a_failure_too():
    assert outcomes(gated(Verdict.INCONCLUSIVE, AS_FAST)) == {"latency": [], "gate": ["failure"]}


def test_noise_and_n_are_properties():
    found = {each.get("name"): each.get("value") for each in suite_of(REGRESSED).iter("property")}
    assert found["noise"] == "1.003"
    assert found["prompts"] == "64"
    assert found["baseline"] == "revision main (3fe2b81)"


@pytest.mark.parametrize("result", MADE)
def test_the_suite_fails_when_the_exit_code_does(result):
    assert bool(int(suite_of(result).get("failures"))) == (result.exit_code != 0)


@given(results)
def test_any_result_is_xml_with_right_counts(result):
    suite = suite_of(result)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        assert int(suite.get(name)) == len(list(suite.iter(tag)))


@given(st.text(max_size=20))
def test_no_name_breaks_the_xml(name):
    text = junit_xml(hostile(f"]]></failure><x/>\x00\x1b\ud800\uffff{name}"))
    assert ElementTree.fromstring(text).find(".//x") is None
    text.encode("utf-8")
