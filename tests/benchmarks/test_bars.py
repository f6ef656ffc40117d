"""The table that benchmarks end in says what they found."""

import json
import math

import pytest
from bars import Row, at_least, at_most, markdown_table, text_table
from work import SLOWNESS, WAITS, ideal_s, texts, uneven_texts

FAST = Row.of_pairs("null", "prompts/s", [900, 1_000, 500], "asyncio", [1_000, 1_000, 1_000], at_least(0.45))
SLOW = Row.of_pairs("null", "prompts/s", [900, 1_000, 500], "langgraph", [100, 100, 100], at_least(20))
ALONE = Row.of_values("load", "share", [0.05], "on 2")


def test_a_ratio_is_the_median_of_pairs_and_is_judged_by_its_bar():
    assert (FAST.ratio, FAST.verdict, FAST.bearable) == (0.9, "met", True)
    assert (SLOW.ratio, SLOW.verdict, SLOW.bearable) == (9, "missed", False)


@pytest.mark.parametrize(
    ("bar", "ratio", "bearable"),
    [(at_least(1.8), 1.0, True), (at_least(1.8), 0.8, False), (at_most(1.1), 1.29, True), (at_most(1.1), 1.31, False)],
)
def test_a_busy_machine_is_borne_with_to_a_degree(bar, ratio, bearable):
    assert not bar.met(ratio)
    assert bar.bearable(ratio) is bearable


def test_a_row_is_the_same_after_its_way_through_json():
    for row in (FAST, SLOW, ALONE):
        assert Row.of_data(json.loads(json.dumps(row.as_data()))) == row


def test_the_readme_has_a_line_a_case_and_a_terminal_a_line_a_ratio():
    assert markdown_table([FAST, SLOW, ALONE]).splitlines()[2:] == [
        "| null | 900 prompts/s | 0.900 x asyncio (≥ 0.45); 9.00 x langgraph (≥ 20, **missed**) |",
        "| load | 5.00 % | 5.00 % on 2 |",
    ]
    assert len(text_table([FAST, SLOW, ALONE]).splitlines()) == 4


def test_the_ideal_makespan_is_whole_rounds_and_no_less_than_slow_prompts_take():
    assert ideal_s(texts(200), 32) == pytest.approx(math.ceil(200 / 32) * WAITS.critical_path_s)
    assert ideal_s(uneven_texts(20), 20) == pytest.approx(SLOWNESS * WAITS.critical_path_s)
