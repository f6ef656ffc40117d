from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.cpu import cpu_of_prompt
from quark_bench.trials import FrameTrials

ARMS = ("sync", "parallel", "async")


def trials(seconds: Mapping[str, float], prompts: int = 20) -> FrameTrials:
    """An arm a block, which takes so many seconds."""
    rows = [
        {"session": 0, "arm": arm, "block": block, "latency_s": total_s / prompts}
        | dict.fromkeys(("due_s", "start_s"), total_s * n / prompts)
        for block, (arm, total_s) in enumerate(seconds.items())
        for n in range(prompts)
    ]
    return FrameTrials(pd.DataFrame(rows), pd.DataFrame())


def usage(*cpu_s: float | None) -> list[dict[str, object]]:
    return [{"block": block, "arm": ARMS[block], "cpu_s": used} for block, used in enumerate(cpu_s)]


@given(st.floats(1e-5, 0.1), st.floats(0.0, 0.2))
def test_what_processes_take_anyhow_is_no_prompts(of_prompt_s: float, of_second_s: float) -> None:
    seconds = {"sync": 6.0, "parallel": 4.0, "async": 0.5}
    used = usage(*(20 * of_prompt_s + total_s * of_second_s for total_s in seconds.values()))
    assert cpu_of_prompt(trials(seconds), ARMS, used) == pytest.approx(of_prompt_s, rel=1e-6)


def test_where_arms_took_equally_long_all_of_it_is_the_prompts() -> None:
    found = cpu_of_prompt(trials({"sync": 6.0, "parallel": 4.0}), ARMS, usage(0.4, 0.2))
    assert found == pytest.approx(0.01)


def test_it_is_never_negative() -> None:
    assert cpu_of_prompt(trials({"sync": 6.0, "parallel": 0.5}), ARMS, usage(0.4, 0.001)) == 0.0


def test_arms_that_do_other_work_and_blocks_without_a_reading_are_left_out() -> None:
    seconds = {"sync": 6.0, "parallel": 4.0, "async": 0.5}
    assert cpu_of_prompt(trials(seconds), ("sync",), usage(0.4, 0.1, 0.1)) == pytest.approx(0.02)
    assert cpu_of_prompt(trials(seconds), ARMS, usage(None, 0.2, None)) == pytest.approx(0.01)


def test_what_was_not_measured_is_not_known() -> None:
    assert cpu_of_prompt(trials({"sync": 1.0}), ARMS, usage(None)) is None
    assert cpu_of_prompt(trials({"sync": 1.0}), ARMS, []) is None
