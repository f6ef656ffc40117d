"""The page as a whole: its parts, its size, and what a reader with a keyboard, a phone or a printer meets."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from quark_bench.critical_path import shares
from quark_bench.measures import agent_table
from quark_bench.report.categories import FEWEST_PROMPTS, MOST_CATEGORIES, categories, category_rows
from quark_bench.report.cells import grid, more_rows
from quark_bench.report.dag import Weight, dag_svg
from quark_bench.report.environment import beside_baseline, between_arms
from quark_bench.report.html import render
from quark_bench.report.tiles import tiles
from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials

from .browsers import browser, faults, page_of
from .simulated_runs import ARMS, LAYOUT, made, with_tables

SECTIONS = [
    *("comparison", "forest", "attribution", "pairs", "latency", "order", "load", "scores", "agents", "failures"),
    *("categories", "waterfall", "prompts", "whatif", "objectives", "environment", "reproduce"),
]


@pytest.fixture(scope="module")
def findings():
    return made(failing=(3, 40))


@pytest.fixture(scope="module")
def page_path(findings, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(findings), "utf-8")
    return path


@pytest.fixture(scope="module")
def opened():
    with browser() as started:
        yield started


def test_the_parts_come_in_the_order_of_the_readers_questions(page_path):
    page = page_path.read_text("utf-8")
    assert re.findall(r'<section id="(\w+)">', page) == SECTIONS
    contents = re.search(r'<nav aria-label="Contents">(.*?)</nav>', page).group(1)
    assert re.findall(r'href="#(\w+)"', contents) == SECTIONS


def test_a_sentence_under_every_figure_says_what_it_answers_and_what_it_cannot(page_path):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page_path.read_text("utf-8"))
    assert len(captions) == 9
    for caption in captions:
        assert caption.startswith("Answers ")
        assert "cannot" in caption
        assert caption.count(". ") == 0


def test_a_run_of_ten_thousand_prompts_leaves_a_page_below_three_megabytes():
    page = render(made(prompts=10_000, failing=range(0, 10_000, 50)))
    assert len(page.encode("utf-8")) < 3_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_and_everything_has_a_name_and_its_place_on_screen_and_on_paper(
    opened, page_path, scheme
):
    with page_of(opened, page_path, color_scheme=scheme) as page:
        page.locator("#prompts tbody button").first.click()
        page.locator("summary").click()
        assert faults(page) == []
        page.emulate_media(media="print")
        assert faults(page) == []


def test_the_page_is_dark_where_the_reader_wants_it_dark(opened, page_path):
    grounds = []
    for scheme in ("light", "dark"):
        with page_of(opened, page_path, color_scheme=scheme) as page:
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds.append(sum(map(int, re.findall(r"\d+", colour))))
    assert grounds[0] > 600
    assert grounds[1] < 150


def test_paper_has_no_controls_and_shows_what_scrolls_on_a_screen(opened, page_path):
    with page_of(opened, page_path, viewport={"width": 794, "height": 1123}) as page:
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= 794
        assert page.locator(".search").is_hidden()
        assert page.locator("nav").is_hidden()
        assert page.get_by_text("mean critical path").is_visible()
        assert page.locator("#prompts tbody tr:visible").count() == 40
        assert page.locator(".tall").evaluate("each => getComputedStyle(each).overflowY") == "visible"


def test_the_keyboard_reaches_contents_search_headers_and_prompts(opened, page_path):
    with page_of(opened, page_path) as page:
        reached = []
        for _ in range(90):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent || document.activeElement.placeholder"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
        for wanted in ("Comparison", "id, text, answer, error", "picked", "q-004"):
            assert any(text.startswith(wanted) for text in reached), wanted


def test_without_its_script_the_page_still_shows_all_rows(opened, page_path):
    context = opened.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_path.as_uri())
    assert page.locator("#prompts tbody tr").count() == 64
    assert page.locator(".search").is_hidden()
    context.close()


def test_small_groups_are_marked_and_others_are_not():
    run = made(prompts=64)
    records = run.trials.all_records.copy()
    records.loc[records["prompt_id"].isin([f"q-{n:03d}" for n in range(1, 58)]), "category"] = "large"
    found = categories(with_tables(run, records=records))
    rows = {row.name: row for row in category_rows(found, "async")}
    assert rows["large"].prompts == "57"
    assert [row.small for row in rows.values()] == [int(row.prompts) < FEWEST_PROMPTS for row in rows.values()]
    assert rows["fact"].small


def test_repeats_of_a_prompt_count_once_in_its_category():
    found = categories(made(arms=ARMS[1:3], prompts=30, repeats=3))
    assert [each.prompts for each in found.by_arm["async"]] == [10, 10, 10]


def test_prompts_of_one_category_or_none_have_no_such_part(findings):
    records = findings.trials.all_records
    for category in ("one", None):
        assert categories(with_tables(findings, records=records.assign(category=category))) is None
    partly = records.assign(category=records["category"].where(records["category"] == "fact", None))
    found = categories(with_tables(findings, records=partly))
    assert [each.name for each in found.by_arm["sync"]] == ["(none)", "fact"]


def test_of_many_categories_the_largest_are_listed_and_the_others_counted(findings):
    records = findings.trials.all_records
    found = categories(with_tables(findings, records=records.assign(category=records["prompt_id"])))
    assert len(found.by_arm["sync"]) == MOST_CATEGORIES
    assert found.unlisted == 64 - MOST_CATEGORIES


def test_a_category_weighs_its_prompts_alone(findings):
    found = categories(findings).by_arm["async"]
    records = findings.trials.all_records
    for each in found:
        own = records[(records["arm"] == "async") & (records["category"] == each.name)]
        assert each.prompts == len(own)
        assert each.measures["failed"].value == pytest.approx((own["status"] == "failed").mean())
        assert each.measures["score_f1"].value == pytest.approx(own["score_f1"].mean())


def test_what_differs_between_arms_is_marked(findings):
    differ = {facts.label: facts.differ for facts in between_arms(findings)}
    assert differ["strategy"]
    assert differ["prompts in flight"]
    assert not differ["blocks"]
    assert between_arms(made(arms=ARMS[:1], prompts=2)) == []


def test_a_stored_baseline_is_laid_beside_this_run(findings, undrawn):
    then = findings.manifest["provenance"] | {"python": "3.10.1", "gone": "yes"}
    manifest = findings.manifest | {"gating": {"provenance": then}}
    facts = {each.label: each for each in beside_baseline(manifest)}
    assert facts["python"].values == ("3.10.1", "3.11.7")
    assert facts["python"].differ
    assert not facts["dask"].differ
    assert facts["gone"].values == ("yes", "n/a")
    assert "Where the stored baseline was measured" in render(replace(findings, manifest=manifest))
    assert beside_baseline(findings.manifest) == []


def test_retries_and_refusals_are_told_agent_by_agent(findings, page_path, undrawn):
    spans = findings.trials.all_spans
    again = spans[(spans["agent"] == "planning") & (spans["prompt_id"] == "q-005")].assign(attempt=2)
    refused = spans[(spans["agent"] == "memory") & (spans["prompt_id"] == "q-006")]
    refused = refused.assign(attempt=2, status="failed", error="CircuitOpenError: breaker 'memory' is open")
    trials = FrameTrials(findings.trials.all_records, pd.concat([spans, again, refused]))
    sums = sum_spans(trials, "async", LAYOUT)
    table = agent_table(sums, LAYOUT)
    assert table["retries"].to_dict() == {name: int(name == "planning") for name, _ in LAYOUT}
    assert table["refused"].to_dict() == {name: int(name == "memory") for name, _ in LAYOUT}
    assert (sums.again, sums.refused) == (1, 1)
    page = render(replace(findings, trials=trials, agents={"async": table}))
    assert '<th scope="col">retries</th><th scope="col">refused</th>' in page
    assert ">retries</th>" not in page_path.read_text("utf-8")


def test_the_dag_shows_how_long_agents_last_and_their_share_of_the_critical_path(findings):
    taken = shares(findings.agents["async"]["critical_path_share"].to_numpy())
    assert taken.sum() == pytest.approx(1)
    drawn = dag_svg(LAYOUT, {"reasoning": Weight("120 ms", 0.5)})
    assert "120 ms, 50.0 %</text>" in drawn
    assert "reasoning takes nlu, memory, retrieval, lasts 120 ms, 50.0 % of the critical path" in drawn
    assert "%" not in dag_svg(LAYOUT)


def test_measures_without_a_row_of_their_own_are_listed_unless_all_are_zero(findings):
    labels = [row.label for row in grid(findings, more_rows(findings)).rows]
    assert "mean critical path" in labels
    assert "tokens in" in labels
    assert "cost" not in labels
    assert not {"latency, mean", "p50 latency"} & set(labels)


def test_the_smallest_detectable_change_and_the_noise_stand_at_the_top():
    once, twice = (
        {tile.label: tile for tile in tiles(made(arms=ARMS[1:3], prompts=40, repeats=repeats))} for repeats in (1, 2)
    )
    assert once["smallest detectable"].value.endswith(" %")
    assert "A/A noise" not in once
    assert float(twice["A/A noise"].value.removesuffix("x")) == pytest.approx(1, abs=0.5)


def test_a_stranger_reads_at_the_top_which_agent_to_make_faster_first_and_what_that_gives(findings, page_path):
    first, second = findings.what_if.gains[:2]
    saved = [1 - each for each in (first.latency[1].value, first.latency[1].high, first.latency[1].low)]
    whole, low, high = (f"{each * 100:.1f}" for each in saved)
    told = f"Make {first.agent} faster first: 25 % faster, it would cut the latency of async by {whole} %"
    top = page_path.read_text("utf-8").partition("<main>")[0]
    assert f"<strong>{told} ({low} to {high} %); the next, {second.agent}, by " in top


def test_the_page_says_which_agent_to_make_faster_first_and_what_it_gives(findings, page_path, undrawn):
    best = findings.what_if.gains[0]
    tile = next(tile for tile in tiles(findings) if tile.label == "make faster first")
    assert tile.value == best.agent == "reasoning"
    assert re.fullmatch(r"25.0 % faster: latency -\d+\.\d %", tile.detail)
    page = page_path.read_text("utf-8")
    table = page[page.index('id="whatif"') :].partition("</section>")[0]
    assert "Make reasoning faster first: " in table
    assert len(re.findall(r'<th scope="row">', table)) == len(LAYOUT)
    without = render(replace(findings, what_if=None))
    assert 'id="whatif"' not in without
    assert "faster first" not in without
