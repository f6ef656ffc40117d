"""Run as JUnit: a test suite for every arm of a run, in it a test case for every prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from quark_bench.comparable import scored_to_pass
from quark_bench.report.junit import Case, Suite, suites_xml
from quark_bench.report.waterfall import text_of
from quark_bench.trials import Trials
from quark_bench.units import SECONDS

RECORD = ["arm", "repeat", "prompt_id", "status", "error", "error_agent", "latency_s"]
SCORE = ["arm", "repeat", "prompt_id", "scorer", "value", "explanation"]
Told = defaultdict[tuple[str, str], list[str]]
"""By arm and prompt what is told of them."""


def run_junit_xml(manifest: Mapping[str, Any], trials: Trials) -> str:
    """A prompt fails where a trial of it failed, in any repeat, or a score is below the threshold that its scorer was
    given; its time is the mean latency."""
    failed, below = _failed(trials), _below(manifest, trials)
    facts = [
        ("run", manifest["run_id"]),
        ("pipeline", manifest["pipeline"]["name"]),
        ("data set", manifest["dataset"]["name"]),
        ("repeats", str(manifest["repeats"])),
    ]
    arms = [arm["name"] for arm in manifest["arms"]]
    return suites_xml([Suite(f"quark-bench {arm}", list(_cases(arm, trials, failed, below)), facts) for arm in arms])


def _below(manifest: Mapping[str, Any], trials: Trials) -> Told:
    told: Told = defaultdict(list)
    judged = scored_to_pass(manifest)
    for part in trials.scores(SCORE) if judged else ():
        missed = part[part["scorer"].isin(judged) & (part["value"] == 0)]
        for arm, repeat, prompt_id, scorer, _, explanation in missed.itertuples(index=False, name=None):
            told[str(arm), prompt_id].append(f"repeat {repeat}: {scorer}: {explanation}")
    return told


def _failed(trials: Trials) -> Told:
    told: Told = defaultdict(list)
    struck = trials.struck(RECORD)
    failed = struck[struck["status"] == "failed"]
    for arm, repeat, prompt_id, _, error, agent, latency_s in failed.itertuples(index=False, name=None):
        what = f"{text_of(agent) or 'no answer'}: {text_of(error)}, after {SECONDS.format(latency_s)}"
        told[str(arm), str(prompt_id)].append(f"repeat {repeat}: {what}")
    return told


def _cases(arm: str, trials: Trials, failed: Told, below: Told) -> Iterator[Case]:
    latencies_s = trials.records(["prompt_id", "latency_s"], arm).groupby("prompt_id", sort=False)["latency_s"].mean()
    for prompt_id, took_s in latencies_s.items():
        key = arm, str(prompt_id)
        if told := [*failed.get(key, ()), *below.get(key, ())]:
            yield Case(key[1], "failure", "; ".join(told), "failed" if key in failed else "score", took_s)
        else:
            yield Case(key[1], "passed", took_s=took_s)
