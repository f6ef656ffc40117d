"""Breakers in one process and over a link: what the hub counts, and what a process does with its view."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute import breakers as module
from quark_bench.execute.breakers import PASSED, Breakers, Guard, Hub, histories
from quark_bench.execute.decide import Phase, Verdict
from quark_bench.policy import Breaker

BREAKER = Breaker(failures=3, reset_s=10)
GUARD = Guard("openai", BREAKER, 4.0)
KEY = ("run-async", False, "openai")
NOON_S = 12 * 3600.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Line:
    """A link to a hub that can be cut; messages go through JSON, as plain data does."""

    def __init__(self, hub, clock):
        self.hub, self.clock = hub, clock
        self.cut = False
        self.messages = 0

    async def __call__(self, rows):
        self.messages += 1
        if self.cut:
            raise OSError("gone")
        await asyncio.sleep(0)
        return json.loads(json.dumps(self.hub.exchange(json.loads(json.dumps(rows)), self.clock())))


def fail(breakers, times, key=KEY):
    for _ in range(times):
        breakers.settle(key, GUARD, False, 0)


def opened(hub, key=KEY, now_s=0.0):
    for _ in range(BREAKER.failures):
        hub.settle(key, BREAKER, False, 0, now_s)
    return hub


def test_breakers_of_other_arms_warm_ups_and_names_stay_closed():
    hub = opened(Hub())
    others = [("run-sync", False, "openai"), ("run-async", True, "openai"), ("run-async", False, "other")]
    assert hub.admit(KEY, 4, 1) is Verdict.REFUSE
    assert {hub.admit(other, 4, 1) for other in others} == {Verdict.PASS}


def test_the_history_tells_counts_and_changes_and_leaves_warm_ups_out():
    hub = opened(Hub(), now_s=1.0)
    opened(hub, ("run-async", True, "openai"))
    hub.admit(KEY, 4, 2)
    hub.admit(KEY, 4, 11)
    hub.settle(KEY, BREAKER, True, 1, 12)
    rows = json.loads(json.dumps(hub.history("run", now_s=20)))
    told = histories("run", {"async": ["openai"], "sync": ["openai"]}, rows, now_s=20)
    counts = {"opened": 1, "probes": 1, "refused": 1, "state": "closed"}
    changes = [[1, "open"], [11, "half-open"], [12, "closed"]]
    never = {"opened": 0, "probes": 0, "refused": 0, "state": "closed", "transitions": []}
    assert told == [
        {"arm": "async", "breaker": "openai", **counts, "transitions": changes},
        {"arm": "sync", "breaker": "openai", **never},
    ]


def test_a_breaker_that_flaps_for_ever_is_told_in_bounded_space():
    hub = Hub()
    for round_s in range(0, 100_000, 100):
        opened(hub, now_s=round_s)
        hub.admit(KEY, 4, round_s + 10)
        hub.settle(KEY, BREAKER, True, hub.state(KEY).probe, round_s + 11)
    ((_, _, opens, probes, *_, transitions),) = hub.history("run", 0)
    assert (opens, probes, len(transitions)) == (1_000, 1_000, module.MOST_TRANSITIONS)


def test_a_run_that_is_forgotten_begins_with_closed_breakers_and_others_keep_theirs():
    hub = opened(opened(Hub()), ("run2-async", False, "openai"))
    hub.forget("run")
    assert hub.admit(KEY, 4, 1) is Verdict.PASS
    assert hub.admit(("run2-async", False, "openai"), 4, 1) is Verdict.REFUSE


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_a_message_of_many_ends_counts_like_each_of_them(ends, failures):
    breaker = Breaker(failures=failures)
    alone, told = Hub(), Hub()
    news = module._News(breaker)
    for succeeded in ends:
        alone.settle(KEY, breaker, succeeded, 0, 1.0)
        news.add(succeeded, 0)
    told.exchange([news.row(KEY, None)], 1.0)
    assert told.state(KEY) == alone.state(KEY)
    assert not list(news.endings())


def test_a_refusal_names_the_breaker_and_the_time_of_its_probe():
    async def refused():
        clock = Clock()
        breakers = Breakers(clock, lambda: NOON_S)
        fail(breakers, 3)
        return await breakers.admit(KEY, GUARD)

    told = asyncio.run(refused()).refused
    assert told == "CircuitOpenError: breaker 'openai' is open; it probes again at 12:00:10 UTC"


def test_without_a_link_no_task_is_ever_started():
    async def tasks():
        breakers = Breakers()
        await breakers.admit(KEY, GUARD)
        fail(breakers, 9)
        await breakers.admit(KEY, GUARD)
        await breakers.flush()
        return len(asyncio.all_tasks())

    assert asyncio.run(tasks()) == 1


@pytest.fixture
def linked():
    """`linked(story)`: runs a story with two processes that share one hub."""

    def told(story):
        async def made():
            clock, hub = Clock(), Hub()
            lines = [Line(hub, clock) for _ in range(2)]
            processes = [Breakers(clock, lambda: NOON_S) for _ in lines]
            for process, line in zip(processes, lines, strict=True):
                process.link(line)
            await story(clock, hub, processes, lines)

        asyncio.run(asyncio.wait_for(made(), 20))

    return told


async def until(condition, most_s=5.0):
    """Wait for what another process will learn by itself."""
    deadline = asyncio.get_running_loop().time() + most_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def test_failures_of_two_processes_add_up_and_open_the_breaker_for_both(linked):
    async def story(clock, hub, processes, lines):
        for process in processes:
            assert (await process.admit(KEY, GUARD)).refused is None
        fail(processes[0], 1)
        fail(processes[1], 2)
        await until(lambda: hub.state(KEY).phase is Phase.OPEN)
        await until(lambda: all(process._hub.state(KEY).phase is Phase.OPEN for process in processes))
        for process in processes:
            assert (await process.admit(KEY, GUARD)).refused is not None

    linked(story)


def test_successes_while_nothing_fails_say_nothing(linked):
    async def story(clock, hub, processes, lines):
        process, line = processes[0], lines[0]
        await process.admit(KEY, GUARD)
        asked = line.messages
        for _ in range(1_000):
            assert process.is_closed(KEY, GUARD)
            process.settle(KEY, GUARD, True, 0)
        assert line.messages == asked
        assert hub.history("run", 0)[0][2:5] == [0, 0, 0]

    linked(story)


@given(
    st.lists(st.sampled_from(["admit", "succeed", "fail", "wait", "cut", "mend"]), max_size=25),
    st.booleans(),
)
def test_a_breaker_known_to_be_closed_lets_the_call_pass(events, is_linked):
    async def told():
        clock = Clock()
        line = Line(Hub(), clock)
        breakers = Breakers(clock, lambda: NOON_S)
        breakers.link(line if is_linked else None)
        for event in events:
            if event == "admit":
                known = breakers.is_closed(KEY, GUARD)
                admission = await breakers.admit(KEY, GUARD)
                assert admission == PASSED or not known
                breakers.settle(KEY, GUARD, True, admission.probe)
            elif event == "wait":
                clock.now_s += 1.5
            elif event in ("cut", "mend"):
                line.cut = event == "cut"
            else:
                breakers.settle(KEY, GUARD, event == "succeed", 0)

    asyncio.run(told())


def test_a_process_that_has_not_heard_of_the_hub_for_a_while_does_not_go_by_its_view(linked):
    async def story(clock, hub, processes, lines):
        process, line = processes[0], lines[0]
        assert not process.is_closed(KEY, GUARD)
        await process.admit(KEY, GUARD)
        assert process.is_closed(KEY, GUARD)
        clock.now_s += module.FRESH_S + 0.1
        assert not process.is_closed(KEY, GUARD)
        line.cut = True
        await process.admit(KEY, GUARD)
        assert process.is_closed(KEY, GUARD), "there is nobody to ask"

    linked(story)


def test_one_of_all_processes_gets_the_probe_and_the_others_wait_for_it(linked):
    async def story(clock, hub, processes, lines):
        opened(hub, now_s=clock())
        clock.now_s += 10
        asked = [process.admit(KEY, GUARD) for process in processes for _ in range(5)]
        admissions = await asyncio.gather(*asked)
        assert sorted(admission.probe for admission in admissions) == [0] * 9 + [1]
        assert sum(admission.refused is None for admission in admissions) == 1
        prober = next(p for p, a in zip([*processes[:1] * 5, *processes[1:] * 5], admissions, strict=True) if a.probe)
        prober.settle(KEY, GUARD, True, 1)
        await until(lambda: hub.state(KEY).phase is Phase.CLOSED)
        await until(lambda: all(process._hub.state(KEY).phase is Phase.CLOSED for process in processes))
        assert [(await process.admit(KEY, GUARD)).refused for process in processes] == [None, None]

    linked(story)


def test_a_probe_whose_process_died_is_followed_by_another_processes(linked):
    async def story(clock, hub, processes, lines):
        opened(hub, now_s=clock())
        clock.now_s += 10
        assert (await processes[0].admit(KEY, GUARD)).probe == 1
        clock.now_s += 3.9
        assert "waits for its probe" in (await processes[1].admit(KEY, GUARD)).refused
        clock.now_s += 0.2
        assert (await processes[1].admit(KEY, GUARD)).probe == 2

    linked(story)


def test_a_process_that_cannot_reach_the_hub_goes_on_with_its_own_view(linked):
    async def story(clock, hub, processes, lines):
        process, line = processes[0], lines[0]
        line.cut = True
        assert (await process.admit(KEY, GUARD)).refused is None
        fail(process, 3)
        assert (await process.admit(KEY, GUARD)).refused is not None
        clock.now_s += 10
        assert (await process.admit(KEY, GUARD)).probe == 1
        process.settle(KEY, GUARD, True, 1)
        assert (await process.admit(KEY, GUARD)).refused is None
        tries = line.messages
        clock.now_s += 1
        assert (await process.admit(KEY, GUARD)).refused is None
        assert line.messages == tries, "a hub out of reach is left alone for a while"
        line.cut = False
        opened(hub, now_s=clock())
        clock.now_s += module.ALONE_S
        assert (await process.admit(KEY, GUARD)).refused is not None

    linked(story)


def test_refusals_of_all_processes_are_counted(linked):
    async def story(clock, hub, processes, lines):
        opened(hub, now_s=clock())
        for process in processes:
            for _ in range(4):
                await process.admit(KEY, GUARD)
            await process.flush()
        assert hub.history("run", 0)[0][4] == 8

    linked(story)


def test_nothing_is_exchanged_once_no_call_is_made_any_more(linked):
    async def story(clock, hub, processes, lines):
        await processes[0].admit(KEY, GUARD)
        fail(processes[0], 1)
        await until(lambda: hub.state(KEY).failures == 1)
        clock.now_s += module.UNUSED_S
        await until(processes[0]._updates.done)
        assert not processes[0]._news

    linked(story)
