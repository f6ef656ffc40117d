"""What two runs have to share before one says anything of the other."""

import copy

import pytest

from quark_bench.comparable import (
    changed_conditions,
    changed_questions,
    dependent_trials,
    environment_differences,
    worth_of_stored,
)

RUN = {
    "dataset": {"name": "few", "hash": "0" * 64},
    "scorers": ["exact"],
    "pipeline": {"name": "support", "model": "offline", "latency_profile": None, "learns_in": None},
    "chaos": None,
    "cache": None,
    "repeats": 2,
    "seed": 0,
    "granularity": {"choice": "chunk"},
    "cluster": {"on": "local", "workers": 4},
    "provenance": {"host": "one", "cpu": "fast", "python": "CPython 3.11.2", "commit": "a1"},
}


def changed(place, value, part=None):
    again = copy.deepcopy(RUN)
    (again if part is None else again[part])[place] = value
    return again


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (changed("hash", "1" * 64, "dataset"), ["the data set changed"]),
        (changed("scorers", []), ["the scorers changed"]),
        (changed("score_versions", {"exact": "1 threshold=0.5"}), ["the scorers changed"]),
        (changed("score_versions", {"exact": "1"}), []),
        (changed("model", None, "pipeline"), ["the model changed"]),
        (changed("chaos", "look: error=0.1"), []),
        (RUN, []),
    ],
)
def test_what_was_asked_otherwise_is_named(now, told):
    assert changed_questions(RUN, now) == told
    assert changed_questions(now, RUN) == told


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (changed("latency_profile", "demo", "pipeline"), ["the simulated latency changed"]),
        (changed("chaos", "look: error=0.1"), ["the chaos changed"]),
        (changed("chaos", ""), []),
        (changed("scorers", []), []),
    ],
)
def test_conditions_that_change_what_a_latency_means_are_named(now, told):
    assert changed_conditions(RUN, now) == told


def test_a_run_of_old_that_says_nothing_of_chaos_or_a_cache_had_none():
    old = {name: value for name, value in RUN.items() if name not in ("chaos", "cache")}
    assert changed_conditions(old, RUN) == dependent_trials(old) == []


def test_trials_that_others_answered_are_named():
    assert dependent_trials(changed("cache", {"file": "outputs.sqlite"})) == ["it answered from a cache"]
    assert dependent_trials(changed("learns_in", "memory.db", "pipeline")) == ["it learned as it went"]


def test_a_stored_comparison_says_where_its_baseline_was_measured_and_that_it_is_no_verdict():
    there = RUN["provenance"] | {"host": "two", "cpu": "slow", "commit": "b2"}
    told = worth_of_stored(RUN["provenance"], there)
    assert told.startswith("the baseline was measured on another machine (host, cpu differ): a trend, no verdict.")
    assert "this machine at another time" in worth_of_stored(RUN["provenance"], RUN["provenance"])


def test_of_the_environment_only_what_differs_is_told():
    now = changed("workers", 7, "cluster")
    now["provenance"] = {"host": "one", "cpu": "fast", "python": "CPython 3.12.1"}
    assert environment_differences(RUN, RUN) == []
    assert environment_differences(RUN, now) == [
        ("workers", "4", "7"),
        ("python", "CPython 3.11.2", "CPython 3.12.1"),
        ("commit", "a1", ""),
    ]
