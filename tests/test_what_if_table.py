from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from quark_bench.report.what_if_table import change, effort, headline, what_if_table
from quark_bench.stats import Interval
from quark_bench.trials import FrameTrials
from quark_bench.what_if import Gain, WhatIf, what_if

from .test_measures import LAYOUT, run
from .test_what_if import ARM


@pytest.fixture
def found() -> WhatIf:
    return what_if(FrameTrials(*run(20)), ARM, LAYOUT, "join", {"left": 0.5, "right": 0.0})


def told(found: WhatIf) -> list[str]:
    written = io.StringIO()
    Console(width=80, file=written).print(what_if_table(found, "What if"))
    return written.getvalue().splitlines()


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (Interval(0.888, 0.886, 0.89, 9), ("-11.2 %", "-11.4 to -11.0 %")),
        (Interval(1.5, None, None, 9), ("+50.0 %", "")),
        (Interval(1.0, 1.0, 1.0, 9), ("0 %", "")),
        (Interval(0.9999, 0.998, 1.002, 9), ("0 %", "-0.2 to +0.2 %")),
        (Interval(None, None, None, 0), ("n/a", "")),
    ],
)
def test_a_ratio_is_told_as_a_change(ratio: Interval, says: tuple[str, str]) -> None:
    assert change(ratio) == says


def test_the_line_says_what_the_change_gives_and_where_to_spend_effort(found: WhatIf) -> None:
    assert headline(found).startswith("async, left x 0.5, without right: latency -")
    assert "Make left faster first: 25 % faster, it would cut the latency of async by " in headline(found)


def gain(agent: str, ratio: Interval) -> Gain:
    return Gain(agent, 0.5, (ratio,) * 3)


def test_one_sentence_says_which_agent_comes_first_what_it_gives_how_sure_that_is_and_the_next(found: WhatIf) -> None:
    gains = (gain("look", Interval(0.877, 0.875, 0.879, 9)), gain("plan", Interval(0.936, 0.93, 0.94, 9)))
    assert effort(replace(found, gains=gains)) == (
        "Make look faster first: 25 % faster, it would cut the latency of async by 12.3 % (12.1 to 12.5 %); "
        "the next, plan, by 6.4 %."
    )
    few = (gain("look", Interval(0.877, None, None, 1, "n too small")), gain("plan", Interval(1.0, None, None, 1)))
    assert effort(replace(found, gains=few, cores_busy=0.9)) == (
        "Make look faster first: 25 % faster, it would cut the latency of async by 12.3 % (n too small), "
        "roughly, as the cores were busy."
    )


def test_where_no_agent_gives_anything_none_is_advised(found: WhatIf) -> None:
    nothing = replace(found, latency=None, predicted=(), gains=(gain("left", Interval(1.0, None, None, 9)),))
    assert headline(nothing).startswith("No agent alone is worth making faster: ")
    unknown = replace(nothing, gains=(gain("left", Interval(None, None, None, 0)),))
    assert headline(unknown) == ""


def test_hostile_and_long_names_stay_text_within_80_columns(found: WhatIf) -> None:
    hostile = "[bold]\x1b[31m" + "reasoning" * 12
    gains = tuple(replace(gain, agent=hostile) for gain in found.gains)
    lines = told(replace(found, factors={hostile: 0.5}, gains=gains))
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)
    assert "[bold]" in "".join(lines)


def test_why_there_is_no_interval_is_said(found: WhatIf) -> None:
    assert any(line.startswith("latency, 95 %: n too small: 72 needed") for line in told(found))


def test_busy_cores_are_told_of(found: WhatIf) -> None:
    assert "Prompts kept the cores busy 90.0 %" in " ".join(told(replace(found, cores_busy=0.9)))
    assert "cores busy" not in " ".join(told(replace(found, cores_busy=0.5)))
