"""What telling says about a run, in the terminal, in figures and on the page."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quark_bench.compare import compare_arms
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.measures import agent_table, measure_arm
from quark_bench.notebook import ShownComparison
from quark_bench.plan import Arm, Strategy
from quark_bench.record import REFUSAL
from quark_bench.report import sentences
from quark_bench.report.cells import SPEED, grid, interval, speed_rows
from quark_bench.report.dag import dag_svg, dag_text
from quark_bench.report.failures import kinds_of_failure
from quark_bench.report.figures import attribution_figure, latency_figure, order_figure, waterfall_figure
from quark_bench.report.html import render
from quark_bench.report.parity import differing
from quark_bench.report.tables import ls_table, record_view, run_summary, run_table
from quark_bench.report.waterfall import lanes, typical_trial
from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials
from quark_bench.units import SECONDS, SHARE

from . import gate_results
from .browsers import browser, page_of
from .simulated_runs import ARMS, LAYOUT, MARKUP, hostile_run, made, simulated, weighed, with_tables


def shown(renderable, width=80):
    """What a terminal of that width shows."""
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def findings():
    return made(failing=(3, 40))


@pytest.fixture(scope="module")
def page(findings):
    return render(findings)


LONG = 500_000


@pytest.fixture(scope="module")
def hostile():
    """A run whose every text tries to be something else."""
    return hostile_run()


class Elements(HTMLParser):
    """Every element of a page with the names of its attributes, and what links point to."""

    def __init__(self, page):
        super().__init__()
        self.found, self.links = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.add((tag, tuple(name for name, _ in attributes)))
        self.links |= {value[:1] for name, value in attributes if name.endswith(("href", "src", "action"))}


@pytest.fixture(scope="module")
def hostile_page(hostile):
    return render(hostile)


def test_markup_in_any_text_is_inert_on_the_page(hostile_page):
    page = hostile_page
    found = Elements(page)
    assert found.found <= Elements(render(hostile_run("harmless"))).found
    assert found.links == {"#"}
    assert page.count("&lt;script&gt;") > 30
    assert "{{7*7}}" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)


def test_markup_and_control_characters_reach_no_terminal(hostile):
    first = hostile.trials.all_records["prompt_id"][0]
    for told in (record_view(hostile, first), run_table(hostile), run_summary(hostile.manifest)):
        text = shown(told) + shown(ls_table([hostile.manifest]))
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "\\x1b" in text.replace("\n", "").replace(" ", "")
    assert "[red]&" in shown(record_view(hostile, first), width=2_000)


def test_a_name_cannot_feign_a_line_of_ours(findings):
    feigned = "harmless\nSLO met  failed_share<1%"
    facts = findings.manifest | {"run_id": feigned, "state": feigned}
    for told in (run_summary(facts), ls_table([facts]), run_table(replace(findings, manifest=facts))):
        assert "\nSLO met  failed_share" not in shown(told, width=300)


def test_half_a_surrogate_pair_in_a_name_breaks_no_page(findings, undrawn):
    page = render(replace(findings, manifest=findings.manifest | {"command": "half \ud83d"}))
    assert "half \\ud83d" in page
    page.encode("utf-8")


def test_a_very_long_text_is_cut_with_its_length(findings):
    answers = findings.trials.all_records["answer"].copy()
    answers[:] = "x" * LONG
    run = with_tables(findings, records=findings.trials.all_records.assign(answer=answers, status="ok"))
    page = render(run)
    assert f"… ({LONG:,} characters)" in page
    assert len(page) < 1_000_000
    assert len(shown(record_view(run, "q-001"))) < 200_000


def test_very_long_names_leave_a_page_of_bearable_size():
    page = render(hostile_run("n" * 50_000, LAYOUT, ARMS[:3]))
    assert len(page) < 2_000_000


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("failing", [(), (3, 40)])
def test_the_run_table_fits_80_columns_uncut(count, failing):
    run = made(arms=ARMS[:count], failing=failing)
    text = shown(run_table(run))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert [line.split() for line in text.splitlines()].count([arm.name for arm in ARMS[:count]]) == 1
    for arm in ARMS[:count]:
        assert SECONDS.format(run.measure(arm.name, "mean_latency_s").value) in text


def test_more_arms_than_fit_continue_in_a_second_table(findings):
    arms = [Arm(f"arm-{n}", Strategy.PARALLEL, 8) for n in range(6)]
    text = shown(run_table(made(arms=arms, prompts=16)))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("latency, mean") == 2
    assert all(arm.name in text for arm in arms)


def test_names_too_long_for_their_column_are_folded_not_cut():
    arms = [Arm("a-model-of-an-unusually-long-name@main", Strategy.PARALLEL, 8), Arm("b" * 60, Strategy.PARALLEL, 8)]
    run = made(arms=arms, prompts=16)
    text = shown(run_table(run)) + shown(ls_table([run.manifest] * 2)) + shown(record_view(run, "q-001"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_the_run_table_says_what_the_findings_hold(findings):
    text = " ".join(shown(run_table(findings)).split())
    assert "simulated latency (demo)" in text
    assert "async vs sync: " in text
    assert "2 pairs left out" in text
    assert "x branches x" in text
    assert "Target met mean_latency_s<2" in text
    assert "SLO missed sync.p95_latency_s<200ms" in text
    assert "Granularity chunk: a hop costs 10 ms" in text
    assert "192 trials: 186 ok, 6 failed" in text


def test_real_latencies_are_never_called_simulated(findings):
    real = {**findings.manifest, "pipeline": {**findings.manifest["pipeline"], "latency_profile": None}}
    run = replace(findings, manifest=real)
    assert "simulated latency" not in shown(run_table(run)) + render(run)


def test_every_table_and_figure_of_a_simulated_run_says_so(findings, page):
    titles = re.findall(r"<caption>(.*?)</caption>", page, re.DOTALL)
    titles += re.findall(r'<svg class="figure" role="img" aria-label="(.*?)"', page)
    assert len(titles) == 17 + 8
    assert [title for title in titles if "simulated latency (demo)" not in title] == []
    for figure in (attribution_figure, latency_figure, order_figure, waterfall_figure):
        assert "simulated latency (demo)</text>" in figure(findings)


def test_every_table_and_figure_of_a_run_that_learned_says_so_and_that_its_arms_do_not_compare(findings, page, undrawn):
    learned = {**findings.manifest, "pipeline": {**findings.manifest["pipeline"], "learns_in": "/home/me/memory.db"}}
    run = replace(findings, manifest=learned)
    learning, table = render(run), " ".join(shown(run_table(run)).split())
    titles = re.findall(r"<caption>(.*?)</caption>", learning, re.DOTALL)
    titles += re.findall(r'<svg class="figure" role="img" aria-label="(.*?)"', learning)
    assert [title for title in titles if "learning as it goes" not in title] == []
    assert table.count("learning as it goes") == 1
    for told in (learning, table):
        assert "in /home/me/memory.db" in told
        assert "its arms and repeats do not compare" in told
    assert "do not compare" not in page + shown(run_table(findings))


def test_differing_answers_are_named(findings):
    changed = findings.trials.all_records.copy()
    changed.loc[(changed["arm"] == "async") & (changed["prompt_id"] == "q-007"), "answer"] = "another"
    compared = compare_arms(changed, "sync", "async", findings.measures["sync"], findings.measures["async"])
    assert sentences.answers(compared) == "async and sync differ in 1 answer: q-007"
    told = replace(with_tables(findings, changed), comparisons=[compared])
    (row,) = differing(told)
    before = changed.query("arm == 'sync' and prompt_id == 'q-007'")["answer"].iloc[0]
    assert (row.prompt_id, row.answer_a, row.answer_b) == ("q-007", before, "another")
    assert "another" in render(told)


def test_a_slower_arm_is_called_slower_by_the_turned_ratio(findings):
    compared = next(each for each in findings.comparisons if each.b == "async")
    turned = replace(compared, latency=replace(compared.latency, value=0.5, low=0.4, high=0.625))
    assert "latency 2.00x slower [1.60x to 2.50x]" in sentences.comparison(turned)


def test_an_interval_around_one_is_called_no_clear_difference(findings):
    compared = next(each for each in findings.comparisons if each.b == "async")
    even = replace(compared, throughput=replace(compared.throughput, value=1.01, low=0.97, high=1.05))
    assert "1.01x throughput [0.970x to 1.05x, 2 blocks], no clear difference" in sentences.comparison(even)


def test_an_arm_is_marked_best_only_where_intervals_are_apart(findings):
    rows = {row.label: row for row in grid(findings, SPEED).rows}
    assert [cell.best for cell in rows["throughput"].cells] == [False, False, True]
    assert not any(cell.best for cell in rows["latency, median"].cells)


def test_a_missing_value_is_not_a_number_and_says_why():
    run = made(failing=range(64))
    cells = next(row for row in grid(run, SPEED).rows if row.label == "latency, median").cells
    assert {cell.value for cell in cells} == {"n/a"}
    assert all(cell.note for cell in cells)


def test_an_interval_writes_a_common_unit_once():
    assert interval(SECONDS, 0.148, 0.157) == "148 to 157 ms"
    assert interval(SECONDS, 0.95, 1.02) == "950 ms to 1.02 s"
    assert interval(SHARE, 0.1, None) == ""


def test_the_page_is_the_same_for_the_same_findings(findings, page):
    assert render(findings) == page


def test_a_run_whose_every_trial_failed_is_told():
    run = made(failing=range(64))
    page, text = render(run), shown(run_table(run))
    assert "gave an answer, so there is nothing to compare" in page
    assert "TimeoutError: after 60 s" in page
    assert "192 failed" in text
    assert latency_figure(run) is None


def test_a_run_of_one_arm_is_told_without_a_comparison():
    run = made(arms=ARMS[2:3])
    page, text = render(run), shown(run_table(run))
    assert "median latency" in page
    assert " vs " not in text
    assert attribution_figure(run) is None


def test_a_run_without_any_record_is_told(findings):
    run = made(arms=ARMS[:1], prompts=1)
    nothing = FrameTrials(run.trials.all_records[:0], run.trials.all_spans[:0])
    empty = replace(
        run,
        manifest={**run.manifest, "state": "interrupted", "conservation": {**NOTHING, "planned": 1, "not_run": 1}},
        trials=nothing,
        measures={"sync": measure_arm(nothing, "sync", sum_spans(nothing, "sync", LAYOUT), 1, [])},
        agents={"sync": agent_table(sum_spans(nothing, "sync", LAYOUT), LAYOUT)},
        slos=[],
    )
    assert "This run is interrupted" in render(empty)
    assert "1 not run" in shown(run_table(empty))


def test_goodput_stands_beside_throughput_where_something_failed():
    labels = [[row.label for row in grid(run, speed_rows(run)).rows] for run in (made(), made(failing=(3, 40)))]
    assert "goodput" not in labels[0]
    assert labels[1].index("goodput") == labels[1].index("throughput") + 1
    assert not any("degraded" in each for each in labels)


NOTHING = {"planned": 0, "ok": 0, "degraded": 0, "failed": 0, "not_run": 0}


def test_failures_are_grouped_with_up_to_three_prompts(undrawn):
    page = render(made(failing=(1, 2, 3, 4)))
    failures = page[page.index('id="failures"') :].partition("</section>")[0]
    assert re.findall(r"<code title=[^>]*>([^<]+)<", failures) == ["q-002", "q-003", "q-004"]
    assert "<td>12</td>" in failures


def test_errors_of_one_class_are_one_kind_whatever_their_messages(undrawn):
    run = made(failing=(1, 2, 3, 4))
    records = run.trials.all_records.copy()
    struck = (records["status"] == "failed") & (records["arm"] == "async")
    records.loc[struck, "error"] = [f"ValueError: no {prompt}" for prompt in records.loc[struck, "prompt_id"]]
    kinds = kinds_of_failure(with_tables(run, records=records), 20).listed
    assert [(kind.error, kind.trials, kind.others) for kind in kinds] == [
        ("TimeoutError: after 60 s", 8, 0),
        ("ValueError: no q-002", 4, 3),
    ]
    assert "and 3 other messages of this class" in render(with_tables(run, records=records))


BREAKERS = [
    {
        "session": 0,
        "arm": "async",
        "breaker": MARKUP,
        "opened": 2,
        "probes": 1,
        "refused": 31,
        "state": "open",
        "transitions": [[1.25, "open"], [31.25, "half-open"], [31.5, "open"], *[[40.0, "half-open"]] * 20],
    },
    {
        "session": 1,
        "arm": "sync",
        "breaker": "quiet",
        "opened": 0,
        "probes": 0,
        "refused": 0,
        "state": "closed",
        "transitions": [],
    },
]


def test_what_was_predicted_is_told_beside_what_it_took_for_arms_that_had_a_choice(findings, page):
    told = "async: predicted 4.10 s by chunk, 6.90 s by agent; took 4.30 s"
    assert sentences.predictions(findings.manifest) == [told.replace("async", "parallel"), told]
    assert told in shown(run_table(findings))
    assert told in page
    undone = findings.manifest["granularity"] | {"took_s": {}}
    assert sentences.predictions({"granularity": undone})[1].endswith("took n/a")
    assert sentences.predictions({"granularity": {"choice": "chunk", "reason": "of old"}}) == []


def test_breakers_are_told_on_the_page_and_those_that_opened_in_the_terminal(findings, undrawn):
    run = replace(findings, manifest={**findings.manifest, "breakers": BREAKERS})
    page, text = render(run), " ".join(shown(run_table(run)).split())
    section = page[page.index('id="breakers"') :].partition("</section>")[0]
    assert "<script" not in section
    assert "open at 1.25 s, half-open at 31.2 s, open at 31.5 s" in section
    assert "and 11 more" in section
    assert re.findall(r"<td>(\d+)</td>", section) == ["2", "31", "1", "0", "0", "0"]
    assert "session 2" in section
    assert "opened 2 times, refused 31 calls, made 1 probe, open at the end" in text
    assert "quiet" not in text


def test_runs_without_breakers_and_runs_of_old_have_no_such_section(findings, undrawn):
    for manifest in (findings.manifest, {**findings.manifest, "breakers": []}):
        run = replace(findings, manifest=manifest)
        assert "breaker" not in shown(run_table(run))
        assert 'id="breakers"' not in render(run)


@pytest.fixture(scope="module")
def degraded():
    """A run in which a fallback answered for 'planning' in some records, and the engine failed in others."""
    records, spans, _ = simulated()
    answered = (records["prompt_id"].isin(["q-001", "q-002", "q-003"])) & (records["arm"] == "async")
    starved = (records["prompt_id"].isin(["q-010", "q-011"])) & (records["arm"] == "parallel")
    records.loc[answered, ["status", "error", "error_agent", "fallbacks"]] = [
        "degraded",
        "ValueError: x",
        "planning",
        1,
    ]
    records.loc[starved, ["status", "error"]] = ["degraded", "EngineFaultError: no thread; went on sequentially"]
    own = (
        spans["prompt_id"].isin(["q-001", "q-002", "q-003"])
        & (spans["arm"] == "async")
        & (spans["agent"] == "planning")
    )
    tried = spans[own].assign(status="failed", error="ValueError: x")
    spans.loc[own, ["status", "attempt", "error"]] = ["fallback", 2, None]
    return weighed(ARMS[:3], 64, 1, LAYOUT, records, pd.concat([spans, tried]), 1.0)


def test_degraded_records_are_counted_arm_by_arm(degraded, undrawn):
    row = next(row for row in grid(degraded, SPEED).rows if row.label == "degraded")
    assert [cell.details[-1] for cell in row.cells[1:]] == ["records 2", "records 3"]
    assert row.cells[0].value == "0 %"
    assert "degraded 0 % 3.12 % 4.69 %" in " ".join(shown(run_table(degraded)).split())
    assert ">degraded</th>" in render(degraded)


def test_a_call_that_a_breaker_refused_is_shown_as_refused(degraded):
    spans = degraded.trials.all_spans.copy()
    struck = (spans["prompt_id"] == "q-001") & (spans["agent"] == "planning") & (spans["status"] == "failed")
    spans.loc[struck, "error"] = f"{REFUSAL}: breaker 'planning' is open"
    refused = with_tables(degraded, spans=spans)
    (lane,) = (lane for lane in lanes(refused, "q-001") if lane.arm == "async")
    assert [bar.status for bar in lane.bars if bar.agent == "planning"] == ["refused", "fallback"]
    assert "refused" in shown(record_view(refused, "q-001"))


def test_a_fallbacks_span_is_work_and_its_agent_has_not_failed(degraded):
    planning = degraded.agents["async"].loc["planning"]
    assert (planning["calls"], planning["failed"], planning["fallback"]) == (64, 0, 3)
    assert degraded.measure("async", "fallbacks").value == 3
    assert degraded.measure("async", "retries").value == 0
    (lane,) = (lane for lane in lanes(degraded, "q-001") if lane.arm == "async")
    assert [bar.status for bar in lane.bars if bar.agent == "planning"] == ["failed", "fallback"]
    assert "fallback" in shown(record_view(degraded, "q-001"))


def test_a_comparison_tells_how_many_records_went_on_sequentially(degraded, undrawn):
    told = "0 records of sync and 2 of parallel went on sequentially after a fault of the engine"
    assert told in " ".join(shown(run_table(degraded)).split())
    assert told in render(degraded)
    compared = ShownComparison.of(degraded.comparisons[0])
    assert compared.went_sequential == (0, 2)
    assert told in repr(compared)
    assert told in compared._repr_html_()
    assert sentences.faults(degraded.comparisons[1]) == ""
    assert "the engine: EngineFaultError: no thread" in " ".join(shown(run_table(degraded)).split())


def test_an_unknown_prompt_is_answered_with_the_nearest(findings):
    with pytest.raises(UsageError, match="did you mean 'q-007'"):
        record_view(findings, "q-0077")


def test_the_typical_prompt_has_the_median_latency_of_the_last_arm(findings):
    prompt_id, repeat = typical_trial(findings)
    last = findings.trials.all_records[
        (findings.trials.all_records["arm"] == "async") & (findings.trials.all_records["status"] == "ok")
    ]
    own_s = last.loc[(last["prompt_id"] == prompt_id) & (last["repeat"] == repeat), "latency_s"].item()
    assert (last["latency_s"] < own_s).sum() == (len(last) - 1) // 2


def test_bars_on_the_critical_path_add_up_to_it(findings):
    for lane in lanes(findings, "q-010"):
        records = findings.trials.all_records
        record = records[(records["arm"] == lane.arm) & (records["prompt_id"] == "q-010")].iloc[0]
        on_chain_s = sum(bar.duration_s for bar in lane.bars if bar.on_chain)
        assert on_chain_s == pytest.approx(record["critical_path_s"])


def test_a_run_with_a_cache_says_so_in_every_title_and_tells_what_was_reused(findings, page, undrawn):
    about = {"file": "/kept/cache.sqlite", "not_kept": 1, "errors": 3, "last_error": "ExecutionError: locked"}
    cached = replace(findings, manifest=findings.manifest | {"cache": about})
    spans = findings.trials.all_spans.copy()
    spans.loc[spans["agent"] == "metrics", ["status", "attempt"]] = ["cached", 0]
    sums = {arm: sum_spans(FrameTrials(findings.trials.all_records, spans), arm, LAYOUT) for arm in findings.arms}
    measures = {arm: dict(found) for arm, found in findings.measures.items()}
    for arm in findings.arms:
        calls = replace(measures[arm]["cached_calls"], value=sums[arm].by_agent["cached"].sum())
        measures[arm]["cached_calls"] = calls
    cached = replace(cached, measures=measures, agents={arm: agent_table(sums[arm], LAYOUT) for arm in findings.arms})
    text, cached_page = shown(run_table(cached), 400), render(cached)
    told = (
        "Cache /kept/cache.sqlite: 192 calls answered by equal ones; 1 output not kept, being no plain data; 3 faults "
        "of the cache, the last one ExecutionError: locked; latency and throughput of arms that were answered so are "
        "not comparable"
    )
    assert told in text
    assert told in cached_page
    assert "), cache" in text.splitlines()[0]
    assert next(line for line in text.splitlines() if line.startswith("cached calls")).split()[2:] == ["64"] * 3
    assert ">cached</th>" in cached_page
    assert "cached" not in shown(run_table(findings)) + page


@pytest.mark.parametrize("status", ["skipped", "cached"])
def test_an_agent_that_was_not_called_is_named_without_a_bar(findings, status):
    skipped = findings.trials.all_spans.copy()
    metrics = skipped["agent"] == "metrics"
    skipped.loc[metrics, ["status", "attempt"]] = [status, 0]
    skipped.loc[metrics, "end_s"] = skipped.loc[metrics, "start_s"]
    line = next(
        line
        for line in shown(record_view(with_tables(findings, spans=skipped), "q-001")).splitlines()
        if "metrics" in line
    )
    assert status in line
    assert "█" not in line
    assert "▒" not in line


def test_a_long_run_draws_a_bounded_number_of_points():
    small, large = made(prompts=2_000, arms=ARMS[2:3]), made(prompts=6_000, arms=ARMS[2:3])
    assert len(order_figure(large)) < 1.2 * len(order_figure(small))
    assert len(latency_figure(large)) < 1.5 * len(latency_figure(small))


def test_the_dag_as_text_shows_levels_and_inputs():
    assert dag_text(LAYOUT).splitlines()[:5] == [
        "  nlu               ← prompt",
        "  memory            ← prompt",
        "  retrieval         ← prompt",
        "  ↓",
        "  reasoning         ← nlu, memory, retrieval",
    ]


@st.composite
def layouts(draw):
    """DAGs of up to eight agents with names of any length and letters."""
    names = draw(
        st.lists(
            st.text(st.characters(codec="ascii", categories=["L", "N", "S"]), min_size=1, max_size=90),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    return [
        (name, tuple(draw(st.sets(st.sampled_from(names[:index]))) if index else ()))
        for index, name in enumerate(names)
    ]


@given(layouts())
def test_any_dag_fits_80_columns_and_draws_each_agent_and_edge(layout):
    assert max(map(len, dag_text(layout).splitlines())) <= 80
    drawn = dag_svg(layout)
    assert drawn.count("<rect ") == len(layout)
    assert drawn.count("marker-end") == sum(len(needed) for _, needed in layout)
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_boxes_of_the_dag_do_not_overlap():
    boxes = [
        tuple(map(float, found))
        for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', dag_svg(LAYOUT))
    ]
    for x, y, width in boxes:
        others = [box for box in boxes if box != (x, y, width)]
        assert not any(
            abs(y - other_y) < 34 and x < other_x + other_w and other_x < x + width
            for other_x, other_y, other_w in others
        )


def with_gate(findings, result):
    return replace(findings, manifest=findings.manifest | {"gate": result.as_data()})


def test_a_gate_is_told_at_the_top_of_the_page(findings, page, undrawn):
    gated = render(with_gate(findings, gate_results.REGRESSED))
    assert '<p class="banner verdict regressed">regressed against main (3fe2b81): latency 1.22' in gated
    assert gated.index("<h2>Gate</h2>") < gated.index("<h2>Comparison</h2>")
    assert '<td class="verdict inconclusive">inconclusive</td>' in gated
    assert "<li>memory 1.500x slower [1.490x to 1.510x], 2.0 % of the critical path</li>" in gated
    assert "Gate" not in page


def test_a_missed_objective_makes_the_banner_of_a_pass_red(findings, undrawn):
    missed = replace(gate_results.PASSED, slos_missed=("p95_latency_s<2",))
    assert '<p class="banner verdict regressed">objective missed' in render(with_gate(findings, missed))


def test_a_gate_that_cannot_be_read_is_named(findings):
    damaged = gate_results.PASSED.as_data() | {"verdict": "perhaps"}
    with pytest.raises(RunNotFoundError, match="its gate cannot be read"):
        render(replace(findings, manifest=findings.manifest | {"gate": damaged}))


def test_the_page_opens_offline_in_a_browser_at_any_width(page, hostile_page, tmp_path):
    with browser() as opened:
        for name, text, figures in (("plain", page, 9), ("hostile", hostile_page, 8)):
            path = tmp_path / f"{name}.html"
            path.write_text(text, "utf-8")
            for width in (1200, 390):
                with page_of(opened, path, viewport={"width": width, "height": 900}) as shown_page:
                    assert shown_page.evaluate("document.documentElement.scrollWidth") <= width
                    assert shown_page.locator("figure svg").count() == figures
