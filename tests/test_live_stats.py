"""What an orchestrator has done: counts that add up, in constant memory, over the time in which it had work."""

import heapq
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.live_load import Resident, load_of, performance_stats
from quark_bench.live_stats import RECENT, UNROUTED, Handled, LiveStatistics
from quark_bench.record import Record, Span
from quark_bench.schedule import longest_path
from quark_bench.walls import find_wall

from .dags import routed_pipelines

NAMES = ("nlu", "memory", "reasoning", "planning")
NEEDS = ((), (), (0, 1), (2,))
ANSWER = 2


def span(name, start_s=0.0, took_s=0.1, status="ok", **other):
    told = {
        "prompt_id": "p",
        "attempt": status not in ("skipped", "cached"),
        "queue_s": 0.0,
        "error": None,
        "tokens_in": 0,
        "tokens_out": 0,
        "first_token_s": None,
        "simulated_s": 0.0,
        "waited_s": 0.0,
        "worker": "here:1",
    }
    return Span(agent=name, status=status, start_s=start_s, end_s=start_s + took_s, **told | other)


def record(spans, needs=NEEDS, status="ok", start_s=0.0, culprit=None):
    """Of a trial with those spans, one an agent, which began at that time."""
    took_s = [each.end_s - each.start_s for each in spans]
    zeros = dict.fromkeys(("simulated_s", "fallbacks", "tokens_in", "tokens_out", "cost_usd"), 0)
    texts = dict.fromkeys(("category", "answer", "error")) | {"error_agent": culprit}
    latency_s = max(each.end_s for each in spans) - start_s
    times = dict.fromkeys(("latency_s", "answer_s", "service_s"), latency_s) | {"due_s": start_s, "start_s": start_s}
    path_s = longest_path(took_s, needs) if len(took_s) == len(needs) else 0.0
    work = {"work_s": sum(took_s), "critical_path_s": path_s, "attempts": len(spans), "executions": 1}
    return Record(prompt_id="p", status=status, worker="here:1", **zeros, **texts, **times, **work)


def handled(*spans, status="ok", answered_s=0.2, culprit=None, **what):
    spans = spans or (span("nlu"), span("memory"), span("reasoning", 0.1), span("planning", 0.2))
    return Handled(record(spans, status=status, culprit=culprit), spans, True, answered_s, **what)


def statistics(*all_handled):
    """One prompt after another, each a second after the one before, for half a second."""
    made = LiveStatistics(NAMES, NEEDS, ANSWER)
    for number, each in enumerate(all_handled):
        made.admitted(float(number), 0.0)
        made.left(number + 0.5, 0.0, each)
    return made


def test_before_the_first_prompt_all_is_nothing_and_can_be_written_as_json():
    made = statistics()
    told = json.loads(json.dumps([made.performance_metrics(5.0), made.execution_stats()], allow_nan=False))
    metrics, counts = told
    assert (metrics["parallel_execution_count"], metrics["concurrent_agents"], metrics["throughput"]) == (0, 0, 0.0)
    assert set(counts.values()) == {0}
    assert made.longest_agent() is None
    assert made.durations_s() == [None] * 4


def test_prompts_are_counted_by_how_they_ended():
    made = statistics(handled(), handled(status="degraded"), handled(status="failed"), None)
    made.admitted(9.0, 0.0)
    counts = made.execution_stats()
    assert (counts["total_tasks"], counts["completed_tasks"], counts["failed_tasks"]) == (4, 2, 1)
    assert (counts["degraded_tasks"], made.in_flight) == (1, 1)
    assert counts["average_execution_time"] == pytest.approx(0.3)
    assert made.performance_metrics(9.0)["parallel_execution_count"] == 3


VISITS = st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 30)), min_size=1, max_size=20)


@given(VISITS, st.floats(0, 50))
def test_time_without_a_prompt_under_way_counts_for_nothing(visits, later_s):
    """Whether prompts overlap or not, and whatever CPU the program uses in between for itself."""
    made = LiveStatistics(NAMES, NEEDS, ANSWER)
    moments = [(start_s, 1) for start_s, _ in visits] + [(start_s + took_s, -1) for start_s, took_s in visits]
    covered_s, level, last_s = 0.0, 0, 0.0
    for now_s, change in sorted(moments, key=lambda moment: (moment[0], -moment[1])):
        covered_s += now_s - last_s if level else 0.0
        level, last_s = level + change, now_s
        if change > 0:
            made.admitted(now_s, 3 * now_s)
        else:
            made.left(now_s, 3 * now_s, handled())
        assert made.busy_s(now_s) == pytest.approx(covered_s)
    assert made.busy_s(last_s + later_s) == pytest.approx(covered_s)
    assert made.busy_cpu_s(3 * (last_s + later_s)) == pytest.approx(3 * covered_s)
    assert made.throughput_per_s(last_s + later_s) == pytest.approx(len(visits) / covered_s)
    assert 1 <= made.peak_in_flight <= len(visits)


def test_any_number_of_prompts_is_held_in_constant_memory():
    made, each = LiveStatistics(NAMES, NEEDS, ANSWER), handled()
    for number in range(RECENT + 5):
        made.admitted(float(number), 0.0)
        made.left(number + 0.5, 0.0, each)
    assert len(made.latencies_s) == len(made.lifetimes_s) == RECENT
    assert made.performance_metrics(0.0)["latency_s"]["n"] == RECENT
    assert made.ended == RECENT + 5
    assert (len(made.routes), len(made.agents)) == (1, 4)


def test_an_agents_calls_are_counted_by_how_each_attempt_ended():
    refused = "CircuitOpenError: breaker 'memory' is open; it probes again at 12:00:00"
    made = statistics(
        handled(
            span("nlu", status="cached", took_s=0.0, queue_s=0.2),
            span("memory", status="failed", took_s=0.3, error="ValueError: no"),
            span("memory", 0.3, status="failed", took_s=0.0, error=refused, attempt=2),
            span("memory", 0.3, status="fallback", took_s=0.1, attempt=3),
            span("reasoning", 0.4, queue_s=0.05),
            span("planning", 0.5, status="skipped", took_s=0.0),
        )
    )
    memory, planning = made.agents["memory"], made.agents["planning"]
    assert (memory.calls, memory.failed, memory.refused, memory.fallbacks) == (3, 2, 1, 1)
    assert (memory.work_s, memory.last_error) == (pytest.approx(0.4), refused)
    assert (made.agents["nlu"].calls, made.agents["nlu"].cached) == (0, 1)
    assert (planning.calls, planning.skipped, planning.as_data()["mean_s"]) == (0, 1, None)
    assert made.queue_s == pytest.approx(0.25)
    assert made.durations_s() == [0.0, pytest.approx(0.1), pytest.approx(0.1), 0.0]


def test_what_an_agent_takes_of_late_outweighs_what_it_took_long_ago():
    slow, fast = (handled(span("reasoning", took_s=took_s)) for took_s in (10.0, 1.0))
    made = statistics(*[slow] * 50, *[fast] * 50)
    assert made.durations_s()[ANSWER] == pytest.approx(1.0, rel=0.06)
    assert made.agents["reasoning"].as_data()["mean_s"] == pytest.approx(5.5)


def test_routes_tell_which_agents_prompts_needed_and_what_ran_in_vain():
    skipped = span("planning", 0.2, status="skipped", took_s=0.0)
    routed = handled(
        *(span("nlu"), span("memory", took_s=0.7), span("reasoning", 0.1), skipped),
        route="fact",
        unneeded=frozenset({"memory", "planning"}),
    )
    made = statistics(routed, routed, handled())
    fact, whole = made.routes["fact"].as_data(), made.routes[UNROUTED].as_data()
    assert fact == {"prompts": 2, "agents": {"nlu": 2, "memory": 0, "reasoning": 2, "planning": 0}}
    assert whole == {"prompts": 1, "agents": dict.fromkeys(NAMES, 1)}
    assert (made.agents["memory"].unneeded, made.agents["memory"].unneeded_s) == (2, pytest.approx(1.4))
    assert made.agents["planning"].unneeded == 0


def test_the_way_to_an_answer_does_not_lead_through_what_was_not_needed():
    slow = (span("nlu"), span("memory", took_s=0.7), span("reasoning", 0.1))
    made = statistics(handled(*slow, route="fact", unneeded=frozenset({"memory"})))
    assert made.answer_path_s == pytest.approx(0.2)
    assert statistics(handled(*slow)).answer_path_s == pytest.approx(0.8)


def test_calls_at_once_are_counted_within_a_prompt_beside_what_the_dag_allows():
    in_turn = handled(*(span(name, number / 8, 1 / 8) for number, name in enumerate(NAMES)))
    metrics = statistics(in_turn).performance_metrics(1.0)
    assert (metrics["concurrent_agents"], metrics["parallel_rate"]) == (1, 0.0)
    assert metrics["ideal_parallel_rate"] == pytest.approx(0.5)
    side_by_side = handled(*(span(name, number / 8, 1 / 8) for name, number in zip(NAMES, (0, 0, 1, 2), strict=True)))
    metrics = statistics(in_turn, side_by_side).performance_metrics(2.0)
    assert (metrics["concurrent_agents"], metrics["parallel_rate"]) == (2, pytest.approx(0.25))


def test_the_agent_whose_absence_would_save_most_is_the_longest():
    made = statistics(handled(span("nlu", took_s=0.5), span("memory", took_s=0.4), span("reasoning", 0.5, 0.3)))
    assert made.longest_agent() == "reasoning"


def worked_off(pipeline, durations_s, workers):
    """Prompts with those durations by agent, all there at once: each call by the worker that is free first."""
    free_s = [0.0] * workers
    made = LiveStatistics(tuple(step.name for step in pipeline.steps), pipeline.needs, pipeline.answer_index)
    ended = []
    for took in durations_s:
        made.admitted(0.0, 0.0)
        spans = []
        for step in pipeline.steps:
            ready_s = max((spans[need].end_s for need in step.needs), default=0.0)
            start_s = max(ready_s, heapq.heappop(free_s))
            spans.append(span(step.name, start_s, took[step.index], queue_s=start_s - ready_s))
            heapq.heappush(free_s, spans[-1].end_s)
        ended.append(Handled(record(spans, pipeline.needs), spans, True, spans[pipeline.answer_index].end_s))
    for each in sorted(ended, key=lambda handled: handled.record.latency_s):
        made.left(each.record.latency_s, 0.0, each)
    return made, max(each.record.latency_s for each in ended)


@given(routed_pipelines(), st.integers(1, 6), st.integers(1, 5), st.data())
def test_whatever_was_done_was_possible(pipeline, workers, prompts, data):
    took = st.lists(st.floats(0.001, 1), min_size=len(pipeline.steps), max_size=len(pipeline.steps))
    made, now_s = worked_off(pipeline, [data.draw(took) for _ in range(prompts)], workers)
    load = load_of(made, workers, Resident(), now_s)
    assert load.throughput_per_s == pytest.approx(prompts / now_s)
    assert load.throughput_per_s <= find_wall(load).bound_per_s * (1 + 1e-9)
    assert load.answer_path_s <= load.latency_s * (1 + 1e-9)
    assert load.critical_path_s <= load.lifetime_s * (1 + 1e-9)
    assert load.concurrent_agents <= min(load.width, workers)
    assert load.width <= pipeline.width
    json.dumps(performance_stats(made, load, now_s), allow_nan=False)


def test_the_load_names_the_agent_that_most_prompts_failed_because_of_and_how():
    no_memory = span("memory", status="failed", error="OSError: gone")
    no_reason = span("reasoning", status="failed", error="ValueError: no")
    did_without = handled(span("nlu"), no_memory, span("reasoning"), status="degraded")
    made = statistics(did_without, did_without, handled(span("nlu"), no_reason, status="failed", culprit="reasoning"))
    load = load_of(made, 4, Resident(), 1.0)
    assert (load.worst_agent, load.worst_error) == ("reasoning", "ValueError: no")
    assert load.failed_share == pytest.approx(1 / 3)
    assert 0 < load.memory_share < 1
    assert load_of(statistics(handled()), 4, Resident(), 1.0).worst_agent is None


def test_agents_that_the_routes_leave_out_do_not_count_into_the_width():
    left_out = span("memory", took_s=0, status="skipped")
    routed = handled(span("nlu"), left_out, span("reasoning", 0.1), span("planning", 0.2), unneeded=frozenset({1}))
    assert statistics(routed).width == 1
    assert statistics(routed, handled()).width == 2
