"""What may stand in a manifest."""

import copy
import json

import pytest
from hypothesis import given

from quark_bench.errors import UsageError
from quark_bench.shape import LARGEST, check_manifest
from quark_bench.store import FORMAT

from .gate_results import REGRESSED, results

WHOLE = {
    "format": FORMAT,
    "run_id": "20260102-030405-prompts",
    "state": "complete",
    "session": 0,
    "started": "2026-01-02T03:04:05+00:00",
    "ended": None,
    "duration_s": None,
    "command": None,
    "folder": "/home/me",
    "dataset": {"name": "prompts.jsonl", "path": None, "fields": {}, "hash": "ab12", "prompts": 3},
    "pipeline": {
        "name": "one",
        "key": "cd34",
        "answer": "second",
        "model": None,
        "latency_profile": None,
        "agents": [{"name": "first", "needs": []}, {"name": "second", "needs": ["first"]}],
    },
    "arms": [{"name": "sync", "strategy": "sequential", "in_flight": 1, "pipeline_key": "cd34"}],
    "repeats": 1,
    "seed": 0,
    "warmup": 0,
    "scorers": ["exact"],
    "slos": ["failed_share<1%"],
    "chaos": "first: error=0.5",
    "run_key": "ef56",
    "granularity": {
        "choice": "chunk",
        "reason": "asked for",
        "chunk_size": {"sync": 1},
        "predicted": {"sync": {"chunk_s": 1.5, "agent_s": None}},
        "took_s": {"sync": 1.6},
    },
    "cluster": {"on": "inline"},
    "provenance": {"python": "3.11"},
    "usage": [{"block": 0, "arm": "sync", "cpu_s": 0.1, "peak_memory_bytes": 1_000}],
    "conservation": {"planned": 3, "ok": 3, "degraded": 0, "failed": 0, "not_run": 0},
}
DAMAGE = [
    (("run_id",), "../../etc"),
    (("run_id",), ".."),
    (("run_id",), ""),
    (("run_id",), "a/b"),
    (("run_id",), "a" * 201),
    (("state",), None),
    (("session",), True),
    (("session",), -1),
    (("duration_s",), "long"),
    (("duration_s",), 1e301),
    (("duration_s",), float("nan")),
    (("dataset",), []),
    (("dataset", "path"), 3),
    (("dataset", "fields"), {"text": 3}),
    (("pipeline", "learns_in"), 3),
    (("pipeline", "agents", 1, "needs"), ["second"]),
    (("pipeline", "agents", 0, "needs"), ["second"]),
    (("pipeline", "agents", 0, "name"), "second"),
    (("pipeline", "agents"), []),
    (("arms",), []),
    (("arms", 0, "in_flight"), 0),
    (("arms", 0, "in_flight"), LARGEST),
    (("arms", 0, "name"), "n" * 1_001),
    (("arms", 0, "name"), "other"),
    (("scorers",), ["exact", "exact"]),
    (("slos",), "failed_share<1%"),
    (("chaos",), "first: crash"),
    (("granularity", "choice"), "prompt"),
    (("granularity", "chunk_size", "sync"), 0),
    (("granularity", "chunk_size"), {}),
    (("granularity", "predicted", "sync"), {"chunk_s": 1.5}),
    (("granularity", "took_s", "sync"), "long"),
    (("usage", 0, "cpu_s"), "a lot"),
    (("conservation", "planned"), 2.5),
]


def changed(path, value):
    """WHOLE with another value at that path."""
    manifest = copy.deepcopy(WHOLE)
    place = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return manifest


def test_a_whole_manifest_may_have_further_keys_and_lack_what_came_later():
    check_manifest(WHOLE | {"further": 1})
    check_manifest({name: value for name, value in WHOLE.items() if name != "chaos"})
    foretold = {"predicted", "took_s"}
    check_manifest(changed(("granularity",), {k: v for k, v in WHOLE["granularity"].items() if k not in foretold}))


@pytest.mark.parametrize(("path", "value"), DAMAGE, ids=str)
def test_what_nobody_wrote_is_refused(path, value):
    with pytest.raises((ValueError, UsageError)):
        check_manifest(changed(path, value))


@pytest.mark.parametrize("key", sorted(WHOLE.keys() - {"format", "chaos"}))
def test_what_is_missing_is_named(key):
    with pytest.raises(ValueError, match=f"the manifest has no {key}"):
        check_manifest({name: value for name, value in WHOLE.items() if name != key})


@pytest.mark.parametrize("manifest", [None, [], "x", 3])
def test_a_manifest_is_an_object(manifest):
    with pytest.raises(ValueError, match="no object"):
        check_manifest(manifest)


@given(results)
def test_any_gate_may_stand_in_a_manifest(result):
    check_manifest(WHOLE | {"gate": json.loads(json.dumps(result.as_data()))})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), []),
        (("verdict",), 3),
        (("judged", 0, "change", "low"), "1.2"),
        (("judged", 0, "change", "prompts"), [3]),
        (("judged", 0, "again"), {}),
        (("agents", 0, "slower"), "yes"),
        (("noise",), True),
        (("null",), {"tries": -1, "alarms": 0}),
    ],
)
def test_a_gate_that_nobody_wrote_is_refused(path, value):
    manifest = WHOLE | {"gate": REGRESSED.as_data()}
    place = manifest
    for key in ("gate", *path)[:-1]:
        place = place[key]
    place[("gate", *path)[-1]] = value
    with pytest.raises(ValueError, match=r"the manifest\.gate"):
        check_manifest(manifest)
