from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import schedule
from quark_bench.critical_path import Sweep, calls_of, earliest_ends, on_critical_path, positions, under_way

DIAMOND = (("ask", ()), ("left", ("ask",)), ("right", ("ask",)), ("join", ("left", "right")))


def spans(rows: Sequence[tuple[str, str, int, str, float, float]]) -> pd.DataFrame:
    """Rows of prompt, agent, attempt, status, start and end."""
    frame = pd.DataFrame(rows, columns=["prompt_id", "agent", "attempt", "status", "start_s", "end_s"])
    return frame.assign(session=0, arm="async", repeat=0)


ONE = spans(
    [
        ("p", "ask", 1, "ok", 0.0, 1.0),
        ("p", "left", 1, "failed", 1.0, 3.0),
        ("p", "left", 2, "ok", 4.0, 6.0),
        ("p", "right", 1, "ok", 1.0, 2.0),
        ("p", "join", 1, "ok", 6.0, 7.0),
    ]
)


def test_the_duration_of_a_call_is_the_sum_of_its_attempts() -> None:
    assert calls_of(ONE, DIAMOND).durations_s.tolist() == [[1.0, 4.0, 1.0, 1.0]]


def test_criticality_is_the_share_of_the_critical_path() -> None:
    assert _critical_s(ONE) == pytest.approx([1.0, 4.0, 0.0, 1.0])


def test_a_skipped_span_counts_nowhere() -> None:
    rows = spans([("p", "ask", 1, "failed", 0.0, 1.0), ("p", "left", 0, "skipped", 1.0, 9.0)])
    assert calls_of(rows, DIAMOND).durations_s.tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_an_agent_of_another_pipeline_counts_nowhere() -> None:
    rows = spans([("p", "ask", 1, "ok", 0.0, 1.0), ("p", "stranger", 1, "ok", 0.0, 9.0)])
    assert _critical_s(rows) == [1.0, 0.0, 0.0, 0.0]


def test_records_of_different_arms_repeats_and_sessions_stay_apart() -> None:
    rows = pd.concat([ONE, ONE.assign(arm="sync"), ONE.assign(repeat=1), ONE.assign(session=1)])
    assert calls_of(rows, DIAMOND).durations_s.tolist() == [[1.0, 4.0, 1.0, 1.0]] * 4


def test_no_spans_have_no_critical_path() -> None:
    assert _critical_s(pd.DataFrame()) == [0.0] * 4


def _critical_s(spans: pd.DataFrame) -> list[float]:
    durations_s = calls_of(spans, DIAMOND).durations_s
    return list((durations_s * on_critical_path(durations_s, DIAMOND)).sum(axis=0))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[list[float]]]:
    count = draw(st.integers(1, 7))
    names = [f"a{index}" for index in range(count)]
    layout = tuple(
        (name, tuple(draw(st.permutations(sorted(draw(st.sets(st.sampled_from(names[:index])))))) if index else ()))
        for index, name in enumerate(names)
    )
    row = st.lists(st.floats(0, 10), min_size=count, max_size=count)
    return layout, draw(st.lists(row, min_size=1, max_size=5))


@given(layouts())
def test_many_records_at_once_agree_with_one_at_a_time(
    drawn: tuple[tuple[tuple[str, tuple[str, ...]], ...], list[list[float]]],
) -> None:
    layout, rows = drawn
    needs = positions(layout)
    ends_s, on_path = earliest_ends(np.array(rows), layout), on_critical_path(np.array(rows), layout)
    for index, row in enumerate(rows):
        assert ends_s[index].tolist() == pytest.approx(schedule.earliest_ends(row, needs))
        assert tuple(np.flatnonzero(on_path[index])) == schedule.longest_chain(row, needs)


def _under_way(calls: Sequence[tuple[int, float, float]]) -> tuple[float | None, float | None, float | None]:
    group, start_s, end_s = (np.array(column) for column in zip(*calls, strict=True))
    found = under_way(group, start_s.astype(float), end_s.astype(float))
    return found.most, found.mean, found.shared_share


def test_two_calls_that_overlap_by_half_share_half_of_their_time() -> None:
    assert _under_way([(0, 0.0, 2.0), (0, 1.0, 3.0)]) == (2.0, pytest.approx(4 / 3), pytest.approx(0.5))


def test_calls_that_touch_do_not_overlap() -> None:
    assert _under_way([(0, 0.0, 1.0), (0, 1.0, 2.0)]) == (1.0, 1.0, 0.0)


def test_calls_of_different_groups_do_not_overlap() -> None:
    assert _under_way([(0, 0.0, 1.0), (1, 0.0, 1.0), (2, 0.5, 0.7)]) == (1.0, 1.0, 0.0)


def test_the_time_between_calls_counts_for_nothing() -> None:
    assert _under_way([(0, 0.0, 1.0), (0, 100.0, 101.0)]) == (1.0, 1.0, 0.0)


def test_a_call_without_duration_is_never_under_way() -> None:
    assert _under_way([(0, 0.0, 1.0), (0, 0.5, 0.5)]) == (1.0, 1.0, 0.0)
    assert _under_way([(0, 1.0, 1.0)]) == (None, None, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=25))
def test_the_sweep_agrees_with_counting_moment_by_moment(calls: list[tuple[int, int, int]]) -> None:
    counted = [
        [
            sum(1 for g, start, length in calls if g == group and start <= moment < start + length)
            for moment in range(30)
        ]
        for group in range(4)
    ]
    levels = np.array(counted)
    most, mean, share = _under_way([(group, start, start + length) for group, start, length in calls])
    assert most == levels.max()
    assert mean == pytest.approx(levels.sum() / (levels > 0).sum())
    assert share == pytest.approx(levels[levels > 1].sum() / levels.sum())


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=25),
    st.lists(st.integers(0, 24), max_size=4),
)
def test_calls_that_come_in_portions_are_counted_as_if_they_came_at_once(
    calls: list[tuple[int, int]], cuts: list[int]
) -> None:
    start_s = np.array([start for start, _ in calls], float)
    end_s = start_s + [length for _, length in calls]
    sweep = Sweep()
    borders = [0, *sorted(min(cut, len(calls)) for cut in cuts), len(calls)]
    for first, last in pairwise(borders):
        until_s = float(start_s[last:].min(initial=math.inf))
        sweep.add(start_s[first:last], end_s[first:last], until_s)
    assert sweep.found == under_way(np.zeros(len(calls), np.int64), start_s, end_s)
