"""Series: which runs may stand in one history."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, agent
from quark_bench.manifest import first_manifest
from quark_bench.plan import BUILT_IN_ARMS, built_in_arm, make_plan
from quark_bench.series import most_similar, series_of
from quark_bench.user_code import pack_pipeline


@agent
def found(prompt):
    return prompt.text


@agent
async def answer(prompt, found=None):
    return found


@agent(name="answer")
def alone(prompt):
    return prompt.text


SHIPMENT = pack_pipeline(Pipeline("support", [found, answer], answer="answer"))


def made(agents=(found, answer), in_flight=4, repeats=2, seed=9, prompts=40, scorers=("exact", "f1")):
    pipeline = Pipeline("support", agents, answer="answer")
    arms = [built_in_arm(name, in_flight) for name in BUILT_IN_ARMS]
    plan = make_plan(arms, prompts, repeats=repeats, seed=seed, warmup=3)
    shipments = dict.fromkeys(BUILT_IN_ARMS, SHIPMENT)
    dataset = Dataset.of([f"prompt {n}" for n in range(prompts)], "few")
    manifest = first_manifest(dataset, pipeline, shipments, plan, scorers)
    return manifest | {"chaos": None, "cache": None, "cluster": {"on": "local", "workers": 2}}


MADE = made()
CHANGES = {
    "pipeline": ("pipeline", "answer", "found"),
    "data set": ("dataset", "hash", "0" * 64),
    "model": ("pipeline", "model", "offline"),
    "place": ("cluster", "on", "inline"),
    "workers": ("cluster", "workers", 3),
    "latency profile": ("pipeline", "latency_profile", "demo"),
    "learning": ("pipeline", "learns_in", "memory.db"),
    "processor": ("provenance", "cpu", "another"),
    "cores": ("provenance", "cores", "96"),
    "memory": ("provenance", "memory", "1,024.0 GB"),
    "Python": ("provenance", "python", "CPython 3.99.1"),
}


def test_a_scorer_with_other_options_begins_another_series():
    plain, with_option = (
        MADE | {"score_versions": {"exact": "1", "f1": version}} for version in ("1", "1 threshold=0.5")
    )
    assert series_of(plain) == series_of(MADE)
    assert series_of(MADE).differs_in(series_of(with_option)) == ("scorers",)


def changed(place, name, value):
    return MADE | {place: MADE[place] | {name: value}}


def test_a_series_is_told_by_a_short_id_and_by_its_parts_in_words():
    series = series_of(MADE)
    assert len(series.id) == 12
    assert series.parts["pipeline"] == "support: found, answer (found); answer answer"
    assert series.parts["arms"].startswith("sync (sequential, 1 in flight), parallel (parallel, 1 in flight), async")
    assert series.parts["scorers"] == "exact, f1"
    assert series.parts["Python"].count(".") == 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_that_differs_in_a_part_is_of_another_series_and_the_part_is_named(name):
    series, other = series_of(MADE), series_of(changed(*CHANGES[name]))
    assert series.id != other.id
    assert series.differs_in(other) == other.differs_in(series) == (name,)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"in_flight": 5}, ("arms",)),
        ({"repeats": 3}, ("repeats",)),
        ({"prompts": 41}, ("data set",)),
        ({"scorers": ["exact"]}, ("scorers",)),
        ({"agents": (alone,)}, ("pipeline",)),
    ],
)
def test_another_plan_pipeline_or_data_set_begins_another_series(change, names):
    assert series_of(MADE).differs_in(series_of(made(**change))) == names


def test_chaos_and_a_cache_begin_another_series():
    other = series_of(MADE | {"chaos": "found: error=0.1", "cache": {"file": "kept.db"}})
    assert series_of(MADE).differs_in(other) == ("chaos", "cache")


@pytest.mark.parametrize(
    "change",
    [
        ("pipeline", "key", "f" * 64),
        ("dataset", "name", "renamed.jsonl"),
        ("provenance", "host", "another"),
        ("provenance", "commit", "0123456789ab"),
        ("provenance", "load_before", "9.00"),
        ("cluster", "hop_s", 0.5),
    ],
)
def test_code_names_of_files_and_hosts_and_what_was_measured_do_not(change):
    assert series_of(changed(*change)).id == series_of(MADE).id


def test_the_seed_does_not_and_the_patch_version_of_python_does_not():
    assert series_of(made(seed=10)).id == series_of(MADE).id
    versions = [series_of(changed("provenance", "python", f"CPython 3.12.{patch}")).id for patch in (1, 2)]
    assert versions[0] == versions[1]


def test_an_old_run_without_the_newer_entries_is_of_the_series_of_a_run_that_does_without_them():
    old = {name: value for name, value in MADE.items() if name not in ("chaos", "cache")}
    old["pipeline"] = {name: value for name, value in MADE["pipeline"].items() if name != "learns_in"}
    assert series_of(old).id == series_of(MADE).id


@given(st.data())
def test_a_run_that_lacks_something_still_has_a_series_always_the_same(data):
    manifest = copy.deepcopy(MADE)
    for name in data.draw(st.sets(st.sampled_from(sorted(manifest)))):
        del manifest[name]
    for part in [part for part in manifest.values() if isinstance(part, dict) and part]:
        for name in data.draw(st.sets(st.sampled_from(sorted(part)))):
            del part[name]
    series = series_of(manifest)
    assert series == series_of(copy.deepcopy(manifest))
    assert all(series.parts.values())


def test_the_most_similar_series_differs_in_the_fewest_parts():
    far = series_of(made(in_flight=5, repeats=3))
    near, nearer_or_equal = (series_of(made(repeats=repeats)) for repeats in (3, 4))
    assert most_similar(series_of(MADE), [far, near, nearer_or_equal]) == near
    assert most_similar(series_of(MADE), []) is None
