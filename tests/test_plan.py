from collections import Counter
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.arrivals import Arrivals
from quark_bench.errors import UsageError
from quark_bench.plan import (
    BUILT_IN_ARMS,
    IN_FLIGHT,
    MOST_BLOCKS,
    MOST_IN_FLIGHT,
    Arm,
    Block,
    Strategy,
    built_in_arm,
    chosen_arms,
    make_plan,
    trial_seed,
)

ARMS = st.lists(st.integers(1, 16), min_size=1, max_size=4).map(
    lambda widths: [Arm(f"arm-{n}", in_flight=width) for n, width in enumerate(widths)]
)
PLANS = st.builds(make_plan, ARMS, st.integers(1, 400), repeats=st.integers(1, 5), seed=st.integers(0, 9))


@given(PLANS)
def test_every_trial_is_planned_exactly_once(plan) -> None:
    times = Counter(plan.trials())
    expected = {
        (arm.name, repeat, prompt)
        for arm in plan.arms
        for repeat in range(plan.repeats)
        for prompt in range(plan.prompts)
    }
    assert set(times) == expected
    assert set(times.values()) == {1}
    assert plan.planned == len(expected)


@given(PLANS)
def test_blocks_are_numbered_in_their_order_and_none_is_empty(plan) -> None:
    assert [block.index for block in plan.blocks] == list(range(len(plan.blocks)))
    assert all(len(block) > 0 for block in plan.blocks)
    assert sum(map(len, plan.blocks)) == plan.planned


@given(PLANS)
def test_blocks_are_cut_alike_for_every_arm(plan) -> None:
    cuts = {
        arm.name: [(block.repeat, block.start, block.stop) for block in plan.blocks if block.arm == arm.name]
        for arm in plan.arms
    }
    assert len({tuple(each) for each in cuts.values()}) == 1


@given(PLANS)
def test_blocks_of_a_repeat_cover_the_prompts_without_gap_or_overlap(plan) -> None:
    first = plan.arms[0].name
    of_first = [block for block in plan.blocks if block.arm == first]
    for _, repeat in groupby(of_first, key=lambda block: block.repeat):
        blocks = list(repeat)
        assert (blocks[0].start, blocks[-1].stop) == (0, plan.prompts)
        assert all(before.stop == after.start for before, after in pairwise(blocks))


@given(PLANS)
def test_blocks_of_a_repeat_are_about_equal(plan) -> None:
    sizes = {len(block) for block in plan.blocks}
    assert max(sizes) - min(sizes) <= 1


@given(PLANS)
def test_the_order_of_the_arms_flips_at_every_turn(plan) -> None:
    names = [arm.name for arm in plan.arms]
    turns = [plan.blocks[at : at + len(names)] for at in range(0, len(plan.blocks), len(names))]
    for turn, blocks in enumerate(turns):
        assert [block.arm for block in blocks] == (names if turn % 2 == 0 else names[::-1])
        assert len({(block.repeat, block.start) for block in blocks}) == 1


@given(PLANS)
def test_several_arms_share_a_repeat_in_blocks_that_are_long_against_their_width(plan) -> None:
    cuts = len(plan.blocks) // (len(plan.arms) * plan.repeats)
    widest = max(arm.in_flight for arm in plan.arms)
    assert 1 <= cuts <= MOST_BLOCKS
    assert cuts == 1 or plan.prompts // cuts >= 4 * widest
    assert cuts == 1 or len(plan.arms) > 1


def test_one_arm_runs_a_repeat_in_one_block() -> None:
    plan = make_plan([Arm("only")], 1_000, repeats=3)
    assert [(block.repeat, len(block)) for block in plan.blocks] == [(0, 1_000), (1, 1_000), (2, 1_000)]


def test_three_arms_are_run_as_abc_then_cba() -> None:
    plan = make_plan([Arm(name, in_flight=1) for name in "abc"], 8)
    assert "".join(block.arm for block in plan.blocks) == "abccba"


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 20))
def test_chunks_cover_their_block_in_order(size, start, length) -> None:
    block = Block(0, "arm", 0, start, start + length)
    chunks = list(block.chunks(size))
    assert [position for chunk in chunks for position in range(chunk.start, chunk.stop)] == list(
        range(start, start + length)
    )
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(chunk.block is block for chunk in chunks)


def test_a_seed_depends_on_run_prompt_and_repeat_and_is_the_same_on_every_machine() -> None:
    assert trial_seed(0, "p-1", 0) == 13594188098394051488
    assert len({trial_seed(seed, prompt, repeat) for seed in (0, 1) for prompt in ("a", "b") for repeat in (0, 1)}) == 8


@given(PLANS)
def test_arms_meet_equal_seeds(plan) -> None:
    drawn = {arm.name: [] for arm in plan.arms}
    for trial in plan.trials():
        drawn[trial.arm].append(trial_seed(plan.seed, f"p-{trial.prompt}", trial.repeat))
    assert len({tuple(sorted(seeds)) for seeds in drawn.values()}) == 1


@given(st.lists(st.tuples(st.integers(), st.text(max_size=4), st.integers(0, 9)), unique=True, max_size=20))
def test_different_trials_have_different_seeds(trials) -> None:
    assert len({trial_seed(*trial) for trial in trials}) == len(trials)


@pytest.mark.parametrize(
    ("name", "strategy", "in_flight"),
    [("sync", Strategy.SEQUENTIAL, 1), ("parallel", Strategy.PARALLEL, 1), ("async", Strategy.PARALLEL, 32)],
)
def test_only_async_has_several_prompts_in_flight(name, strategy, in_flight) -> None:
    assert built_in_arm(name, 32) == Arm(name, strategy, in_flight)


@pytest.mark.parametrize("name", BUILT_IN_ARMS)
def test_with_arrivals_every_built_in_arm_takes_prompts_as_they_come(name) -> None:
    closed, arrivals = built_in_arm(name), Arrivals(20.0)
    made = built_in_arm(name, None, arrivals)
    assert (made.strategy, made.arrivals, made.in_flight) == (closed.strategy, arrivals, MOST_IN_FLIGHT)
    assert built_in_arm(name, 3, arrivals).in_flight == 3
    assert (made.at_first.arrivals, made.at_first.in_flight) == (None, IN_FLIGHT)


def test_a_rate_means_one_arm_unless_others_are_named() -> None:
    assert [arm.name for arm in chosen_arms(None, None, None, None)] == list(BUILT_IN_ARMS)
    assert [arm.name for arm in chosen_arms(None, None, 20, None)] == ["async"]
    assert [arm.arrivals for arm in chosen_arms(["sync"], None, "20", None)] == [Arrivals(20.0)]
    with pytest.raises(UsageError, match="--arrivals burst without a rate"):
        chosen_arms(None, None, None, "burst")
    with pytest.raises(UsageError, match="'mine', which is made already"):
        chosen_arms([Arm("mine")], None, 20, None)


def test_blocks_of_an_open_load_last_a_while_and_a_ramp_is_climbed_as_a_whole() -> None:
    steady, ramp = (
        [Arm(name, arrivals=each) for name in "ab"] for each in (Arrivals(50.0), Arrivals(50.0, end_rate_per_s=60.0))
    )
    assert {len(block) for block in make_plan(steady, 400).blocks} == {100}
    assert {len(block) for block in make_plan(ramp, 400).blocks} == {400}
    assert make_plan(steady, 400).warmup == 8


def test_an_unknown_arm_is_refused_with_those_built_in() -> None:
    with pytest.raises(UsageError, match="'asink'; built in: sync, parallel, async"):
        built_in_arm("asink", 8)
    assert [built_in_arm(name, 8).name for name in BUILT_IN_ARMS] == list(BUILT_IN_ARMS)


def test_an_arm_of_a_plan_is_found_by_its_name() -> None:
    plan = make_plan([Arm("sync"), Arm("async")], 4)
    assert plan.arm("async") is plan.arms[1]
    with pytest.raises(UsageError, match="no arm 'other' here; arms: sync, async"):
        plan.arm("other")


@pytest.mark.parametrize(("widths", "warmup"), [([1, 1], 8), ([1, 64], 64)])
def test_a_warm_up_is_eight_trials_or_as_many_as_are_in_flight(widths, warmup) -> None:
    arms = [Arm(f"arm-{n}", in_flight=width) for n, width in enumerate(widths)]
    assert make_plan(arms, 4).warmup == warmup
    assert make_plan(arms, 4, warmup=0).warmup == 0


@pytest.mark.parametrize(
    ("arms", "prompts", "options", "message"),
    [
        ([], 1, {}, "no arm to run"),
        ([Arm("a"), Arm("a")], 1, {}, "different names: a, a"),
        ([Arm("a")], 0, {}, "0 prompts has no trial"),
        ([Arm("a")], 1, {"repeats": 0}, "--repeats 0: give 1 or more"),
        ([Arm("a")], 1, {"warmup": -1}, "--warmup -1: give 0 or more"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(arms, prompts, options, message) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(arms, prompts, **options)


def test_an_arm_needs_a_prompt_in_flight() -> None:
    with pytest.raises(UsageError, match="arm 'a': in flight 0; give 1 or more"):
        Arm("a", in_flight=0)
