"""The manifest: plain data that tells a run's plan, origin and end."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, agent
from quark_bench.manifest import count_trials, first_manifest, measured
from quark_bench.plan import BUILT_IN_ARMS, built_in_arm, make_plan
from quark_bench.store import FORMAT
from quark_bench.user_code import pack_pipeline

STATUSES = ["ok", "degraded", "failed"]


@agent(timeout_s=7, retries=2, optional=True)
def found(prompt):
    return prompt.text


@agent
async def answer(prompt, found=None):
    return found


@pytest.fixture
def manifest():
    pipeline = Pipeline("support", [found, answer], answer="answer")
    plan = make_plan([built_in_arm(name, 4) for name in BUILT_IN_ARMS], 40, repeats=2, seed=9, warmup=3)
    shipment = pack_pipeline(pipeline)
    dataset = Dataset.of([f"prompt {n}" for n in range(40)], "few")
    return first_manifest(dataset, pipeline, dict.fromkeys(BUILT_IN_ARMS, shipment), plan, ["exact", "f1"])


def test_a_manifest_is_the_same_after_a_trip_through_json(manifest):
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest


def test_a_run_that_is_about_to_start_is_running_and_has_run_nothing(manifest):
    assert (manifest["format"], manifest["session"]) == (FORMAT, 0)
    assert (manifest["state"], manifest["ended"], manifest["duration_s"]) == ("running", None, None)
    assert manifest["conservation"] == {"planned": 240, "ok": 0, "degraded": 0, "failed": 0, "not_run": 240}


def test_the_blocks_cover_every_trial_once(manifest):
    trials = [(arm, repeat, prompt) for arm, repeat, start, stop in manifest["blocks"] for prompt in range(start, stop)]
    assert len(trials) == len(set(trials)) == manifest["conservation"]["planned"]


def test_the_pipeline_is_told_with_its_needs_and_policies(manifest):
    told = manifest["pipeline"]
    assert (told["name"], told["answer"], told["model"], told["latency_profile"]) == ("support", "answer", None, None)
    assert told["learns_in"] is None
    first, second = told["agents"]
    assert first == {
        "name": "found",
        "needs": [],
        "timeout_s": 7,
        "retries": 2,
        "breaker": None,
        "fallback": None,
        "optional": True,
        "is_async": False,
    }
    assert (second["needs"], second["is_async"]) == (["found"], True)


def test_the_data_set_and_the_code_are_told_by_hash(manifest):
    assert len(manifest["dataset"]["hash"]) == len(manifest["pipeline"]["key"]) == 64
    assert {arm["pipeline_key"] for arm in manifest["arms"]} == {manifest["pipeline"]["key"]}
    assert manifest["dataset"]["path"] is None


def test_provenance_names_python_and_dask(manifest):
    assert {"python", "dask", "distributed", "quark-bench"} <= set(manifest["provenance"])


@given(st.lists(st.sampled_from(STATUSES), max_size=50), st.integers(0, 50))
def test_planned_is_ok_and_degraded_and_failed_and_not_run(statuses, missing):
    counts = count_trials(Counter(statuses), len(statuses) + missing)
    assert counts["not_run"] == missing
    assert counts["planned"] == sum(counts[name] for name in (*STATUSES, "not_run"))
    assert [counts[name] for name in STATUSES] == [statuses.count(name) for name in STATUSES]


def test_a_trial_recorded_twice_shows_as_fewer_than_none_left():
    assert count_trials({"ok": 3}, 2)["not_run"] == -1


def test_the_end_of_a_session_adds_state_time_and_counts(manifest):
    manifest["started"] = (datetime.now(UTC) - timedelta(minutes=2)).isoformat(timespec="seconds")
    counts = count_trials({"ok": 1}, 240)
    ended = measured(manifest, "interrupted", counts)
    assert (ended["state"], ended["conservation"]) == ("interrupted", counts)
    assert ended["duration_s"] >= 119
    assert datetime.fromisoformat(ended["ended"]) > datetime.fromisoformat(manifest["started"])
    assert manifest["state"] == "running", "the manifest that was given is left alone"
