"""Handing out the chunks of a block, with workers that come, go and die: laws, without a cluster."""

import heapq
import itertools
import random
from collections import Counter, deque
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.execute.dispatch import CHUNKS_WAITING, LOSSES_ALONE, Dispatch, is_hopeless, shares
from quark_bench.execute.granularity import Costs, chunk_size
from quark_bench.plan import Block
from quark_bench.schedule import makespan


def dispatch_of(prompts, in_flight, size=7, workers=("a", "b")):
    made = Dispatch(Block(0, "async", 0, 0, prompts).chunks(size), in_flight)
    made.present(set(workers))
    return made


class World:
    """Workers that carry out orders in any order, die with what they hold, and are replaced."""

    def __init__(self, dispatch, workers, deadly):
        self.dispatch, self.workers, self.deadly = dispatch, set(workers), deadly
        self.settled, self.failed, self.whole = Counter(), set(), Counter()
        self.under_way, self.born = [], len(workers)

    def hand_out(self):
        self.dispatch.present(self.workers)
        for order in self.dispatch.orders():
            assert order.worker in self.workers
            beside = [other for other in self.under_way if other.worker == order.worker]
            assert not any(other.alone for other in beside)
            assert not (order.alone and beside)
            self.under_way.append(order)

    def lanes(self):
        widest = Counter()
        for order in self.under_way:
            widest[order.worker] = max(widest[order.worker], order.lanes)
        return sum(widest.values())

    def end(self, index):
        """One order ends: its worker dies of it if it holds a deadly prompt."""
        order = self.under_way[index % len(self.under_way)]
        if self.deadly & set(range(order.start, order.stop)):
            self.kill(order.worker)
            return
        self.under_way.remove(order)
        for position in range(order.start, order.stop):
            self.settled[position] += 1
        if self.dispatch.returned(order):
            self.whole[order.chunk.index] += 1

    def kill(self, worker):
        self.workers.discard(worker)
        self.born += 1
        self.workers.add(f"w{self.born}")
        for order in [order for order in self.under_way if order.worker == worker]:
            self.under_way.remove(order)
            if self.dispatch.lost(order):
                assert self.dispatch.losses(order) == LOSSES_ALONE + 1
                self.settled[order.start] += 1
                self.failed.add(order.start)
                if self.dispatch.given_up(order):
                    self.whole[order.chunk.index] += 1


@given(
    prompts=st.integers(1, 60),
    in_flight=st.integers(1, 12),
    size=st.integers(1, 20),
    workers=st.integers(1, 5),
    deadly=st.sets(st.integers(0, 59), max_size=4),
    steps=st.lists(st.tuples(st.sampled_from(["begin", "end", "end", "end", "kill", "join"]), st.integers(0, 99))),
)
@settings(deadline=None)
def test_whatever_workers_do_every_prompt_is_settled_once_and_only_killers_fail(
    prompts, in_flight, size, workers, deadly, steps
):
    names = [f"w{n}" for n in range(workers)]
    world = World(dispatch_of(prompts, in_flight, size, names), names, deadly)
    kills = 0
    for what, index in steps:
        world.hand_out()
        assert world.lanes() <= in_flight
        if what == "join":
            world.born += 1
            world.workers.add(f"w{world.born}")
        elif what == "kill" and world.workers:
            kills += 1
            world.kill(sorted(world.workers)[index % len(world.workers)])
        elif what == "begin" and world.under_way:
            world.dispatch.begun(world.under_way[index % len(world.under_way)].number)
        elif world.under_way:
            world.end(index)
    for _ in range(50 * prompts + 100):
        world.hand_out()
        if world.dispatch.done:
            break
        world.end(0)
    assert world.dispatch.done
    assert world.settled == Counter(range(prompts))
    assert all(count == 1 for count in world.whole.values())
    in_data = deadly & set(range(prompts))
    assert in_data <= world.failed
    if kills < LOSSES_ALONE:
        assert world.failed == in_data


@given(st.integers(0, 9), st.integers(1, 30))
def test_shares_differ_by_at_most_one_and_add_up(workers, in_flight):
    found = shares([str(n) for n in range(workers)], in_flight)
    if workers:
        assert sum(found.values()) == in_flight
        assert max(found.values()) - min(found.values()) <= 1
    assert len(found) == min(workers, in_flight)


def test_workers_hold_what_fills_their_lanes_and_one_chunk_more():
    dispatch = dispatch_of(100, 4, size=2)
    held = Counter(order.worker for order in dispatch.orders())
    assert held == {"a": CHUNKS_WAITING, "b": CHUNKS_WAITING}


def test_a_worker_whose_chunk_has_begun_gets_the_next_one_before_a_straggler_has_ended():
    dispatch = dispatch_of(200, 4, size=4)
    begun = list(dispatch.orders())
    assert Counter(order.worker for order in begun) == dict.fromkeys("ab", CHUNKS_WAITING)
    dispatch.begun(begun[0].number)
    assert [order.worker for order in dispatch.orders()] == [begun[0].worker]
    dispatch.begun(begun[0].number)
    dispatch.returned(begun[0])
    dispatch.begun(begun[0].number)
    assert not list(dispatch.orders())


class VirtualTime:
    """Workers with lanes, each prompt as long as it is given, news and orders half a hop on their way."""

    def __init__(self, durations_s, in_flight, workers, hop_s):
        costs = Costs(hop_s, task_s=hop_s / 10, processes=workers, cores=workers)
        size = chunk_size(median(durations_s), in_flight, costs, len(durations_s))
        self.dispatch = Dispatch(Block(0, "async", 0, 0, len(durations_s)).chunks(size), in_flight)
        self.dispatch.present({f"w{n}" for n in range(workers)})
        self.waiting = {f"w{n}": deque() for n in range(workers)}
        self.idle = dict.fromkeys(self.waiting, 0) | shares(list(self.waiting), in_flight)
        self.durations_s, self.half_s = durations_s, hop_s / 2
        self.missing = {}
        self.events, self.ticket = [], itertools.count()

    def makespan_s(self):
        now_s = last_s = 0.0
        self.order(now_s)
        while self.events:
            now_s, _, what, order = heapq.heappop(self.events)
            if what == "arrives":
                self.waiting[order.worker].append((order, deque(range(order.start, order.stop))))
            elif what == "prompt ends":
                last_s = now_s
                self.idle[order.worker] += 1
                self.missing[order.number] -= 1
                if self.missing[order.number] == 0:
                    self.later(now_s + self.half_s, "returns", order)
            elif what == "begun":
                self.dispatch.begun(order.number)
            else:
                self.dispatch.returned(order)
            self.begin(now_s, order.worker)
            self.order(now_s)
        assert self.dispatch.done
        return last_s

    def order(self, now_s):
        for order in self.dispatch.orders():
            self.missing[order.number] = len(order)
            self.later(now_s + self.half_s, "arrives", order)

    def begin(self, now_s, worker):
        waiting = self.waiting[worker]
        while self.idle[worker] and waiting:
            order, positions = waiting[0]
            if positions:
                self.idle[worker] -= 1
                self.later(now_s + self.durations_s[positions.popleft()], "prompt ends", order)
            else:
                waiting.popleft()
                self.later(now_s + self.half_s, "begun", order)

    def later(self, at_s, what, order):
        heapq.heappush(self.events, (at_s, next(self.ticket), what, order))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("prompts", "in_flight"), [(64, 8), (200, 32), (2_560, 256)])
def test_equal_prompts_fill_whole_rounds(prompts, in_flight, workers):
    durations_s = [0.22] * prompts
    took_s = VirtualTime(durations_s, in_flight, workers, hop_s=0.01).makespan_s()
    assert took_s <= 1.05 * makespan(durations_s, in_flight)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("prompts", "in_flight"), [(200, 32), (2_560, 256), (1_000, 16)])
@pytest.mark.parametrize("slow_share", [0, 0.05, 0.3])
def test_prompts_of_uneven_length_take_little_longer_than_a_list_schedule(prompts, in_flight, workers, slow_share):
    draw = random.Random(prompts + workers)
    durations_s = [
        0.22 * draw.lognormvariate(0, 0.2) * (10 if draw.random() < slow_share else 1) for _ in range(prompts)
    ]
    took_s = VirtualTime(durations_s, in_flight, workers, hop_s=0.01).makespan_s()
    assert took_s <= 1.1 * makespan(durations_s, in_flight)


def test_while_a_suspect_waits_a_busy_worker_gets_nothing_new():
    dispatch = dispatch_of(40, 2, size=2)
    first, *others = dispatch.orders()
    for order in (order for order in [first, *others] if order.worker == first.worker):
        dispatch.lost(order)
    dispatch.present({"b", "c"})
    alone = list(dispatch.orders())
    assert [(order.worker, order.alone, len(order)) for order in alone] == [("c", True, 1)]
    for order in [order for order in others if order.worker == "b"]:
        dispatch.returned(order)
    (following,) = dispatch.orders()
    assert (following.worker, following.alone) == ("b", True)


def test_a_worker_that_joins_gets_lanes_only_as_others_give_them_up():
    dispatch = Dispatch(Block(0, "async", 0, 0, 100).chunks(4), 8)
    dispatch.present({"a"})
    first, second, third = dispatch.orders()
    assert {first.lanes, second.lanes, third.lanes} == {8}
    dispatch.present({"a", "b"})
    assert not list(dispatch.orders())
    dispatch.returned(first)
    dispatch.returned(second)
    assert {(order.worker, order.lanes) for order in dispatch.orders()} == {("a", 4)}
    dispatch.returned(third)
    assert ("b", 4) in {(order.worker, order.lanes) for order in dispatch.orders()}


def test_after_a_stop_nothing_is_handed_out_and_what_is_under_way_may_end():
    dispatch = dispatch_of(40, 2, size=2)
    begun = list(dispatch.orders())
    dispatch.stop()
    assert not dispatch.done
    dispatch.lost(begun.pop())
    assert not list(dispatch.orders())
    for order in begun:
        dispatch.returned(order)
    assert dispatch.done


def test_a_trial_that_dask_places_is_withdrawn_before_it_takes_down_a_third_worker():
    assert not is_hopeless(1, None, {"a", "b"})
    assert is_hopeless(2, None, {"a"})


def test_a_trial_that_took_down_the_last_worker_does_not_wait_for_the_next_to_join():
    assert not is_hopeless(0, None, set())
    assert is_hopeless(1, None, set())


def test_a_trial_whose_own_workers_have_all_left_is_withdrawn():
    assert not is_hopeless(1, ["a", "b"], {"b", "c"})
    assert is_hopeless(0, ["a", "b"], {"c"})


def by_turns(prompts, in_flight=100, size=2, workers="abc"):
    made = Dispatch(Block(0, "async", 0, 0, prompts).chunks(size), in_flight, by_turns=True)
    made.present(set(workers))
    return made


def test_in_an_open_load_workers_take_turns_and_nothing_is_handed_out_before_its_time():
    dispatch = by_turns(20)
    assert not list(dispatch.orders(before=0))
    first = list(dispatch.orders(before=7))
    assert [(order.worker, order.start) for order in first] == [("a", 0), ("b", 2), ("c", 4), ("a", 6)]
    for order in first:
        dispatch.returned(order)
    assert [order.worker for order in dispatch.orders(before=12)] == ["b", "c"]


def test_in_an_open_load_a_worker_that_is_behind_gets_less():
    dispatch = by_turns(60)
    first = list(dispatch.orders(before=18))
    for order in first:
        if order.worker != "a":
            dispatch.returned(order)
    assert [order.worker for order in dispatch.orders(before=30)].count("a") == 0


def test_in_an_open_load_all_that_is_due_is_handed_out_whatever_is_waiting():
    dispatch = by_turns(1_000, in_flight=2, workers="a")
    assert sum(map(len, dispatch.orders())) == 1_000
