"""The figures of a run, and what is computed for them."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.compare import attribute
from quark_bench.report import figures
from quark_bench.report.findings import Findings
from quark_bench.report.load import loads
from quark_bench.report.pairs import pairs_of
from quark_bench.report.ratios import MOST_AGENTS, ratios
from quark_bench.stats import quantile_band, quantile_interval

from .simulated_runs import ARMS, LAYOUT, made, with_tables

FIGURES = {
    "attribution": figures.attribution_figure,
    "forest": lambda run: figures.forest_figure(run, ratios(run)),
    "latency": figures.latency_figure,
    "load": figures.load_figure,
    "order": figures.order_figure,
    "pairs": lambda run: figures.pairs_figure(run, pairs_of(run)),
    "waterfall": figures.waterfall_figure,
}
THIN_RUNS = {
    "one prompt": lambda: made(prompts=1),
    "one arm": lambda: made(arms=ARMS[:1], prompts=8),
    "one arm of one prompt": lambda: made(arms=ARMS[2:3], prompts=1),
    "two arms, repeated": lambda: made(arms=ARMS[1:3], prompts=4, repeats=2),
    "all failed": lambda: made(prompts=8, failing=range(8)),
    "all but one failed": lambda: made(prompts=8, failing=range(7)),
    "no spans": lambda: (run := made(prompts=8)) and with_tables(run, spans=run.trials.all_spans[:0]),
}


@pytest.fixture(scope="module")
def findings() -> Findings:
    return made(failing=(3, 40))


@pytest.fixture(scope="module", params=THIN_RUNS)
def thin_run(request) -> Findings:
    return THIN_RUNS[request.param]()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_a_thin_run_is_drawn_or_left_out(thin_run, name):
    drawn = FIGURES[name](thin_run)
    assert drawn is None or ElementTree.fromstring(drawn).tag.endswith("svg")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_name_and_the_conditions_of_its_run(findings, name):
    drawn = FIGURES[name](findings)
    assert re.search(r'role="img" aria-label="[^"]+, simulated latency \(demo\)"', drawn)
    assert "nan" not in drawn.lower().replace("nano", "")


def test_an_arm_is_compared_as_a_whole_and_agent_by_agent(findings):
    found = ratios(findings)
    assert [each.b for each in found] == ["parallel", "async"]
    for each in found:
        assert list(each.agents) == [name for name, _ in LAYOUT]
        assert all(ratio.low < 1.1 and ratio.high > 0.9 for ratio in each.agents.values()), "they are drawn alike"
    assert found[1].throughput.value > 5


def test_an_agent_that_takes_twice_as_long_has_half_the_ratio(findings):
    spans = findings.trials.all_spans.copy()
    slow = (spans["arm"] == "async") & (spans["agent"] == "reasoning")
    spans.loc[slow, "start_s"] -= (spans["end_s"] - spans["start_s"])[slow]
    plain, slowed = (ratios(run)[1].agents["reasoning"] for run in (findings, with_tables(findings, spans=spans)))
    assert slowed.value == pytest.approx(plain.value / 2)


def test_of_many_agents_the_busiest_are_compared():
    layout = tuple((f"agent-{n}", ()) for n in range(7))
    run = made(prompts=8, layout=layout)
    assert len(ratios(run)[0].agents) == 7 <= MOST_AGENTS


def test_the_steps_of_the_attribution_multiply_to_the_gain(findings):
    drawn = figures.attribution_figure(findings)
    assert "8 prompts in flight" in drawn
    assert "overhead and waits" in drawn
    shown = [float(text) for text in re.findall(r">([\d.]+)x</text>", drawn)]
    throughput, _ = attribute(findings.trials.all_records)
    assert any(value == pytest.approx(throughput.total.value, rel=0.01) for value in shown)


def test_prompts_that_gained_least_are_listed_first():
    run = made(prompts=40)
    records = run.trials.all_records.copy()
    records.loc[(records["arm"] == "async") & (records["prompt_id"] == "q-009"), "latency_s"] = 9.0
    pairs = pairs_of(with_tables(run, records=records))
    worst = pairs.worst()
    assert worst[0].prompt_id == "q-009"
    assert worst[0].gain < 0.1
    assert pairs.slower >= 1
    assert [each.gain for each in worst] == sorted(each.gain for each in worst)


def test_a_pair_takes_the_medians_of_its_repeats():
    run = made(arms=ARMS[1:3], prompts=3, repeats=3)
    records = run.trials.all_records
    own = records[(records["arm"] == "async") & (records["prompt_id"] == "q-002")]["latency_s"]
    assert pairs_of(run).times.loc["q-002", "b_s"] == pytest.approx(own.median())


def test_throughput_over_time_adds_up_to_what_was_completed(findings):
    for load in loads(findings):
        done = load.per_s.sum() * load.took_s / len(load.per_s)
        assert done == pytest.approx(64)


def test_calls_under_way_over_time_add_up_to_the_work(findings):
    spans = findings.trials.all_spans
    for load in loads(findings):
        own = spans[spans["arm"] == load.arm]
        work_s = (own["end_s"] - own["start_s"]).sum()
        assert load.under_way.mean() * load.took_s == pytest.approx(work_s, rel=0.02)
    sync = loads(findings)[0]
    assert sync.under_way.max() <= 1.0 + 1e-6


def test_sessions_that_share_block_numbers_are_joined_not_mixed(findings):
    records, spans = (
        pd.concat([frame, frame.assign(session=1)])
        for frame in (findings.trials.all_records, findings.trials.all_spans)
    )
    once, twice = loads(findings), loads(with_tables(findings, records, spans))
    assert [load.took_s for load in twice] == pytest.approx([2 * load.took_s for load in once])
    assert max(twice[0].under_way) <= 1.0 + 1e-6


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=80), st.integers(0, 5))
def test_a_band_has_the_bounds_of_the_quantiles_intervals(values, failed):
    ordered = np.sort(np.array([*values, *[np.inf] * failed]))
    at = np.array([0.1, 0.5, 0.9])
    for q, low, high in zip(at, *quantile_band(ordered, at, len(ordered)), strict=True):
        found = quantile_interval(ordered, float(q))
        if found.low is not None:
            assert (low, high) == (found.low, found.high)
        else:
            assert np.isnan(low) or not np.isfinite(high) or low == high or found.value is None
