"""How far a cluster is, and what that says of its clocks."""

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.round_trips import best_offset, measure_hop, measure_task, scheduler_round_trip

TRIPS = st.lists(st.tuples(st.floats(0, 1e3), st.floats(1e-6, 1), st.floats(1e-6, 1)), min_size=1, max_size=9)


@given(TRIPS, st.floats(-1e6, 1e6))
def test_the_true_offset_lies_within_the_uncertainty_however_uneven_the_ways(trips, true_offset_s):
    readings = [(sent, sent + there - true_offset_s, sent + there + back) for sent, there, back in trips]
    found = best_offset(readings)
    assert abs(found.offset_s - true_offset_s) <= found.uncertainty_s + 1e-6
    assert found.uncertainty_s <= min(there + back for _, there, back in trips) / 2 + 1e-6


def test_a_round_trip_lies_within_its_bounds_and_a_task_takes_longer(cluster):
    with Client(cluster, set_as_default=False) as client:
        trip = scheduler_round_trip(client)
        assert 0 < trip.least_s <= trip.median_s <= trip.most_s
        assert measure_hop(client) > trip.least_s


@pytest.mark.timed
def test_one_of_many_tasks_takes_less_than_one_alone(cluster):
    with Client(cluster, set_as_default=False) as client:
        assert 0 < measure_task(client, [(), (), (0, 1)]) < measure_hop(client)
