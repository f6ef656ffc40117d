from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.durations import durations, prompt_numbers
from quark_bench.trials import FrameTrials

from .test_measures import JOIN_S, LAYOUT, LEFT_S, RIGHT_S, run
from .test_span_sums import Parted


@given(st.lists(st.integers(0, 6), max_size=5), st.randoms(use_true_random=False))
def test_every_record_finds_its_own_durations_in_whatever_order_and_parts_they_come(sizes: list[int], draw) -> None:
    records, spans = run(12, repeats=2)
    spans["end_s"] += spans["prompt_id"].str[1:].astype(int) + 100 * spans["repeat"]
    order = list(range(len(records)))
    draw.shuffle(order)
    records = records.iloc[order]
    found = np.full((len(records), 3), np.nan)
    for part in durations(Parted(records, spans, sizes), "async", LAYOUT):
        found[part.rows] = part.by_agent_s
    more = records["prompt_id"].str[1:].astype(int) + 100 * records["repeat"]
    assert found == pytest.approx(np.array([LEFT_S, RIGHT_S, JOIN_S]) + more.to_numpy()[:, None])


@pytest.mark.parametrize("failed", [(), (1, 2)])
def test_an_agent_that_was_not_called_took_no_time(failed: Sequence[int]) -> None:
    (part,) = durations(FrameTrials(*run(4, failed=failed)), "async", LAYOUT)
    assert np.flatnonzero(part.by_agent_s[:, 2] == 0).tolist() == list(failed)


def test_spans_without_a_record_are_passed_over() -> None:
    records, spans = run(4)
    (part,) = durations(FrameTrials(records.iloc[:2], spans), "async", LAYOUT)
    assert sorted(part.rows) == [0, 1]


def test_repeats_of_a_prompt_share_its_number() -> None:
    assert prompt_numbers(FrameTrials(*run(3, repeats=2)), "async").tolist() == [0, 1, 2, 0, 1, 2]
