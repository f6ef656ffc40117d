"""Whether arrivals came as asked: what is found of streams that are known."""

import numpy as np
import pandas as pd
import pytest

from quark_bench.arrivals import Arrivals, Shape
from quark_bench.arrivals_check import check_arrivals
from quark_bench.report import arrivals_cells
from quark_bench.trials import FrameTrials


def block(due_s, lag_s=0.0, *, number=0, session=0, latency_s=0.1):
    """The records of a block whose prompts start so late."""
    due_s = np.asarray(due_s, float)
    return pd.DataFrame(
        {"session": session, "arm": "async", "block": number, "chunk": np.arange(len(due_s)) // 10, "due_s": due_s}
    ).assign(start_s=due_s + lag_s, latency_s=latency_s + lag_s, status="ok")


def checked(asked, *blocks, in_flight=1_000):
    return check_arrivals(FrameTrials(pd.concat(blocks, ignore_index=True), pd.DataFrame()), "async", asked, in_flight)


ASKED = [Arrivals(20.0, Shape.CONSTANT), Arrivals(20.0), Arrivals(20.0, Shape.BURST, 5)]


@pytest.mark.parametrize("end", [None, 80.0])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_arrivals_that_come_when_due_are_what_their_shape_gives_in_a_ramp_too(asked, end):
    asked = Arrivals(asked.rate_per_s, asked.shape, asked.at_once, end)
    found = checked(asked, block(asked.offsets_s(1_000, seed=3), 1e-4))
    assert (found.kept_up, found.why) == (True, "")
    assert found.gap_cv == pytest.approx(found.expected_gap_cv, abs=0.1)
    assert found.dispersion == pytest.approx(found.expected_dispersion, abs=0.2)
    assert found.achieved_per_s == pytest.approx(found.drawn_per_s)
    assert found.lag_p99_s == pytest.approx(1e-4)
    assert found.sent_p50_s == pytest.approx(0.1)


def test_the_index_of_dispersion_shows_that_ten_workers_draw_alike():
    """As a load tool of today does, each of whose workers has the same seed."""
    gaps_s = np.random.default_rng(0).exponential(10 / 50, 100)
    found = checked(Arrivals(50.0), block(np.sort(np.tile(np.cumsum(gaps_s), 10))))
    assert found.dispersion == found.drawn_dispersion > 4 * found.dispersion_range[1]


def test_a_client_that_starts_prompts_late_could_not_keep_up_and_is_told_what_to_do():
    asked = Arrivals(100.0, Shape.CONSTANT)
    found = checked(asked, block(asked.offsets_s(400, 0), np.where(np.arange(400) % 50 == 7, 0.05, 0.0)))
    assert not found.kept_up
    assert arrivals_cells.headline(found) == (
        "async, constant, 100/s: could not keep up (1 % started over 50.0 ms late); add --workers, lower --rate, or "
        "free the machine of other work"
    )


def test_a_client_whose_prompts_fall_behind_more_and_more_has_not_reached_the_rate():
    asked = Arrivals(100.0, Shape.CONSTANT)
    due_s = np.array(asked.offsets_s(400, 0))
    found = checked(asked, block(due_s, due_s * 0.5))
    assert found.why == "1 % started over 1.98 s late; 66.7 req/s of 100 req/s"


def test_where_all_lanes_were_taken_the_remedy_is_more_of_them():
    asked = Arrivals(100.0, Shape.CONSTANT)
    due_s = np.array(asked.offsets_s(100, 0))
    found = checked(asked, block(due_s, due_s, latency_s=0.029), in_flight=2)
    assert found.most_under_way == 2
    assert found.remedy.startswith("all 2 in flight were taken: raise --in-flight")


@pytest.mark.parametrize(
    ("rate", "latency_s", "lag_s", "kept_up"),
    [(100.0, 0.1, 0.009, True), (100.0, 0.1, 0.011, False), (2.0, 0.1, 0.04, True), (100.0, 3.0, 0.025, True)],
)
def test_a_lag_counts_where_it_is_no_small_part_of_gap_or_latency(rate, latency_s, lag_s, kept_up):
    asked = Arrivals(rate, Shape.CONSTANT)
    assert checked(asked, block(asked.offsets_s(100, 0), lag_s, latency_s=latency_s)).kept_up is kept_up


def test_gaps_between_blocks_and_sessions_are_left_out_and_counted():
    asked = Arrivals(20.0, Shape.CONSTANT)
    due_s = np.array(asked.offsets_s(100, 0))
    parts = [block(due_s), block(due_s[:40] + 100, number=1), block(due_s[40:], number=1, session=1)]
    found = checked(asked, *parts)
    assert (found.borders, found.continued) == (2, 1)
    assert found.gap_cv == pytest.approx(0, abs=1e-6)
    assert arrivals_cells.notes(found) == "left out: 2 gaps between blocks, 1 of them where a later session went on"


def test_of_too_few_prompts_nothing_is_said_about_their_shape():
    found = checked(Arrivals(20.0), block([0.0]))
    assert (found.gap_cv, found.dispersion, found.dispersion_range, found.achieved_per_s) == (None,) * 4
    assert found.kept_up


def test_without_records_there_is_no_check():
    assert check_arrivals(FrameTrials(block([]), pd.DataFrame()), "async", Arrivals(20.0), 8) is None
