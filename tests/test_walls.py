"""Walls, targets and warnings: pure, from what an orchestrator does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.walls import (
    ALONE,
    FULL_MEMORY,
    MUCH,
    NOTICEABLE_S,
    SLOW_S,
    WAITING,
    Load,
    find_wall,
    more_workers,
    targets,
    warnings,
)

CALM = Load(
    max_workers=64,
    throughput_per_s=12.0,
    in_flight=24.0,
    work_s=3.75,
    critical_path_s=1.9,
    answer_path_s=1.4,
    queue_s=0.0,
    latency_s=1.5,
    lifetime_s=1.95,
    cpu_share=0.2,
    memory_share=0.1,
    memory_bytes=200_000_000,
    concurrent_agents=3,
    parallel_rate=0.7,
    ideal_parallel_rate=0.71,
    width=3,
    longest_agent="retrieval",
)
"""The assistant with plenty of workers."""

SHARES = st.floats(0, 1)
SECONDS = st.floats(1e-6, 100)


@st.composite
def loads(draw):
    """Loads as they can be: a prompt lives at least as long as its critical path, and no worker does two calls."""
    critical_path_s, further_s, waits_s = draw(SECONDS), draw(st.floats(0, 100)), draw(st.floats(0, 100))
    work_s, lifetime_s = critical_path_s + further_s, critical_path_s + waits_s
    max_workers, in_flight = draw(st.integers(1, 100)), draw(st.floats(0.01, 1_000))
    throughput_per_s = min(in_flight / lifetime_s, max_workers / work_s)
    return Load(
        max_workers=max_workers,
        throughput_per_s=throughput_per_s,
        in_flight=throughput_per_s * lifetime_s,
        work_s=work_s,
        critical_path_s=critical_path_s,
        answer_path_s=critical_path_s * draw(SHARES),
        queue_s=draw(st.floats(0, 100)),
        latency_s=lifetime_s,
        lifetime_s=lifetime_s,
        cpu_share=draw(st.floats(0, 4)),
        refused_share=draw(SHARES),
        failed_share=draw(SHARES),
        memory_share=draw(SHARES),
        width=draw(st.integers(1, 9)),
        concurrent_agents=draw(st.integers(0, 9)),
        parallel_rate=draw(st.none() | SHARES),
        ideal_parallel_rate=draw(st.none() | SHARES),
        longest_agent="reasoning",
        worst_agent="reasoning",
        worst_error="ValueError: no",
    )


@given(loads())
def test_no_load_is_beyond_its_wall(load):
    wall = find_wall(load)
    assert load.throughput_per_s <= wall.bound_per_s * (1 + 1e-9)


@pytest.mark.parametrize("nothing", [{"throughput_per_s": 0.0}, {"critical_path_s": 0.0}])
def test_before_anything_has_ended_there_is_no_wall(nothing):
    assert find_wall(replace(CALM, **nothing)) is None


@pytest.mark.parametrize(
    ("change", "name", "bound_per_s", "told"),
    [
        ({}, "prompts in flight", 24 / 1.9, "24 are under way at once; ask more at once, or make retrieval faster"),
        ({"in_flight": 1.0, "throughput_per_s": 0.5}, "critical path", 1 / 1.9, "they come one at a time"),
        ({"max_workers": 4, "throughput_per_s": 1.0}, "workers", 4 / 3.75, "raise --max-workers to 47"),
        ({"cpu_share": 0.96}, "this process's CPU", 12 / 0.96, "cpu=True"),
        ({"refused_share": 0.5}, "a limit", 12.0, "a circuit breaker refuses 50.0 % of the calls"),
    ],
)
def test_the_lowest_bound_is_the_wall_and_its_advice_says_what_to_change(change, name, bound_per_s, told):
    wall = find_wall(replace(CALM, **change))
    assert (wall.name, wall.bound_per_s) == (name, pytest.approx(bound_per_s))
    assert told in wall.advice
    assert set(wall.as_data()) == {"name", "bound_per_s", "advice"}


@given(loads())
def test_prompts_that_come_one_at_a_time_are_held_back_by_their_own_length(load):
    wall = find_wall(load)
    assert (wall.name != "critical path") or load.in_flight <= ALONE
    assert (wall.name != "prompts in flight") or load.in_flight > ALONE


@given(loads())
def test_more_workers_are_always_more_and_enough_for_all_that_is_in_flight(load):
    assert more_workers(load) > load.max_workers
    assert more_workers(load) >= load.in_flight * load.work_s / load.critical_path_s - 1


def told(load):
    return {target.text.split(" ")[0]: target for target in targets(load)}


def test_the_four_targets_are_met_with_plenty_of_workers():
    assert [(target.met, target.told) for target in targets(CALM)] == [(True, "met")] * 4


def test_before_anything_has_ended_there_are_no_targets():
    assert targets(replace(CALM, critical_path_s=0.0)) == []


@pytest.mark.parametrize(
    ("change", "target", "bound"),
    [
        ({"max_workers": 4, "throughput_per_s": 1.0}, "throughput", "at most 1.07 req/s"),
        ({"answer_path_s": 2.5, "latency_s": 2.6}, "latency,", "at least 2.50 s"),
        ({"width": 1, "concurrent_agents": 1}, "3", "at most 1"),
        ({"max_workers": 2, "concurrent_agents": 2}, "3", "at most 2"),
        ({"ideal_parallel_rate": 0.4, "parallel_rate": 0.4}, "parallel", "at most 40.0 %"),
        ({"max_workers": 1, "parallel_rate": 0.0}, "parallel", "at most 0 %"),
    ],
)
def test_a_target_that_agents_or_workers_make_impossible_is_told_with_its_bound(change, target, bound):
    found = told(replace(CALM, **change))[target]
    assert (found.met, found.reachable) == (False, False)
    assert found.told == f"out of reach: the agents, as they are wired, and the workers allow {bound}"


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"throughput_per_s": 9.0}, "throughput"),
        ({"latency_s": 2.5}, "latency,"),
        ({"concurrent_agents": 2}, "3"),
        ({"parallel_rate": 0.5}, "parallel"),
    ],
)
def test_a_target_that_could_be_met_is_missed_and_not_out_of_reach(change, target):
    found = told(replace(CALM, **change))[target]
    assert (found.met, found.reachable, found.told) == (False, True, "missed")


def test_what_was_not_measured_is_neither_met_nor_missed():
    found = told(replace(CALM, parallel_rate=None, ideal_parallel_rate=None))["parallel"]
    assert (found.met, found.reachable, found.told) == (None, None, "not measured yet")


@given(loads())
def test_a_target_is_out_of_reach_only_where_its_bound_misses_it(load):
    for target in targets(load):
        assert target.told.startswith("out of reach") == (target.met is False and not target.reachable)
        assert set(target.as_data()) == {"text", "value", "met", "bound", "reachable", "told"}


@given(loads())
def test_each_warning_is_given_exactly_where_it_applies_and_names_what_to_change(load):
    given_ = {text.partition(":")[0]: text for text in warnings(load)}
    waits = load.queue_s > max(NOTICEABLE_S, WAITING * load.work_s)
    applies = {
        "memory": load.memory_share > FULL_MEMORY,
        "slow": waits or load.lifetime_s > SLOW_S,
        "failures": load.failed_share > MUCH,
    }
    assert set(given_) == {name for name in applies if applies[name]}
    change = {
        "memory": ["lower --max-workers to "],
        "slow": ["raise --max-workers to "] if waits else ["reasoning", "--routes FILE.toml"],
        "failures": ["reasoning: ValueError: no", "--log FILE", "retries=", "fallback=", "breaker="],
    }
    assert all(each in text for name, text in given_.items() for each in change[name])


def test_a_wait_that_nobody_notices_is_not_warned_of():
    assert list(warnings(replace(CALM, work_s=0.01, queue_s=0.09))) == []


def test_a_calm_load_is_warned_of_nothing():
    assert list(warnings(CALM)) == []
