"""Comparable: what two runs, measured at different times, have to share before one says anything of the other. Pure,
over their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MACHINE = ("host", "cpu", "cores", "memory", "python")
"""Parts of a run's provenance that say where it was measured."""
Manifest = Mapping[str, Any]
Difference = tuple[str, str, str]
"""What differs, and what it is in the first and in the second run; empty where a run does not say."""


def scored_by(manifest: Manifest) -> dict[str, str]:
    """The version of each scorer by its name, with which its scores compare; runs of old have the first of each."""
    versions = manifest.get("score_versions") or {}
    return {name: str(versions.get(name, "1")) for name in manifest["scorers"]}


def changed_questions(then: Manifest, now: Manifest) -> list[str]:
    """What was asked otherwise, so that only a part of both runs compares: data set, scorers, model."""
    differences = {
        "the data set changed": then["dataset"]["hash"] != now["dataset"]["hash"],
        "the scorers changed": scored_by(then) != scored_by(now),
        "the model changed": then["pipeline"]["model"] != now["pipeline"]["model"],
    }
    return [what for what, differs in differences.items() if differs]


def changed_conditions(then: Manifest, now: Manifest) -> list[str]:
    """What makes latencies mean something else: simulated latency, chaos."""
    differences = {
        "the simulated latency changed": then["pipeline"]["latency_profile"] != now["pipeline"]["latency_profile"],
        "the chaos changed": (then.get("chaos") or None) != (now.get("chaos") or None),
    }
    return [what for what, differs in differences.items() if differs]


def dependent_trials(run: Manifest) -> list[str]:
    """Why the trials of a run tell nothing of a pipeline that starts afresh: what came before answered them."""
    reasons = {
        "it answered from a cache": bool(run.get("cache")),
        "it learned as it went": bool(run["pipeline"].get("learns_in")),
    }
    return [what for what, holds in reasons.items() if holds]


def only_in_one(then: Sequence[str], now: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that only the first has, and those that only the second has, in their order."""
    return [name for name in then if name not in now], [name for name in now if name not in then]


def worth_of_stored(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What a comparison with a stored baseline is worth, by the provenance of both sides.

    Source of the share: simulated on machines whose speed differs by 5 to 10 % (standard deviation) between jobs.
    """
    moved = [name for name in MACHINE if then.get(name) != now.get(name)]
    where = f"another machine ({', '.join(moved)} differ)" if moved else "this machine at another time"
    return (
        f"the baseline was measured on {where}: a trend, no verdict. Of identical code such comparisons call 8 to 35 % "
        "different"
    )


def environment_differences(then: Manifest, now: Manifest) -> list[Difference]:
    """Where the two runs were made differently: their provenance, cluster and plan, what is equal left out."""
    sides = [_environment(each) for each in (then, now)]
    names = dict.fromkeys(name for side in sides for name in side)
    both = ((name, sides[0].get(name, ""), sides[1].get(name, "")) for name in names)
    return [each for each in both if each[1] != each[2]]


def _environment(run: Manifest) -> dict[str, str]:
    """Flat text, part by part."""
    cluster, pipeline = run["cluster"], run["pipeline"]
    own = {
        "data set": run["dataset"]["name"],
        "pipeline": pipeline["name"],
        "model": pipeline["model"],
        "repeats": run["repeats"],
        "seed": run["seed"],
        "granularity": run["granularity"]["choice"],
        "ran on": cluster.get("on"),
        "workers": cluster.get("workers"),
        "threads": cluster.get("threads"),
    }
    known = {name: str(value) for name, value in (own | dict(run["provenance"])).items() if value is not None}
    return {name: value for name, value in known.items() if value}
