"""Weighing a gate: from a run's records to changes, to verdicts, to what is told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from quark_bench.arrivals import arrivals_of
from quark_bench.changes import (
    ARMS,
    BASELINE,
    CANDIDATE,
    agent_changes,
    agent_durations,
    changes_of,
    latency_components,
    noise_of,
    relabelled,
)
from quark_bench.comparable import only_in_one, worth_of_stored
from quark_bench.compare import SET_BY_SCHEDULE, prompts_answered_differently
from quark_bench.gate_result import NULL, RUN, AgentChange, GateResult, NullRates
from quark_bench.manifest import Manifest
from quark_bench.pairing import PAIRED, pair_up
from quark_bench.plan import Plan
from quark_bench.report import sentences
from quark_bench.report.findings import conditions
from quark_bench.report.sentences import first_named, plural
from quark_bench.rule import MARGIN, Change, Conditions, Judged, Verdict, alarms, judge, overall
from quark_bench.run import Run
from quark_bench.significance import ALPHA, prompts_needed, times_as_many
from quark_bench.trials import SCORE_PREFIX
from quark_bench.units import SHARE

RELABELLINGS = 1_000
NOTABLE = 0.01
"""Of the trial's latency: an agent that changed by less is not worth naming, by however many times."""
Stored = tuple[Run, str]
"""A stored run, and the arm of it that is the baseline."""
Clusters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Weighed:
    """One measurement of a gate: the records of both arms, the verdicts on them, and the baseline's own change."""

    records: pd.DataFrame
    judged: Sequence[Judged]
    noise: float | None


def weigh(run: Run, stored: Stored | None, repeats: range, clusters: Clusters | None) -> Weighed:
    """The verdicts by these repeats alone, against the run's own baseline or a stored one."""
    records = arm_records(run)
    records = records[records["repeat"].isin(repeats)]
    if stored is None:
        noise = noise_of(records, BASELINE)
        changes = _by_schedule(changes_of(records, run.trials.scorers, clusters), run)
    else:
        noise = noise_of(records, CANDIDATE)
        records = _beside(records, stored, repeats)
        changes = changes_of(records, run.trials.scorers, clusters, side_by_side=False)
    return Weighed(records, judge(changes, Conditions(noise)), noise)


def _by_schedule(changes: Sequence[Change], run: Run) -> list[Change]:
    """No verdict on the throughput of an open load, which says what was asked for: a side that falls behind takes
    longer, from due to end, and that is judged."""
    if not any(map(arrivals_of, run.manifest["arms"])):
        return list(changes)
    return [
        replace(each, worse=None, low=None, high=None, p=None, mde=None, note=SET_BY_SCHEDULE)
        if each.measure == "throughput"
        else each
        for each in changes
    ]


def arm_records(run: Run, arm: str | None = None) -> pd.DataFrame:
    """What comparing needs of the records of an arm, or of all."""
    scores = (SCORE_PREFIX + name for name in run.trials.scorers)
    records = run.trials.records([*PAIRED, "cost_usd", *scores], arm)
    return records.assign(arm=records["arm"].astype(str), status=records["status"].astype(str))


def _beside(records: pd.DataFrame, stored: Stored, repeats: range) -> pd.DataFrame:
    """The candidate's records and those of a stored arm, numbered as if they had been one session."""
    run, arm = stored
    ours = records.assign(repeat=records["repeat"] - repeats.start)
    return pd.concat([arm_records(run, arm).assign(arm=BASELINE), ours], ignore_index=True).assign(session=0)


def told_result(run: Run, found: Weighed, once: Plan, *, allow_stored: bool) -> GateResult:
    """All that is told of a finished gate; `once` is the plan of one measurement."""
    gating, judged = run.manifest["gating"], found.judged
    side_by_side = gating["kind"] != RUN
    return GateResult(
        verdict=overall(judged) if side_by_side or allow_stored else Verdict.INCONCLUSIVE,
        kind=gating["kind"],
        against=gating["against"],
        judged=tuple(judged),
        agents=tuple(_agents(run, found, once.repeats)) if side_by_side else (),
        noise=found.noise,
        measurements=run.manifest["repeats"] // once.repeats,
        prompts=once.prompts,
        repeats=once.repeats,
        blocks=len(once.blocks) // len(once.arms),
        in_flight=once.arms[-1].in_flight,
        findings=(*_attained(run), *_findings(run, found, once)),
        slos_missed=tuple(each.slo.text for each in run.slos if each.given and each.met is False),
        null=_null_rates(found, once.seed, run) if gating["kind"] == NULL else None,
        conditions=conditions(run.manifest),
    )


def _agents(run: Run, found: Weighed, repeats: int) -> Iterator[AgentChange]:
    """Every agent that both sides have, by the first measurement."""
    latency_s = next(each.change.baseline for each in found.judged if each.measure == "latency") or 0.0
    shares = run.findings.agents[CANDIDATE]["critical_path_share"]
    durations = agent_durations(run.trials)
    for change in agent_changes(durations[durations["repeat"] < repeats], [name for name, _ in run.layout]):
        share = float(shares[change.measure])
        notable = abs((change.candidate or 0.0) - (change.baseline or 0.0)) >= NOTABLE * latency_s
        slower, faster = notable and _is_slower(change), notable and _is_faster(change)
        yield AgentChange(change, None if math.isnan(share) else share, slower, faster)


def _is_slower(change: Change) -> bool:
    return change.p is not None and change.worse is not None and change.p <= ALPHA and change.worse > 1 + MARGIN


def _is_faster(change: Change) -> bool:
    return change.high is not None and change.worse is not None and change.high < 1 and change.worse < 1 / (1 + MARGIN)


def _null_rates(found: Weighed, seed: int, run: Run) -> NullRates:
    """How often the rule would have alarmed if the labels of the arms were drawn anew for each pair of blocks."""
    drawn = relabelled(found.records, np.random.default_rng(seed), RELABELLINGS)
    judged = (judge(_by_schedule(each, run), Conditions(found.noise)) for each in drawn)
    return NullRates(RELABELLINGS, sum(map(bool, map(alarms, judged))))


def _attained(run: Run) -> Iterator[str]:
    """What share of the trials kept to the objectives that are of each."""
    for each in run.slos:
        if each.slo.share is not None:
            yield f"{each.slo.text} {sentences.verdict(each)}: {sentences.slo_value(run.findings, each)}"


def _findings(run: Run, found: Weighed, once: Plan) -> Iterator[str]:
    """What else is worth knowing, a sentence each."""
    manifest, gating = run.manifest, run.manifest["gating"]
    if gating["data_changes"]:
        yield gating["data_changes"]
    if gating["kind"] == RUN:
        yield _worth(manifest, gating)
    elif gating["kind"] != NULL and len({arm["pipeline_key"] for arm in manifest["arms"]}) == 1:
        yield "the pipeline's Python files are the same on both sides; data files beside them were not compared"
    now = [agent["name"] for agent in manifest["pipeline"]["agents"]]
    gone, new = only_in_one(gating["agents"], now)
    if gone or new:
        parts = ((f"only the baseline has {', '.join(gone)}", gone), (f"only the candidate has {', '.join(new)}", new))
        yield "agents differ: " + "; ".join(told for told, names in parts if names)
    differ = prompts_answered_differently(pair_up(found.records, ARMS))
    if differ:
        yield f"{plural(len(differ), 'prompt')} answered differently: {first_named(differ)}"
    if once.repeats != gating["asked"]:
        yield f"{once.repeats} repeats instead of {gating['asked']}, for enough pairs of blocks"
    for check in run.arrivals:
        if not check.kept_up:
            yield f"the client could not keep up with {check.arm}: {check.why}; {check.remedy}"
    latency = next(each.change for each in found.judged if each.measure == "latency")
    if latency.mde is not None and latency.mde > MARGIN:
        wanted = what_it_takes(latency, latency_components(found.records), once)
        yield f"to see a change of {SHARE.format(MARGIN)} in latency it takes about {wanted}"


def what_it_takes(latency: Change, components: tuple[float, float] | None, once: Plan) -> str:
    """How many prompts and repeats make the margin the smallest detectable change of latency.

    Where prompts differ the most and their pairs tell by how much, more of them; else as errors shrink with numbers.
    """
    assert latency.mde is not None, "asked only where it is too large"
    more = times_as_many(math.log1p(latency.mde), math.log1p(MARGIN))
    if latency.widest != "prompts":
        return f"{math.ceil(more * once.repeats):,} repeats"
    needed = math.ceil(more * once.prompts)
    if components is not None:
        needed = max(once.prompts + 1, prompts_needed(MARGIN, *components, once.repeats))
    return f"{needed:,} prompts with {once.repeats} repeats"


def _worth(manifest: Manifest, gating: Mapping[str, object]) -> str:
    then = gating["provenance"]
    assert isinstance(then, Mapping), "kept with every stored run"
    return f"{worth_of_stored(then, manifest['provenance'])}; name a git revision for a verdict"
