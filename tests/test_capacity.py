from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.arm_run import ArmRun, Overheads
from quark_bench.capacity import (
    MOST_PROMPTS,
    Asked,
    WallName,
    alone_s,
    bounds,
    capacity,
    counts,
    place_of,
    point,
    prompts_for,
)
from quark_bench.errors import UsageError
from quark_bench.simulation import Limit, Place
from quark_bench.stats import Interval
from quark_bench.trials import FrameTrials

from .test_measures import LAYOUT, run
from .test_simulation import demand, places, prompts

ARM = ArmRun("async", False, False, 8, Interval(25.0, 24.0, 26.0, 10), 0.008, 2)
NOISE = 0.9
"""What list scheduling may lose by more workers: another order (Graham 1969), and one longer prompt at the end."""


@given(prompts, places, st.integers(1, 8), st.floats(0, 1), st.floats(0, 0.1))
def test_no_wall_is_ever_passed(
    durations_s: list[list[float]], place: Place, in_flight: int, cpu_share: float, overhead_s: float
) -> None:
    found = point(demand(durations_s, overhead_s, cpu_share=cpu_share), replace(place, limits=()), in_flight)
    assert found.throughput_per_s <= found.bounds[found.wall] * (1 + 1e-9)


@given(prompts, places, st.floats(0, 1), st.floats(0, 0.1))
def test_a_prompt_alone_takes_its_path_and_its_overhead(
    durations_s: list[list[float]], place: Place, cpu_share: float, overhead_s: float
) -> None:
    place = replace(place, limits=(), task_s=0.0, cores=4.0)
    asked = demand(durations_s, overhead_s, cpu_share=cpu_share)
    found = point(asked, place, 1)
    assert found.mean_latency_s == pytest.approx(float(alone_s(asked, place).mean()))
    assert found.throughput_per_s == pytest.approx(found.bounds[WallName.PATH])


@given(
    st.lists(st.lists(st.floats(0.05, 0.2), min_size=4, max_size=4), min_size=60, max_size=60),
    st.booleans(),
    st.floats(0, 1),
    st.integers(1, 3),
)
def test_more_workers_never_give_less(
    durations_s: list[list[float]], by_agent: bool, cpu_share: float, workers: int
) -> None:
    asked = demand(durations_s, cpu_share=cpu_share)
    fewer, more = (
        point(asked, Place(count, by_agent=by_agent, hop_s=0.01, task_s=0.001), 6) for count in (workers, 2 * workers)
    )
    assert more.throughput_per_s >= NOISE * fewer.throughput_per_s


@pytest.mark.parametrize(
    ("place", "in_flight", "more", "wall"),
    [
        (Place(1), 1, {}, WallName.PATH),
        (Place(1), 8, {}, WallName.IN_FLIGHT),
        (Place(1), 64, {"cpu_share": 0.5}, WallName.WORKERS),
        (Place(100, by_agent=True, task_s=0.01), 64, {}, WallName.SCHEDULER),
        (Place(1, limits=(Limit(frozenset({2}), 3.0),)), 64, {}, WallName.RATE),
        (Place(1), 200, {}, WallName.TAIL),
    ],
)
def test_the_wall_is_what_was_made_too_small(
    place: Place, in_flight: int, more: dict[str, float], wall: WallName
) -> None:
    rows = [[0.1] * 4] * 199 + [[2.0] * 4]
    assert point(demand(rows, **more), place, in_flight).wall is wall


def test_two_agents_may_share_a_limit() -> None:
    found = bounds(demand([[0.1] * 4]), Place(1, limits=(Limit(frozenset({0, 2}), 10.0),)), 8)
    assert found[WallName.RATE] == pytest.approx(5.0)


def test_cost_goes_with_the_prompts() -> None:
    found = point(demand([[0.1] * 4] * 10, cost_usd=0.01), Place(1), 1)
    assert found.cost_usd_per_h == pytest.approx(0.01 * 3_600 / 0.3)


@given(st.integers(1, 100_000), st.integers(1, 10_000_000))
def test_lanes_are_filled_and_the_number_of_prompts_is_bounded(in_flight: int, recorded: int) -> None:
    assert 5 * in_flight <= prompts_for(in_flight, recorded) <= max(MOST_PROMPTS, 5 * in_flight)


def test_all_that_was_asked_is_simulated_with_the_arms_records() -> None:
    asked = Asked((1, 2, 4), (1, 64), Place(1), {"left": 0.5})
    tasks = Overheads(0.01, 0.001, measured=True)
    found = capacity(FrameTrials(*run(20)), ARM, LAYOUT, asked, tasks, np.random.default_rng(0))
    assert [(each.in_flight, each.workers) for each in found.points] == [
        (many, count) for many in (1, 64) for count in (1, 2, 4)
    ]
    assert list(found.by_in_flight) == [1, 64]
    assert list(found.walls(1)) == [(WallName.PATH, 1)]
    assert list(found.walls(64)) == [(WallName.WORKERS, 1), (WallName.IN_FLIGHT, 2)]


def test_places_are_named_as_people_write_them() -> None:
    found = place_of(LAYOUT, "agent", 0.5, {"Left, right": 5.0})
    assert found == Place(1, 0.5, by_agent=True, limits=(Limit(frozenset({0, 1}), 5.0),))


@pytest.mark.parametrize(
    ("granularity", "cores", "rates", "says"),
    [
        ("chunks", 1.0, {}, "did you mean 'chunk'"),
        ("chunk", 0.0, {}, "0 cores a worker; give a number above 0"),
        ("chunk", 1.0, {"lefd": 1.0}, "did you mean 'left'"),
        ("chunk", 1.0, {"left": -1.0}, "give calls a second, above 0"),
    ],
)
def test_what_there_is_not_is_refused(granularity: str, cores: float, rates: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        place_of(LAYOUT, granularity, cores, rates)


@pytest.mark.parametrize("given", [[], [0], [-1, 2], [10_000_000]])
def test_numbers_out_of_reach_are_refused(given: list[int]) -> None:
    with pytest.raises(UsageError, match="give numbers from 1 to 100,000"):
        counts("workers", given)


def test_numbers_are_taken_once_and_in_order() -> None:
    assert counts("workers", [4, 1, 4]) == (1, 4)
