"""The timetable of a block: when its prompts are due, and which are handed out by when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.arrivals import Arrivals
from quark_bench.execute import Setting, Work
from quark_bench.execute.timetable import AHEAD_S, LEAD_S, timetable
from quark_bench.plan import Arm, Block, Granularity, arrivals_seed

NOW_S = 1_000.0
ARRIVALS = Arrivals(20.0)
WORK = Work("key", 0, (), {"open": Arm("open", arrivals=ARRIVALS), "closed": Arm("closed")}, {})
BLOCK = Block(0, "open", 0, 30, 90)


def made(block=BLOCK, finished=(), size=7):
    return timetable(WORK, block, Setting(Granularity.CHUNK, size), finished, NOW_S)


def gaps_s(times, block):
    return np.diff(times.due_s(block.start, block.stop), prepend=NOW_S + LEAD_S)


def test_every_prompt_is_due_at_its_offset_from_a_moment_a_little_ahead():
    offsets_s = ARRIVALS.offsets_s(len(BLOCK), arrivals_seed(0, BLOCK))
    assert made().due_s(30, 90) == pytest.approx([NOW_S + LEAD_S + offset_s for offset_s in offsets_s])


@given(st.sets(st.integers(0, 8)), st.integers(1, 20))
def test_what_is_finished_takes_no_time_and_every_other_prompt_keeps_its_gap(finished, size):
    found, whole = gaps_s(made(finished=finished, size=size), BLOCK), gaps_s(made(size=size), BLOCK)
    gone = [(position // size) in finished for position in range(len(BLOCK))]
    assert found == pytest.approx(np.where(gone, 0.0, whole), abs=1e-9)


def test_prompts_are_handed_out_before_they_are_due():
    times = made()
    last_s = times.due_s(89, 90)[0]
    assert times.handed_out(NOW_S - 100) == 30
    assert times.handed_out(last_s - AHEAD_S) == 90
    assert times.handed_out(last_s - AHEAD_S - 1e-6) == 89


def test_arms_meet_equal_arrivals_and_each_repeat_others():
    again = Block(1, "open", 1, 30, 90)
    assert arrivals_seed(0, BLOCK) == arrivals_seed(0, Block(7, "other", 0, 30, 90))
    assert made(again).due_s(30, 90) != made().due_s(30, 90)


def test_a_closed_load_and_a_warm_up_have_none():
    assert made(Block(0, "closed", 0, 0, 10)) is None
    assert made(Block(-1, "open", -1, 0, 10)) is None
