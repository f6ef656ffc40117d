"""The table of prompts on the page, sorted, searched and opened in a browser."""

import json
import re
from collections import Counter

import pytest

from quark_bench.report.html import render
from quark_bench.report.timeline import MOST_BEST, MOST_DRAWN, MOST_WORST, pick, timeline

from .browsers import browser, page_of
from .simulated_runs import ARMS, MARKUP, hostile_run, made


@pytest.fixture(scope="module")
def opened():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(made(failing=(3, 40))), "utf-8")
    return path


def ids(page):
    return page.locator("#prompts tbody tr:visible th button").all_inner_texts()


def test_the_worst_prompts_come_first_failures_before_all(opened, page_path):
    with page_of(opened, page_path) as page:
        assert set(ids(page)[:2]) == {"q-004", "q-041"}
        assert len(ids(page)) == 64


def test_a_header_sorts_up_and_then_down_and_says_so(opened, page_path):
    with page_of(opened, page_path) as page:
        head = page.locator("#prompts thead th").nth(4)
        for order, turned in (("ascending", False), ("descending", True)):
            head.locator("button").press("Enter")
            shown = [
                float(key)
                for key in page.locator("#prompts tbody td:nth-child(5)").evaluate_all(
                    "all => all.map(each => each.dataset.key)"
                )
            ]
            assert shown == sorted(shown, reverse=turned)
            assert head.get_attribute("aria-sort") == order
        page.locator("#prompts thead button").first.click()
        assert head.get_attribute("aria-sort") is None
        assert ids(page) == sorted(ids(page))


def test_a_search_leaves_the_prompts_that_have_it_in_their_texts(opened, page_path):
    with page_of(opened, page_path) as page:
        search = page.get_by_label("Search")
        search.fill("Q-007")
        assert ids(page) == ["q-007"]
        assert page.locator("#prompts output").inner_text() == "1 of 64 shown"
        search.fill("TimeoutError")
        assert set(ids(page)) == {"q-004", "q-041"}
        search.fill("nowhere")
        assert page.get_by_text("No prompt of this table has that in it.").is_visible()


def test_a_prompt_opens_the_calls_of_its_agents_under_each_arm(opened, page_path):
    with page_of(opened, page_path) as page:
        button = page.get_by_role("button", name="q-007")
        button.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        assert [text.split(":")[0] for text in page.locator(".lane h3").all_inner_texts()] == [
            "sync",
            "parallel",
            "async",
        ]
        assert page.locator(".lane .bars li").count() == 21
        assert "the answer to q-007" in page.locator(".lane").first.inner_text()
        assert page.locator(".lane").last.get_by_text("on the critical path").count() == 4
        page.get_by_label("Search").fill("q-008")
        assert page.locator(".lane").first.is_hidden()
        page.get_by_label("Search").fill("")
        button.press("Enter")
        assert page.locator(".lane").count() == 0
        assert button.get_attribute("aria-expanded") == "false"


def test_markup_stays_text_in_an_opened_prompt(opened, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(render(hostile_run()), "utf-8")
    with page_of(opened, path) as page:
        page.locator("#prompts tbody button").first.click()
        assert page.locator("#prompts script:not([type]), #prompts img, #prompts a").count() == 0
        assert "<script>alert('x')</script>" in page.locator("tr.opened").inner_text()
        page.get_by_label("Search").fill("<img src=x")
        assert len(ids(page)) == 64


def test_the_waterfalls_cannot_end_their_script_element():
    data = timeline(hostile_run()).data
    assert "<" not in data
    assert MARKUP[:40] in json.loads(data)["prompts"][0]["text"]


def test_of_a_long_run_the_worst_the_best_and_some_drawn_are_picked():
    run = made(prompts=600, arms=ARMS[2:3], repeats=2)
    picked = pick(run)
    assert Counter(each.why for each in picked) == {"worst": MOST_WORST, "best": MOST_BEST, "drawn": MOST_DRAWN}
    assert len({each.prompt_id for each in picked}) == len(picked)
    assert pick(run) == picked
    slowest = run.trials.all_records.sort_values("latency_s").iloc[-1]
    assert (picked[0].prompt_id, picked[0].repeat) == (slowest["prompt_id"], slowest["repeat"])
    shown = timeline(run)
    assert shown.unlisted == 600 - len(picked)


def test_texts_of_any_length_leave_waterfalls_of_bounded_size():
    found = timeline(hostile_run("n" * 200_000))
    assert len(found.data) < 500_000


def test_numbers_of_the_table_are_keys_that_sort(page_path):
    keys = re.findall(r'data-key="([^"]*)"', page_path.read_text("utf-8"))
    assert len(keys) > 64 * 3
    assert all(float(key) > 0 for key in keys)
