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

RECORD = ["repeat", "prompt_id", "status", "error", "error_agent", "latency_s"]
SCORE = ["arm", "repeat", "prompt_id", "scorer", "value", "explanation"]
Below = Mapping[tuple[str, str], list[str]]
"""By arm and prompt what is told of scores below their thresholds."""


def run_junit_xml(manifest: Mapping[str, Any], trials: Trials) -> str:
    """A prompt fails where a trial of it failed, in any repeat, or a score is below the threshold that its scorer was
    given; its time is the mean latency."""
    below = _below(manifest, trials)
    facts = [
        ("run", manifest["run_id"]),
        ("pipeline", manifest["pipeline"]["name"]),
        ("data set", manifest["dataset"]["name"]),
        ("repeats", str(manifest["repeats"])),
    ]
    arms = [arm["name"] for arm in manifest["arms"]]
    return suites_xml([Suite(f"quark-bench {arm}", list(_cases(arm, trials, below)), facts) for arm in arms])


def _below(manifest: Mapping[str, Any], trials: Trials) -> Below:
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    judged = scored_to_pass(manifest)
    for part in trials.scores(SCORE) if judged else ():
        missed = part[part["scorer"].isin(judged) & (part["value"] == 0)]
        for arm, repeat, prompt_id, scorer, _, explanation in missed.itertuples(index=False, name=None):
            found[str(arm), prompt_id].append(f"repeat {repeat}: {scorer}: {explanation}")
    return found


def _cases(arm: str, trials: Trials, below: Below) -> Iterator[Case]:
    records = trials.records(RECORD, arm)
    for prompt_id, rows in records.groupby("prompt_id", sort=False):
        took_s = float(rows["latency_s"].mean())
        failed = rows[rows["status"] == "failed"]
        told = [
            f"repeat {repeat}: {text_of(agent) or 'no answer'}: {text_of(error)}, after {SECONDS.format(latency_s)}"
            for repeat, _, _, error, agent, latency_s in failed.itertuples(index=False, name=None)
        ]
        scores = below.get((arm, str(prompt_id)), [])
        if told or scores:
            yield Case(str(prompt_id), "failure", "; ".join([*told, *scores]), "failed" if told else "score", took_s)
        else:
            yield Case(str(prompt_id), "passed", took_s=took_s)
