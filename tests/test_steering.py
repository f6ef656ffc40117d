"""Trials that are steered: routed by what one agent finds, and waiting for slots."""

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.agent import Agent, agent
from quark_bench.dataset import Prompt
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.fair_queue import Claim
from quark_bench.execute.slots import Slots
from quark_bench.execute.steering import Steering
from quark_bench.execute.step import Bench, Case, Wired
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import run_trial
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Strategy
from quark_bench.record import Record
from quark_bench.routing import Router
from quark_bench.schedule import longest_path

from .dags import hand_over, named, routed_pipelines
from .places import Starved

PARALLEL, SEQUENTIAL = Strategy.PARALLEL, Strategy.SEQUENTIAL
ways = pytest.mark.parametrize(
    ("strategy", "most"), [(SEQUENTIAL, 1), (PARALLEL, 1), (PARALLEL, 2), (PARALLEL, 99)], ids=str
)


class Onlooker:
    """Writes down which agents began and how they ended."""

    def __init__(self):
        self.begun = []
        self.statuses = {}

    def began(self, step):
        self.begun.append(step.name)

    def ended(self, step, outcome):
        assert step.name not in self.statuses, "nothing ends twice"
        self.statuses[step.name] = outcome.status


class Ended(NamedTuple):
    record: Record
    spans: dict
    """The last of each agent."""
    seen: Onlooker
    unneeded: set
    begun: set


async def steered(pipeline, strategy, slots, threads=None, **what):
    """Run one trial that is steered."""
    wired, seen = Wired(pipeline), Onlooker()
    routing = None if pipeline.router is None else pipeline.router.on(pipeline)
    steering = Steering(slots, Claim("", 1), seen, routing, **what)
    case = Case.of(Prompt("p-1", "hello"), "live", 0, 0, "run")
    bench = Bench("here:1", threads or Threads(), Deadlines())
    record, spans, _ = await asyncio.wait_for(run_trial(wired, case, strategy, bench, steering), 30)
    names = [step.name for step in pipeline.steps]
    unneeded, begun = ({names[index] for index in found} for found in (steering.unneeded, steering.begun))
    return Ended(record, {span.agent: span for span in spans}, seen, unneeded, begun)


def tried(pipeline, strategy, most=99, **what):
    """As `steered`; all slots must have come back."""

    async def made():
        slots = Slots(most)
        ended = await steered(pipeline, strategy, slots, **what)
        assert (slots.under_way, slots.waiting) == (0, 0)
        return ended

    return asyncio.run(made())


def assistant(*agents, routes=()):
    """Facts need the named agents only; its nlu, unless one is given, finds after a while that all is a fact."""
    if not any(isinstance(each, Agent) and each.name == "nlu" for each in agents):
        agents = (named("nlu", after=lambda: hand_over(9), category="fact"), *agents)
    return Pipeline("assistant", agents, answer="reasoning", router=Router("nlu", {"fact": routes}))


@ways
def test_an_agent_that_is_not_needed_and_has_not_begun_is_skipped(strategy, most):
    pipeline = assistant(
        named("reasoning", "nlu", planned="unplanned"), named("waits", "nlu"), named("planned", "waits")
    )
    ended = tried(pipeline, strategy, most)
    assert (ended.record.status, ended.record.error) == ("ok", None)
    assert '"planned", "unplanned"' in ended.record.answer
    assert ended.seen.begun == ["nlu", "reasoning"]
    assert ended.unneeded - ended.begun == {"waits", "planned"}
    for name in ("waits", "planned"):
        assert (ended.spans[name].status, ended.spans[name].attempt) == ("skipped", 0)
        assert ended.spans[name].error == "not needed for category 'fact'"
        assert ended.seen.statuses[name] == "skipped"


@pytest.mark.parametrize("most", [1, 2])
def test_an_agent_in_line_for_a_slot_does_not_begin_once_it_is_not_needed(most):
    waits = [named(f"waits_{number}", after=lambda: hand_over(30)) for number in range(3)]
    ended = tried(assistant(*waits, named("reasoning", "nlu", waits_2="none")), PARALLEL, most)
    assert ended.record.status == "ok"
    assert len(ended.seen.begun) == most + 1
    assert ended.unneeded == {"waits_0", "waits_1", "waits_2"}


def test_an_agent_that_is_not_needed_leaves_the_line_for_a_slot_at_once():
    async def lived():
        slots = Slots(1)
        pipeline = assistant(
            named("nlu", after=lambda: hand_over(5), category="fact"), named("waits"), named("reasoning", "nlu")
        )
        trial = asyncio.create_task(steered(pipeline, PARALLEL, slots))
        await hand_over(5)
        in_line = slots.waiting
        await slots.enter(Claim("", 0))  # an older prompt is served first
        await hand_over(5)
        assert (in_line, slots.waiting) == (1, 1), "now it is reasoning that waits"
        slots.leave()
        ended = await trial
        assert ended.seen.begun == ["nlu", "reasoning"]
        assert (slots.under_way, slots.waiting) == (0, 0)

    asyncio.run(lived())


def test_an_agent_that_had_begun_is_kept_and_nobody_waits_for_it():
    answered = asyncio.Event()
    begun = named("begun", after=answered.wait)

    async def reasoning(nlu, begun="nothing"):
        answered.set()
        return begun

    ended = tried(assistant(begun, reasoning), PARALLEL)
    assert (ended.record.status, ended.record.answer) == ("ok", "nothing")
    assert (ended.spans["begun"].status, ended.spans["begun"].attempt) == ("ok", 1)
    assert (ended.seen.statuses["begun"], ended.unneeded & ended.begun) == ("ok", {"begun"})
    assert ended.record.attempts == 3
    assert ended.record.latency_s >= ended.spans["begun"].end_s - ended.record.start_s


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("takes_nlu", [True, False])
def test_what_an_agent_answered_before_it_was_not_needed_reaches_nobody(strategy, takes_nlu):
    """Or the answer would depend on which of both was faster, or declared first."""
    there = asyncio.Event()

    async def early(prompt):
        there.set()
        return "early"

    optional = {"early": "nothing"} | ({"nlu": None} if takes_nlu else {})
    pipeline = assistant(early, named("reasoning", **optional), named("nlu", after=there.wait, category="fact"))
    ended = tried(pipeline, strategy)
    assert '["early", "nothing"]' in ended.record.answer
    assert (ended.record.status, ended.unneeded & ended.begun) == ("ok", {"early"})


def test_an_agent_that_the_route_needs_is_not_held_up_by_a_category_it_does_not_depend_on():
    begun = asyncio.Event()
    pipeline = assistant(
        named("nlu", after=begun.wait, category="fact"), agent(name="reasoning")(lambda prompt: begun.set())
    )
    assert tried(pipeline, PARALLEL).record.status == "ok"


@ways
@pytest.mark.parametrize("turns", [0, 30])
def test_an_agent_that_fails_and_is_not_needed_costs_the_record_nothing(strategy, most, turns):
    broken = named("broken", after=lambda: hand_over(turns), fails=True)
    pipeline = assistant(broken, named("reasoning", broken="none"))
    ended = tried(pipeline, strategy, most)
    assert (ended.record.status, ended.record.error, ended.record.error_agent) == ("ok", None, None)
    assert '["broken", "none"]' in ended.record.answer


@pytest.mark.parametrize("strategy", Strategy)
def test_an_agent_that_fails_and_is_needed_fails_the_record_although_others_are_left_out(strategy):
    pipeline = assistant(named("broken", fails=True), named("waits", "nlu"), named("reasoning"), routes=["broken"])
    ended = tried(pipeline, strategy)
    assert (ended.record.status, ended.record.error_agent) == ("failed", "broken")


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("nlu", [named("nlu", category="poem"), named("nlu", fails=True), named("nlu")])
def test_without_a_route_for_what_was_found_all_agents_run(strategy, nlu):
    pipeline = assistant(named("memory"), nlu, named("reasoning", memory="none"))
    ended = tried(pipeline, strategy)
    assert set(ended.seen.begun) == {"nlu", "memory", "reasoning"}
    assert '["memory", ["memory"]]' in ended.record.answer
    assert not ended.unneeded


@pytest.mark.parametrize("strategy", Strategy)
def test_given_values_stand_for_agents_and_those_not_asked_for_are_not_called(strategy):
    pipeline = assistant(named("retrieval"), named("reasoning", "nlu", "retrieval", memory="none"), named("memory"))
    pipeline.router = None
    ended = tried(pipeline, strategy, unneeded=frozenset({0, 1, 2}), given={0: "told"})
    assert ended.record.answer is None
    assert ended.seen.begun == []
    position = {step.name: step.index for step in pipeline.steps}
    others = frozenset(range(4)) - {position["reasoning"], position["retrieval"]}
    ended = tried(pipeline, strategy, unneeded=others, given={position["nlu"]: "told"})
    assert ended.record.status == "ok"
    assert ended.record.answer == '["reasoning", ["memory", "none"], ["nlu", "told"], ["retrieval", ["retrieval"]]]'


@ways
@pytest.mark.parametrize("threads", [0, 1])
def test_without_threads_the_needed_agents_are_called_once_and_the_others_are_still_left_out(strategy, most, threads):
    calls = []

    def blocking(name, value=None):
        def call(prompt):
            calls.append(name)
            return value or name

        return agent(name=name)(call)

    async def reasoning(nlu, blocks, memory="none"):
        return [blocks, memory]

    nlu = blocking("nlu", {"category": "fact"})
    pipeline = assistant(nlu, blocking("blocks"), reasoning, named("memory", "nlu"), routes=["blocks"])
    ended = tried(pipeline, strategy, most, threads=Starved(threads))
    assert sorted(calls) == ["blocks", "nlu"]
    assert (ended.record.status, ended.record.answer) == ("degraded", '["blocks", "none"]')
    assert ended.record.error.startswith("EngineFaultError")
    assert ended.spans["memory"].status == "skipped"


def test_the_critical_path_does_not_lead_through_what_was_not_needed():
    async def slow(prompt):
        await asyncio.sleep(0.03)

    async def reasoning(nlu, slow=None):
        await asyncio.sleep(0.005)

    pipeline = assistant(slow, reasoning)
    ended = tried(pipeline, PARALLEL)
    took_s = [ended.spans[step.name].end_s - ended.spans[step.name].start_s for step in pipeline.steps]
    nobody_waits = [[need for need in step.needs if pipeline.steps[need].name != "slow"] for step in pipeline.steps]
    assert ended.record.critical_path_s == longest_path(took_s, nobody_waits) < longest_path(took_s, pipeline.needs)
    assert ended.record.work_s == pytest.approx(sum(took_s))


def test_the_wait_for_a_slot_is_queueing_and_no_service():
    async def waits(prompt):
        await asyncio.sleep(0.01)

    agents = [agent(name=name)(waits) for name in "abc"]
    record = tried(Pipeline("one slot", agents, answer="a"), PARALLEL, most=1).record
    longest_s = record.work_s / 2
    assert record.service_s < longest_s < record.latency_s


@given(routed_pipelines(), st.integers(1, 4))
def test_side_by_side_and_in_turn_come_to_the_same_whatever_is_routed(pipeline, most):
    in_turn, side_by_side = tried(pipeline, SEQUENTIAL), tried(pipeline, PARALLEL, most)
    one, other = in_turn.record, side_by_side.record
    assert (one.status, one.answer, one.error, one.error_agent) == (
        (other.status, other.answer, other.error, other.error_agent)
    )
    assert in_turn.unneeded == side_by_side.unneeded
    for ended in (in_turn, side_by_side):
        assert len(ended.seen.begun) == len(set(ended.seen.begun)), "called twice"
        assert set(ended.seen.statuses) == {step.name for step in pipeline.steps}
        called = {name for name, span in ended.spans.items() if span.attempt}
        assert called == ended.begun == set(ended.seen.begun)
        assert one.critical_path_s <= one.latency_s
    assert in_turn.begun - in_turn.unneeded == side_by_side.begun - side_by_side.unneeded


@given(routed_pipelines(), st.integers(1, 3), st.sampled_from(Strategy), st.integers(0, 25))
def test_a_trial_that_is_cancelled_at_any_moment_gives_all_slots_back(pipeline, most, strategy, turns):
    async def lived():
        slots = Slots(most)
        trials = [asyncio.create_task(steered(pipeline, strategy, slots)) for _ in range(3)]
        await hand_over(turns)
        trials[0].cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        await hand_over(3)
        assert (slots.under_way, slots.waiting) == (0, 0)
        assert all(trial.result().record.status for trial in trials[1:])

    asyncio.run(lived())
