"""Handing out the chunks of a block, with workers that come, go and die: laws, without a cluster."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.execute.dispatch import LOSSES_ALONE, Dispatch, is_hopeless, shares
from quark_bench.plan import Block


def dispatch_of(prompts, in_flight, size=7, workers=("a", "b")):
    made = Dispatch(Block(0, "async", 0, 0, prompts).chunks(size, len(workers)), in_flight)
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
    steps=st.lists(st.tuples(st.sampled_from(["end", "end", "end", "kill", "join"]), st.integers(0, 99))),
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
    assert held == {"a": 2, "b": 2}


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
