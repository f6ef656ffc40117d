"""Slots: never more than there are, none lost, whatever those who wait for them do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.fair_queue import Claim
from quark_bench.execute.slots import Slots

from .dags import hand_over


class Visitor:
    """Asks for a slot, holds it until told to leave, and may be cancelled or withdrawn at any moment."""

    def __init__(self, slots, claim):
        self.slots = slots
        self.held = False
        self.waiter = None
        self.may_leave = asyncio.Event()
        self.task = asyncio.create_task(self.visit(claim))

    async def visit(self, claim):
        self.waiter = self.slots.ask(claim)
        if self.waiter is not None and not await self.slots.await_grant(self.waiter):
            return
        self.held = True
        try:
            await self.may_leave.wait()
        finally:
            self.held = False
            self.slots.leave()

    def withdraw(self):
        if self.waiter is not None:
            self.slots.withdraw(self.waiter)


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "cancel", "withdraw", "leave", "go on"]),
        st.integers(0, 30),
        st.builds(Claim, st.sampled_from("abc"), st.integers(0, 2)),
    ),
    max_size=60,
)


def do(deed, number, claim, slots, visitors):
    if deed == "ask":
        visitors.append(Visitor(slots, claim))
    elif visitors:
        visitor = visitors[number % len(visitors)]
        {"cancel": visitor.task.cancel, "withdraw": visitor.withdraw, "leave": visitor.may_leave.set}[deed]()


@given(st.integers(1, 4), DEEDS)
def test_whatever_visitors_do_no_more_than_the_slots_are_held_and_none_is_lost(most, deeds):
    """Deeds with nothing in between fall into one moment, such as that of a grant and of a cancellation."""

    async def lived():
        slots, visitors = Slots(most), []
        for deed, number, claim in deeds:
            if deed == "go on":
                await hand_over(1 + number % 3)
            else:
                do(deed, number, claim, slots, visitors)
            assert sum(visitor.held for visitor in visitors) <= slots.under_way <= most
            assert slots.waiting >= 0
            assert slots.waiting == 0 or slots.under_way == most
        await hand_over(3)
        holding = sum(visitor.held for visitor in visitors)
        assert slots.under_way == holding
        assert slots.waiting == 0 or holding == most
        for visitor in visitors:
            visitor.may_leave.set()
        await asyncio.wait_for(asyncio.gather(*(each.task for each in visitors), return_exceptions=True), 20)
        assert (slots.under_way, slots.waiting) == (0, 0)

    asyncio.run(lived())


@given(st.integers(1, 3), st.lists(st.builds(Claim, st.sampled_from("abc"), st.just(0)), min_size=1, max_size=20))
def test_all_who_wait_have_their_turn_flow_by_flow(most, claims):
    async def lived():
        slots, came = Slots(most), []

        async def visit(claim):
            await slots.enter(claim)
            came.append(claim.flow)
            await hand_over(2)
            slots.leave()

        await asyncio.wait_for(asyncio.gather(*map(visit, claims)), 20)
        assert (slots.under_way, slots.waiting) == (0, 0)
        return came

    came = asyncio.run(lived())
    assert sorted(came) == sorted(claim.flow for claim in claims)
    waited = came[most:]
    for flow in set(waited):
        before = waited[: waited.index(flow)]
        assert len(before) == len(set(before))


@pytest.mark.parametrize("first", ["grant", "cancel"])
def test_a_slot_that_is_granted_to_one_who_is_cancelled_goes_to_the_next(first):
    async def lived():
        slots = Slots(1)
        assert slots.ask(Claim("a", 0)) is None
        cancelled, next_one = (Visitor(slots, Claim("a", rank)) for rank in (1, 2))
        await hand_over(2)
        deeds = [slots.leave, cancelled.task.cancel]
        for deed in deeds if first == "grant" else reversed(deeds):
            deed()
        await hand_over(3)
        assert cancelled.task.cancelled()
        assert (next_one.held, slots.under_way, slots.waiting) == (True, 1, 0)
        next_one.may_leave.set()
        await next_one.task

    asyncio.run(lived())


def test_who_withdraws_gets_no_slot_and_frees_none():
    async def lived():
        slots = Slots(1)
        slots.ask(Claim("a", 0))
        waiter = slots.ask(Claim("a", 1))
        slots.withdraw(waiter)
        slots.withdraw(waiter)
        assert await slots.await_grant(waiter) is False
        assert (slots.under_way, slots.waiting) == (1, 0)
        slots.leave()
        assert slots.under_way == 0

    asyncio.run(lived())


def test_a_withdrawal_that_comes_after_the_grant_changes_nothing():
    async def lived():
        slots = Slots(1)
        slots.ask(Claim("a", 0))
        waiter = slots.ask(Claim("a", 1))
        slots.leave()
        slots.withdraw(waiter)
        assert await slots.await_grant(waiter) is True
        assert slots.under_way == 1

    asyncio.run(lived())


def test_a_newcomer_overtakes_nobody_in_line():
    async def lived():
        slots = Slots(1)
        slots.ask(Claim("a", 0))
        waiter = slots.ask(Claim("a", 1))
        slots.leave()
        assert slots.ask(Claim("a", 0)) is not None
        assert await slots.await_grant(waiter) is True

    asyncio.run(lived())
