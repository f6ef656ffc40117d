"""Differences between versions: each told, those that are alike together."""

from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.versions import COMPARED, Versions, compared, differences, told

HERE = dict.fromkeys(COMPARED, "1.0")
INSTALLED = st.fixed_dictionaries({name: st.sampled_from([None, "1.0", "2.0"]) for name in COMPARED})


def workers(number, **other):
    return {f"tcp://10.0.0.{n}:1": HERE | other for n in range(number)}


def test_equal_versions_are_no_difference():
    assert differences(Versions(HERE, HERE, workers(3))) == ()


def test_a_hundred_equal_workers_are_one_line():
    message = told(differences(Versions(HERE, HERE, workers(100, cloudpickle="2.0", msgpack=None))))
    lines = [line for line in message.splitlines() if "cloudpickle 2.0 (here 1.0), msgpack missing (here 1.0)" in line]
    assert len(lines) == 1
    assert "100 workers" in lines[0]
    assert "and 98 more" in lines[0]
    assert "pip install cloudpickle==1.0 msgpack==1.0" in message
    assert len(message) < 500


def test_scheduler_and_workers_are_told_apart_and_all_at_once():
    there = workers(2) | {"tcp://10.0.0.9:1": HERE | {"python": "3.0", "quark-bench": None}}
    message = told(differences(Versions(HERE, HERE | {"dask": "0.9"}, there)))
    assert "  the scheduler: dask 0.9 (here 1.0)" in message
    assert "  worker tcp://10.0.0.9:1: python 3.0 (here 1.0), quark-bench missing (here 1.0)" in message
    assert "start with Python 1.0, and pip install quark-bench==1.0" in message
    assert "tcp://10.0.0.0:1" not in message


@given(INSTALLED, INSTALLED, st.lists(INSTALLED, max_size=5))
def test_exactly_what_differs_from_a_version_known_here_is_named(here, scheduler, others):
    there = {f"tcp://10.0.0.{n}:1": other for n, other in enumerate(others)}
    found = differences(Versions(here, scheduler, there))
    named = {(place, name, theirs) for each in found for place in each.places for name, theirs, _ in each.wrong}
    everywhere = {"the scheduler": scheduler} | there
    expected = {
        (place, name, installed[name])
        for place, installed in everywhere.items()
        for name in COMPARED
        if here[name] is not None and installed[name] != here[name]
    }
    assert named == expected
    assert len({each.wrong for each in found if each.places != ("the scheduler",)}) == len(
        [each for each in found if each.places != ("the scheduler",)]
    )


def test_of_python_only_the_part_that_matters_is_compared():
    assert compared({"python": "3.11.9.final.0"})["python"] == "3.11"
    assert compared({})["python"] is None
    assert compared({"quark_bench": "0.1.0"})["quark-bench"] == "0.1.0"
