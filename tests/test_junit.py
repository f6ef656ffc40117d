"""A gate's result, and a run's prompts, as JUnit XML."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, Prompt, agent, bench
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


# -- prompts of a run


@agent
async def cut(prompt):
    if prompt.id == "p-0":
        raise ValueError("no <such> order")
    return prompt.text


def test_a_prompt_fails_where_a_trial_failed_or_a_score_is_below_its_threshold(tmp_path):
    prompts = [Prompt(f"p-{n}", "red cat", reference=("red cat" if n != 1 else "red dog sat",)) for n in range(4)]
    scores = ["f1:threshold=0.5", "exact"]  # without a threshold, a 0 fails nothing
    pipeline = Pipeline("cuts", [cut])
    options = {"arms": ["sync", "async"], "on": "inline", "warmup": 0, "repeats": 2, "out": tmp_path}
    run = bench(Dataset(prompts, "few"), pipeline, scores=scores, **options)
    (file,) = run.export("junit", tmp_path / "prompts.xml")
    suites = ElementTree.parse(file).getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("8", "4")
    assert [suite.get("name") for suite in suites] == ["quark-bench sync", "quark-bench async"]
    found = {case.get("name"): case.find("failure") for case in suites[1].iter("testcase")}
    assert [found[f"p-{n}"] is None for n in range(4)] == [False, False, True, True]
    assert (found["p-0"].get("type"), found["p-1"].get("type")) == ("failed", "score")
    assert found["p-0"].text.startswith("repeat 0: cut: ValueError: no <such> order, after ")
    assert found["p-1"].text.startswith("repeat 0: f1_pass: 0.400 is below 0.5")
    mean_s = run.records.query("arm == 'async' and prompt_id == 'p-2'")["latency_s"].mean()
    assert float(suites[1].findall("testcase")[2].get("time")) == pytest.approx(mean_s, abs=1e-6)
