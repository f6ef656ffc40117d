"""Who is next: laws of the line, whoever stands in it."""

from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.fair_queue import Claim, FairQueue

CLAIMS = st.lists(st.builds(Claim, st.sampled_from("abcd"), st.integers(0, 3)), max_size=40)


def line(claims, over=()):
    """A line in which items are the claims' numbers; those in `over` need no turn any more."""
    queue = FairQueue(lambda item: item in over)
    for number, claim in enumerate(claims):
        queue.push(claim, number)
    return queue


def emptied(queue):
    found = []
    while (item := queue.pop()) is not None:
        found.append(item)
    return found


@given(CLAIMS, st.sets(st.integers(0, 39)))
def test_every_item_comes_once_unless_it_is_over(claims, over):
    came = emptied(line(claims, over))
    assert sorted(came) == [number for number in range(len(claims)) if number not in over]


@given(CLAIMS, st.sets(st.integers(0, 39)))
def test_of_a_flow_the_lowest_rank_comes_first_and_of_equal_ranks_the_oldest(claims, over):
    came = emptied(line(claims, over))
    for flow in "abcd":
        own = [number for number in came if claims[number].flow == flow]
        assert own == sorted(own, key=lambda number: (claims[number].rank, number))


@given(CLAIMS, st.sets(st.integers(0, 39)))
def test_between_two_turns_of_a_flow_every_other_one_that_waits_has_exactly_one(claims, over):
    came = [claims[number].flow for number in emptied(line(claims, over))]
    for turn, flow in enumerate(came):
        later = came[turn + 1 :]
        if flow in later:
            assert sorted(later[: later.index(flow)]) == sorted(set(later) - {flow})


@given(CLAIMS, st.integers(0, 40), st.integers(0, 3))
def test_a_newcomer_waits_for_at_most_one_item_of_each_other_flow(claims, gone, rank):
    queue = line(claims)
    for _ in range(min(gone, len(claims))):
        queue.pop()
    queue.push(Claim("new", rank), -1)
    before = emptied(queue)
    before = [claims[number].flow for number in before[: before.index(-1)]]
    assert len(before) == len(set(before))


def test_a_thousand_items_of_one_flow_delay_another_by_one():
    queue = line([Claim("many", 0)] * 1_000 + [Claim("one", 5)])
    assert [queue.pop(), queue.pop()] == [0, 1_000]


def test_an_item_that_is_over_costs_its_flow_no_turn():
    claims = [Claim("a", 0), Claim("a", 1), Claim("b", 0), Claim("b", 1)]
    assert emptied(line(claims, over={0})) == [1, 2, 3]


def test_of_nothing_there_is_no_next():
    assert line([]).pop() is None
    assert line([Claim("a", 0)], over={0}).pop() is None
