from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.span_sums import sum_spans
from quark_bench.trials import FrameTrials

from .test_measures import LAYOUT, run


class Parted(FrameTrials):
    """The same trials, their spans cut after so many prompts each."""

    def __init__(self, records: pd.DataFrame, spans: pd.DataFrame, sizes: Sequence[int]) -> None:
        super().__init__(records, spans)
        borders = np.cumsum([0, *sizes])
        prompts = spans["prompt_id"].drop_duplicates().tolist()
        self.cuts = [prompts[first:last] for first, last in zip(borders, [*borders[1:], len(prompts)], strict=True)]

    def spans(self, columns: Sequence[str], arm: str | None = None) -> Iterator[pd.DataFrame]:
        for whole in super().spans([*dict.fromkeys((*columns, "prompt_id"))], arm):
            for cut in self.cuts:
                part = whole.loc[whole["prompt_id"].isin(cut), list(columns)]
                if not part.empty:
                    yield part


@given(st.lists(st.integers(0, 6), max_size=5), st.sets(st.integers(0, 11), max_size=3), st.integers(1, 3))
def test_spans_in_parts_add_up_to_the_same_as_at_once(sizes: list[int], failed: set[int], blocks: int) -> None:
    tables = run(12, failed=sorted(failed), blocks=blocks)
    whole = sum_spans(FrameTrials(*tables), "async", LAYOUT)
    parted = sum_spans(Parted(*tables, sizes), "async", LAYOUT)
    assert (parted.again, parted.refused) == (whole.again, whole.refused)
    for name in ("within", "ideal", "across"):
        one, other = getattr(parted, name), getattr(whole, name)
        assert one.peak == other.peak
        assert (one.busy_s, one.call_s, one.shared_s) == pytest.approx((other.busy_s, other.call_s, other.shared_s))
    for name, sums in whole.by_agent.items():
        assert parted.by_agent[name] == pytest.approx(sums, nan_ok=True)


def test_parts_that_overlap_in_time_are_counted_together() -> None:
    records, spans = run(4)
    together = spans.assign(start_s=spans["start_s"] % 0.01, end_s=spans["start_s"] % 0.01 + 1.0)
    whole, parted = (
        sum_spans(trials, "async", LAYOUT)
        for trials in (FrameTrials(records, together), Parted(records, together, [1, 1, 1]))
    )
    assert parted.across.peak == whole.across.peak == len(spans)
