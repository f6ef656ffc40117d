"""Weighing two arms, of one run or of two: what of them compares, how it changed, and what a person has to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from quark_bench import stats
from quark_bench.changes import ARMS, agent_changes, agent_durations, changes_of
from quark_bench.comparable import (
    changed_conditions,
    changed_questions,
    dependent_trials,
    environment_differences,
    only_in_one,
    scored_by,
    worth_of_stored,
)
from quark_bench.compare import Comparison, compare_arms, prompts_answered_differently, score_differences
from quark_bench.compared import Compared, SharedPrompts, Side
from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError
from quark_bench.pairing import codes, in_both, pair_up
from quark_bench.report.sentences import plural
from quark_bench.rule import Change, Scale
from quark_bench.run import Run
from quark_bench.stats import Interval
from quark_bench.trials import SCORE_PREFIX
from quark_bench.weigh_gate import arm_records

OneArm = tuple[Run, str]
"""A run, and the name of one of its arms."""


def compare_sides(first: OneArm, second: OneArm) -> Compared:
    """The second arm against the first. Raises UsageError, saying why, where nothing of them compares."""
    a, b = (Side(run.manifest, arm) for run, arm in (first, second))
    one_run = first[0].path.resolve() == second[0].path.resolve()
    if one_run and a.arm == b.arm:
        raise UsageError(f"{a.run_id}:{a.arm} against itself: name another arm, or another run")
    if not one_run:
        _require_comparable(a, b)
    sides = [
        _of_side(arm_records(run, arm), label, one_run) for (run, arm), label in zip((first, second), ARMS, strict=True)
    ]
    prompts = _shared_prompts(first[0], second[0], *sides)
    records = _without(pd.concat(sides, ignore_index=True), prompts)
    versions = scored_by(a.manifest)
    alike = {name for name, version in scored_by(b.manifest).items() if versions.get(name) == version}
    scorers = [name for name in first[0].trials.scorers if name in alike and name in second[0].trials.scorers]
    changes, paired = changes_of(records, scorers, side_by_side=one_run), pair_up(records, ARMS)
    if one_run:
        changes = _with_intervals(changes, compare_arms(records, *ARMS, {}, {}), paired)
    return Compared(
        a=a,
        b=b,
        one_run=one_run,
        changes=changes,
        agents=_agents(first, second, prompts, one_run),
        lost_pairs=len(paired) - next(each.pairs for each in changes if each.measure == "latency"),
        answers_differ=prompts_answered_differently(paired),
        prompts=prompts,
        notes=tuple(_notes(a, b, one_run) if one_run else _notes_between(first[0], second[0], a, b)),
        environment=() if one_run else tuple(environment_differences(a.manifest, b.manifest)),
    )


def _require_comparable(a: Side, b: Side) -> None:
    found = changed_conditions(a.manifest, b.manifest)
    found += [f"of {side.run_id}, {why}" for side in (a, b) for why in dependent_trials(side.manifest)]
    if found:
        told = ", ".join(found)
        raise UsageError(f"{a.run_id} and {b.run_id} are not comparable: {told}; measure them anew, alike")


def _of_side(rows: pd.DataFrame, label: str, one_run: bool) -> pd.DataFrame:
    """Rows of one arm under the label that it has in a comparison. Two runs count as one session."""
    return rows.assign(arm=label) if one_run else rows.assign(arm=label, session=0)


def _shared_prompts(first: Run, second: Run, a: pd.DataFrame, b: pd.DataFrame) -> SharedPrompts:
    """Which prompts both sides ran. Raises UsageError where they have none in common."""
    then, now = (dict.fromkeys(side["prompt_id"].astype(str)) for side in (a, b))
    shared = [name for name in then if name in now]
    changed = _changed_content(first, second, shared)
    compared = len(shared) - len(changed)
    if not compared:
        ids = [run.manifest["run_id"] for run in (first, second)]
        raise UsageError(f"{ids[0]} and {ids[1]} have no prompt in common: compare runs of the same prompt file")
    vanished, new = (
        tuple(sorted(name for name in one if name not in other)) for one, other in ((then, now), (now, then))
    )
    return SharedPrompts(compared, vanished, new, changed)


def _changed_content(first: Run, second: Run, shared: list[str]) -> tuple[str, ...]:
    if first.manifest["dataset"]["hash"] == second.manifest["dataset"]["hash"] or not _texts_known(first, second):
        return ()
    return tuple(name for name in shared if _content(first.prompts, name) != _content(second.prompts, name))


def _texts_known(first: Run, second: Run) -> bool:
    return bool(first.prompts) and bool(second.prompts)


def _content(prompts: Mapping[str, Prompt], name: str) -> str | None:
    prompt = prompts.get(name)
    return None if prompt is None else prompt.content()


def _without(rows: pd.DataFrame, prompts: SharedPrompts) -> pd.DataFrame:
    """The rows of prompts that both sides ran unchanged."""
    left_out = {*prompts.vanished, *prompts.new, *prompts.changed}
    return rows[~rows["prompt_id"].isin(left_out)] if left_out else rows


def _with_intervals(changes: Sequence[Change], found: Comparison, paired: pd.DataFrame) -> list[Change]:
    """The changes with the two-sided 95 % intervals that a run's own report has of its arms."""
    both = in_both(paired)
    failed = [np.where(both[f"status_{number}"] == "failed", 1.0, 0.0) for number in (0, 1)]
    prompts = {"prompts": codes(both["prompt_id"])}
    better: dict[str, Interval] = {
        **score_differences(paired, [SCORE_PREFIX + change.measure for change in changes]),
        "latency": found.latency,
        "throughput": found.throughput,
        "failures": stats.paired_difference(failed[0], failed[1], prompts),
        "cost": stats.paired_log_ratio(both["cost_usd_0"], both["cost_usd_1"], prompts),
    }
    return [_restated(change, better[change.measure]) for change in changes]


def _restated(change: Change, better: Interval) -> Change:
    """The change by an interval of how much better the second side is."""
    ratio = change.scale is Scale.RATIO

    def worse(value: float | None) -> float | None:
        return None if value is None or (ratio and not value) else 1 / value if ratio else -value

    mde = stats.minimum_detectable_effect(better.se, better.df) if ratio else None
    low, high = worse(better.high), worse(better.low)
    return replace(change, worse=worse(better.value), low=low, high=high, p=None, mde=mde, note=better.note)


def _agents(first: OneArm, second: OneArm, prompts: SharedPrompts, one_run: bool) -> list[Change]:
    """The agents that both sides have, in the order of the second."""
    sides = []
    for (run, arm), label in zip((first, second), ARMS, strict=True):
        durations = agent_durations(run.trials, arm)
        sides.append(_of_side(durations.astype({"agent": str, "prompt_id": str}), label, one_run))
    earlier = {name for name, _ in first[0].layout}
    shared = [name for name, _ in second[0].layout if name in earlier]
    return agent_changes(_without(pd.concat(sides, ignore_index=True), prompts), shared, side_by_side=one_run)


def _notes(a: Side, b: Side, one_run: bool) -> Iterator[str]:
    """What of either side stands in the way."""
    for side in (a,) if one_run else (a, b):
        if side.manifest["state"] != "complete":
            yield f"{side.run_id} is {side.manifest['state']}: only the trials that are there are compared"
        for why in dependent_trials(side.manifest):
            yield f"of {side.run_id}, {why}: its latencies do not compare"


def _notes_between(first: Run, second: Run, a: Side, b: Side) -> Iterator[str]:
    then, now = a.manifest, b.manifest
    worth = worth_of_stored(then["provenance"], now["provenance"])
    yield f"{worth}; for a verdict measure both in one job: quark-bench gate --against"
    yield from _notes(a, b, one_run=False)
    for what in changed_questions(then, now):
        yield f"{what}: {_narrowed(what, first, second)}"
    if a.how != b.how:
        ways = (f"{strategy} with {load}" for strategy, load in (a.how, b.how))
        yield f"the arms ran differently: {', then '.join(ways)}"
    if then["repeats"] != now["repeats"]:
        shared = plural(min(then["repeats"], now["repeats"]), "repeat")
        yield f"{then['repeats']} and {now['repeats']} repeats: the first {shared} of each are compared"
    gone, new = only_in_one(*([name for name, _ in run.layout] for run in (first, second)))
    if gone:
        yield f"only the first has the agents {', '.join(gone)}"
    if new:
        yield f"only the second has the agents {', '.join(new)}"


def _narrowed(what: str, first: Run, second: Run) -> str:
    if what == "the data set changed":
        if not _texts_known(first, second):
            return "prompts of equal id are compared; a prompt file is not at hand, so their texts may differ"
        return "only prompts that are the same in both are compared"
    if what == "the scorers changed":
        return "only scores that both have, of equal options, are compared"
    models = (run.manifest["pipeline"]["model"] or "none" for run in (first, second))
    return f"{', then '.join(models)}"
