"""A process that trials run in: what its garbage collector is spared, and for how long."""

import gc
import weakref

import pytest
from distributed import Client

from quark_bench.execute.process import spare_the_collector


class Round:
    """Part of a cycle, which only the collector can take away."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def collector():
    """Given back as it was found."""
    yield
    gc.unfreeze()


def test_what_was_there_before_is_not_walked_through_and_is_garbage_by_the_next_time(collector):
    spared = Round()
    spare_the_collector()
    assert gc.get_freeze_count() > 0
    left = weakref.ref(spared)
    del spared
    gc.collect()
    assert left() is not None
    spare_the_collector()
    assert left() is None


def test_garbage_is_never_spared(collector):
    left = weakref.ref(Round())
    spare_the_collector()
    assert left() is None


def test_the_workers_of_a_run_spare_their_collector_and_the_client_does_not(way_named, run_with):
    way = way_named("dask-chunk")
    run_with(way, 2, "waits.py:layers", arms=["parallel"])
    assert gc.get_freeze_count() == 0
    with Client(way.on, set_as_default=False) as client:
        assert all(count > 0 for count in client.run(gc.get_freeze_count).values())
