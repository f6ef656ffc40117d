"""A gate's result as Markdown and as annotations on GitHub."""

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.report.gate_markdown import annotations, escaped, gate_markdown
from quark_bench.rule import Verdict

from .gate_results import AS_FAST, MADE, OPEN, PASSED, REGRESSED, gated, hostile, results

HOSTILE = (
    "a|b `code` <img src=x> [link](http://x) **bold** @someone #1 https://x www.x ![i](x)\n\n# heading\r::error::x"
)


def test_the_page_begins_with_the_verdict_and_has_a_table_of_the_measures():
    page = gate_markdown(REGRESSED)
    assert page.startswith("### ❌ quark-bench gate: regressed against main ")
    assert "| latency | 307 ms | 375 ms | 1.220x | 1.210x to 1.230x | ❌ regressed |" in page
    assert "- memory 1.500x slower" in page
    assert gate_markdown(PASSED).startswith("### ✅")
    assert gate_markdown(OPEN).startswith("### ⚠️")
    assert gate_markdown(replace(PASSED, slos_missed=("p95_latency_s<2",))).startswith("### ❌")


@given(st.text(max_size=40))
def test_what_users_wrote_is_text_only(text):
    told = escaped(text + HOSTILE)
    bare = re.sub(r"&#\d+;", "", told)
    assert not re.search(r"[|`<>\[\]*@#!\n\r_\\$~{}()]|://|www\.", bare)
    assert html.unescape(told).endswith(HOSTILE.replace("\n", "\\n").replace("\r", "\\r"))


@given(results)
def test_any_result_has_a_row_of_six_cells_per_measure(result):
    rows = [line for line in gate_markdown(result).splitlines() if line.startswith("| ")]
    assert len(rows) == (2 + len(result.judged) if result.judged else 0)
    assert all(row.count("|") == 7 for row in rows)


def test_no_name_makes_a_line_of_its_own():
    assert len(gate_markdown(hostile(HOSTILE)).splitlines()) == len(gate_markdown(hostile("x")).splitlines())


def test_each_regression_is_an_error_and_what_is_open_a_warning():
    kinds = [line.split(" ")[0] for line in annotations(REGRESSED)]
    assert kinds == ["::error"] * 3
    assert [line.split(" ")[0] for line in annotations(OPEN)] == ["::warning"]
    assert [line.split(" ")[0] for line in annotations(PASSED)] == ["::notice"]
    assert annotations(replace(PASSED, slos_missed=("p95_latency_s<2",))) == (
        "::error title=quark-bench gate%3A objective missed::p95_latency_s<2",
    )


def test_a_verdict_that_no_measure_stands_for_is_annotated_too():
    (told,) = annotations(gated(Verdict.INCONCLUSIVE, AS_FAST))
    assert told.startswith("::warning ")


@pytest.mark.parametrize("result", [*MADE, hostile(HOSTILE)])
def test_an_annotation_is_one_command_on_one_line(result):
    for line in annotations(result):
        _, properties, message = line.split("::", 2)
        title = properties.split("title=")[1]
        assert not re.search("[:,\r\n]", title)
        assert not re.search("[\r\n]", message)
        assert not re.search("%(?!25|0A|0D|3A|2C)", line)


def test_a_percent_sign_is_escaped_once():
    assert annotations(PASSED)[0].count("%25") == 1
    assert "0.80 %25;" in annotations(PASSED)[0]
