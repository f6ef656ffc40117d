"""What is told of agents while a run goes on: from what has come back, and from nothing else."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quark_bench.cli.under_way import MOST_AGENTS, RECENT_S, SLICE_S, AgentCalls, UnderWay, busiest, under_way_table
from quark_bench.record import Batch

MARKUP = "[red]<b>\x1b[31m\u202e" + "n" * 200


def chunk(*calls):
    """A chunk in which these calls were made: agent, attempt, status, seconds."""
    agents, attempts, statuses, took_s = zip(*calls, strict=True)
    spans = {"agent": agents, "attempt": attempts, "status": statuses, "start_s": [7.0] * len(calls)}
    return Batch("async", 0, 0, 0, {}, spans | {"end_s": [7.0 + each for each in took_s]})


@given(st.lists(st.tuples(st.floats(0.01, 1), st.integers(1, 9), st.floats(0.001, 2)), min_size=1, max_size=4))
def test_calls_under_way_are_the_busy_seconds_that_came_back_a_second(chunks):
    under_way = UnderWay()
    for took_s, calls, busy_s in chunks:
        under_way.take(chunk(*[("answer", 1, "ok", busy_s)] * calls), took_s)
    (found,) = under_way.agents()
    busy_s = sum(calls * each for _, calls, each in chunks)
    assert found.done == sum(calls for _, calls, _ in chunks)
    assert found.under_way == pytest.approx(busy_s / sum(took_s for took_s, _, _ in chunks))
    assert found.mean_s == pytest.approx(busy_s / found.done)


def test_every_attempt_is_a_call_and_an_agent_that_was_left_out_made_none():
    under_way = UnderWay()
    again = [("answer", 1, "failed", 0.1), ("answer", 2, "ok", 0.3)]
    under_way.take(chunk(*again, ("planning", 0, "skipped", 0.0), ("memory", 0, "cached", 0.0)), 1.0)
    (found,) = under_way.agents()
    assert (found.agent, found.done, found.failed) == ("answer", 2, 1)
    assert found.mean_s == pytest.approx(0.2)


def test_an_agent_that_slows_down_is_seen_within_seconds():
    under_way = UnderWay()
    for _ in range(100):
        under_way.take(chunk(("answer", 1, "ok", 0.1)), SLICE_S)
    for _ in range(int(RECENT_S / SLICE_S)):
        under_way.take(chunk(("answer", 1, "ok", 0.9)), SLICE_S)
    (found,) = under_way.agents()
    assert (found.done, found.mean_s) == (120, pytest.approx(0.9))


def test_of_chunks_that_come_rarely_the_last_is_told():
    under_way = UnderWay()
    under_way.take(chunk(("answer", 1, "ok", 20.0)), 4 * RECENT_S)
    under_way.take(chunk(("answer", 1, "ok", 10.0)), 4 * RECENT_S)
    (found,) = under_way.agents()
    assert (found.under_way, found.mean_s) == (0.5, 10.0)


def test_a_first_chunk_that_took_no_time_breaks_nothing():
    under_way = UnderWay()
    under_way.take(chunk(("answer", 1, "ok", 0.1)), 0.0)
    assert under_way.agents()[0].under_way is None


def test_of_many_agents_the_busiest_are_shown_in_their_order_and_the_others_counted():
    agents = [AgentCalls(f"agent_{n}", 9, 0, float(n), 0.1) for n in range(40)]
    assert [each.agent for each in busiest(agents)] == [f"agent_{n}" for n in range(40 - MOST_AGENTS, 40)]
    told = shown(under_way_table("async", agents))
    assert "and 28 less busy" in told
    assert len(told.splitlines()) < 24


def test_names_are_a_users_and_neither_steer_the_terminal_nor_wrap():
    told = shown(under_way_table(MARKUP, [AgentCalls(MARKUP, 10**9, 10**9, 1e4, 7_000.0)]))
    assert max(map(len, told.splitlines())) <= 80
    assert told.count("[red]<b>\\x1b[31m\\u202e") == 2
    assert "\x1b" not in told


def shown(table):
    console = Console(width=80, file=io.StringIO(), no_color=True)
    console.print(table)
    return console.file.getvalue()
