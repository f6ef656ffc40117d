from hypothesis import given, settings
from hypothesis import strategies as st

from quark_bench.execute.ration import LEASE_S, Bucket, Ended, Ration, RationHub
from quark_bench.model_use import Limits


def asked(hub, process, *, limits=(None, None, None), held=0, needs=(1.0,), ended=(), tokens=0.0, now_s=0.0):
    """What the hub answers one process about one model: how many may be sent, wait, epoch, watched."""
    ((count, wait_s, epoch, watched),) = hub.exchange(
        process, [["run", "model", list(limits), held, list(needs), [list(each) for each in ended], tokens]], now_s
    )
    return count, wait_s, epoch, watched


@settings(max_examples=60)
@given(
    rate=st.floats(0.5, 200),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 30)), max_size=40),
)
def test_no_stretch_of_time_sees_more_requests_than_the_rate_and_its_burst(rate, steps):
    hub, now_s, sent = RationHub(), 0.0, []
    for pause_s, wanted in steps:
        now_s += pause_s
        count, *_ = asked(hub, "a", limits=(rate, None, None), needs=[1.0] * wanted, now_s=now_s)
        sent += [now_s] * count
    burst = max(1.0, rate / 10)
    for first, from_s in enumerate(sent):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + rate * (sent[last] - from_s) + 1e-6


@settings(max_examples=60)
@given(
    calls=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 5)), max_size=60),
)
def test_never_more_are_under_way_than_allowed_over_all_processes(calls, steps):
    hub, held = RationHub(), dict.fromkeys("abc", 0)
    for n, (process, wanted, ending) in enumerate(steps):
        over = min(ending, held[process])
        held[process] -= over
        ended = [[Ended.ANSWERED, 0, 0.0, over]] if over else []
        count, *_ = asked(
            hub,
            process,
            limits=(None, None, calls),
            held=held[process],
            needs=[1.0] * wanted,
            ended=ended,
            now_s=n / 10,
        )
        held[process] += count
        assert sum(held.values()) <= calls


def test_who_waits_longest_comes_first_and_a_lone_process_takes_all():
    hub, limits = RationHub(), (None, None, 2)
    assert asked(hub, "a", limits=limits, needs=[1.0] * 5)[0] == 2
    assert asked(hub, "b", limits=limits, needs=[1.0], now_s=0.1)[:2] == (0, 0.02)
    one_ended = [[Ended.ANSWERED, 0, 0.0, 1]]
    # a has one under way and b none: what a has let go is b's.
    assert asked(hub, "a", limits=limits, held=1, needs=[1.0] * 3, ended=one_ended, now_s=0.2)[0] == 0
    assert asked(hub, "b", limits=limits, needs=[1.0], now_s=0.21)[0] == 1
    assert asked(hub, "a", limits=limits, held=0, needs=[1.0] * 3, ended=one_ended, now_s=0.3)[0] == 1


def test_a_process_that_is_silent_for_long_holds_nothing_any_more():
    hub, limits = RationHub(), (None, None, 1)
    assert asked(hub, "dead", limits=limits)[0] == 1
    assert asked(hub, "b", limits=limits, now_s=LEASE_S - 1)[0] == 0
    assert asked(hub, "b", limits=limits, now_s=LEASE_S + 1)[0] == 1


def test_tokens_are_taken_as_estimated_and_set_right_afterwards():
    hub, limits = RationHub(), (None, 6_000.0, None)  # 100 a second
    assert asked(hub, "a", limits=limits, needs=[60.0, 60.0])[0] == 1
    count, wait_s, *_ = asked(hub, "a", limits=limits, held=1, needs=[60.0], now_s=0.0)
    assert (count, round(wait_s, 3)) == (0, 0.2)
    # The answer took 20 tokens more than was estimated: a debt.
    count, wait_s, *_ = asked(hub, "a", limits=limits, held=1, needs=[60.0], tokens=-20.0, now_s=0.0)
    assert (count, round(wait_s, 3)) == (0, 0.4)
    assert asked(hub, "a", limits=limits, held=1, needs=[500.0], now_s=2.0)[0] == 1  # more than the bucket holds


def test_one_crowd_of_refusals_lowers_the_ceiling_once_and_pauses_all():
    hub = RationHub()
    _, _, epoch, watched = asked(hub, "a", held=4, needs=(), ended=[[Ended.REFUSED, 0, 3.0, 5]])
    assert (epoch, watched) == (1, True)
    ((_, _, granted, refused, ceiling, changes),) = hub.history("run", 0.0)
    assert (granted, refused, ceiling, len(changes)) == (0, 5, 0.7 * 9, 1)
    assert asked(hub, "b", now_s=1.0)[:2] == (0, 2.0)
    assert asked(hub, "b", now_s=3.1)[0] == 1


def test_failures_of_another_kind_change_no_ceiling():
    hub = RationHub()
    assert asked(hub, "a", held=4, needs=(), ended=[[Ended.OTHERWISE, 0, 0.0, 4]])[2:] == (0, False)


@settings(max_examples=30)
@given(capacity=st.integers(2, 40), started=st.integers(1, 100))
def test_the_ceiling_settles_about_what_the_server_bears(capacity, started):
    ration = Ration.of(Limits(), 0.0)
    ration.renew("a", 0, 0.0)
    under_way, seen, now_s = max(started, capacity + 1), [], 0.0  # until the first refusal it asks freely
    for turn in range(300):
        now_s += 0.1
        ration.renew("a", under_way, now_s)
        epoch = ration.epoch
        for n in range(under_way):
            ration.leases["a"].held = under_way
            ration.settle(Ended.REFUSED if n >= capacity else Ended.ANSWERED, epoch, 0.0, now_s, under_way)
        ration.renew("a", 0, now_s)
        under_way, _ = ration.grant("a", [1.0] * 200, now_s)
        seen.append(under_way)
        assert turn < 100 or under_way <= capacity + 2
    assert 0.6 * capacity - 1 <= sum(seen[100:]) / 200 <= capacity + 1


def test_a_bucket_never_waits_for_more_than_it_holds():
    bucket = Bucket(10.0, 5.0, 0.0, 0.0)
    assert bucket.wait_s(50.0, 0.0) == 0.5
    assert bucket.wait_s(50.0, 0.6) == 0.0
