"""Changes: how each measure of a candidate compares with a baseline's, trial by trial of the same prompts.

Means over pairs: of logarithms where a ratio is meant, so that a prompt that is slow anyway counts like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from quark_bench.pairing import codes, comparable_times, in_both, levels_of, pair_up, scores_of, shared_blocks
from quark_bench.rule import Change, Scale
from quark_bench.significance import Tested, components, false_discovery, mcnemar, minimum_ratio, paired_test
from quark_bench.stats import Floats, Groups
from quark_bench.trials import Trials

BASELINE, CANDIDATE = "baseline", "candidate"
ARMS = (BASELINE, CANDIDATE)
MOST_NAMED = 20
"""Prompts that are named as having turned for the worse."""

Clusters = Mapping[str, str]
"""By prompt id, what it shares with other prompts: a document, a conversation."""


def changes_of(
    records: pd.DataFrame, scorers: Sequence[str], clusters: Clusters | None = None, *, side_by_side: bool = True
) -> list[Change]:
    """The changes of all judged measures: latency, throughput, failures, each score, cost.

    `records` has both arms, with the columns of `PAIRED`, `cost_usd` and `score_<name>` for every scorer. Where the
    arms were not measured `side_by_side`, in one session, no pair of blocks shares its time.
    """
    pairs = in_both(pair_up(records, ARMS))
    timed = comparable_times(pairs, 2)
    cost = [_cost(pairs, clusters)] if _total(pairs, "cost_usd") > 0 else []
    return [
        _latency(timed, _levels(timed, blocks=side_by_side), clusters),
        _throughput(shared_blocks(records, ARMS), side_by_side=side_by_side),
        _failures(pairs, clusters),
        *(_score(pairs, name, clusters) for name in scorers),
        *cost,
    ]


def _levels(pairs: pd.DataFrame, *, blocks: bool) -> dict[str, Groups]:
    return {name: each for name, each in levels_of(pairs).items() if blocks or name != "blocks"}


def _latency(timed: pd.DataFrame, levels: Mapping[str, Groups], clusters: Clusters | None) -> Change:
    before, after = (timed[f"latency_s_{number}"].to_numpy(np.float64) for number in (0, 1))
    found = paired_test(np.log(after / before), levels, _clusters(timed, clusters))
    change = _ratio("latency", found, len(timed), _mean(before), _mean(after))
    by_prompt = pd.Series(np.log(after / before), index=timed["prompt_id"]).groupby(level=0).mean()
    return replace(change, prompts=_worst(by_prompt[by_prompt > 0]))


def latency_components(records: pd.DataFrame) -> tuple[float, float] | None:
    """The standard deviations of a pair's log ratio of latencies, between prompts and within one; see `components`."""
    timed = comparable_times(in_both(pair_up(records, ARMS)), 2)
    before, after = (timed[f"latency_s_{number}"].to_numpy(np.float64) for number in (0, 1))
    return components(np.log(after / before), codes(timed["prompt_id"]))


def _throughput(blocks: pd.DataFrame, *, side_by_side: bool) -> Change:
    """Blocks hold equal prompts: how many times longer one takes is how many times fewer prompts a second there are."""
    before, after = (blocks[f"makespan_s_{number}"].to_numpy(np.float64) for number in (0, 1))
    usable = (before > 0) & (after > 0)
    before, after = before[usable], after[usable]
    levels = {"blocks": np.arange(len(before)), "repeats": codes(blocks.index.get_level_values(0)[usable])}
    sizes = blocks["size_0"].to_numpy(np.float64)[usable]
    rates = [float(sizes.sum() / each.sum()) if len(each) else None for each in (before, after)]
    found = paired_test(np.log(after / before), levels)
    if not side_by_side:
        found = Tested(found.mean, found.n, note="its blocks were not measured side by side")
    return _ratio("throughput", found, len(before), *rates)


def _failures(pairs: pd.DataFrame, clusters: Clusters | None) -> Change:
    before, after = (np.where(pairs[f"status_{number}"] == "failed", 1.0, 0.0) for number in (0, 1))
    return _difference("failures", pairs, before, after, clusters)


def _score(pairs: pd.DataFrame, name: str, clusters: Clusters | None) -> Change:
    """What is lost of a score is for the worse; failures count as 0."""
    before, after = (scores_of(pairs, name, number) for number in (0, 1))
    scored = np.isfinite(before) & np.isfinite(after)
    change = _difference(name, pairs[scored], -before[scored], -after[scored], clusters)
    return replace(change, baseline=_mean(before[scored]), candidate=_mean(after[scored]))


def _cost(pairs: pd.DataFrame, clusters: Clusters | None) -> Change:
    before, after = (pairs[f"cost_usd_{number}"].to_numpy(np.float64, na_value=np.nan) for number in (0, 1))
    paid = (before > 0) & (after > 0)
    levels = {name: each[paid] for name, each in _levels(pairs, blocks=False).items()}
    found = paired_test(np.log(after[paid] / before[paid]), levels, _clusters(pairs[paid], clusters))
    return _ratio("cost", found, int(paid.sum()), _mean(before), _mean(after))


def _ratio(measure: str, found: Tested, pairs: int, before: float | None = None, after: float | None = None) -> Change:
    worse, low, high = (
        None if each is None else math.exp(min(709.0, each)) for each in (found.mean, found.low, found.high)
    )
    return Change(
        measure,
        Scale.RATIO,
        worse,
        low,
        high,
        found.p,
        minimum_ratio(found.mde),
        found.n,
        pairs,
        equal=found.all_equal,
        widest=found.widest,
        note=found.note,
        baseline=before,
        candidate=after,
    )


def _difference(measure: str, pairs: pd.DataFrame, before: Floats, after: Floats, clusters: Clusters | None) -> Change:
    """Of shares and scores, where more is worse. What was good or bad once a prompt is judged by McNemar's test."""
    worse = after - before
    found = paired_test(worse, _levels(pairs, blocks=False), _clusters(pairs, clusters))
    once = len(worse) == found.n and clusters is None and set(np.unique(worse)) <= {-1.0, 0.0, 1.0}
    p = mcnemar(int((worse > 0).sum()), int((worse < 0).sum())) if once and found.p is not None else found.p
    by_prompt = pd.Series(worse, index=pairs["prompt_id"]).groupby(level=0).mean()
    return Change(
        measure,
        Scale.DIFFERENCE,
        found.mean,
        found.low,
        found.high,
        p,
        found.mde,
        found.n,
        len(pairs),
        equal=len(worse) > 0 and not worse.any(),
        widest=found.widest,
        note=found.note,
        baseline=_mean(before),
        candidate=_mean(after),
        prompts=_worst(by_prompt[by_prompt > 0]),
    )


def noise_of(records: pd.DataFrame, arm: str = BASELINE) -> float | None:
    """The latency of an arm in the second half of its repeats over that in the first, paired by prompt: what the
    machine alone did meanwhile. None with fewer than two repeats."""
    mine = records[(records["arm"] == arm) & records["status"].isin(("ok", "degraded"))]
    repeats = np.sort(mine["repeat"].unique())
    half = len(repeats) // 2
    if half == 0:
        return None
    logs = np.log(mine["latency_s"].to_numpy(np.float64))
    sides = [
        pd.Series(logs[chosen], index=mine["prompt_id"][chosen]).groupby(level=0).mean()
        for chosen in (mine["repeat"].isin(part).to_numpy(bool) for part in (repeats[:half], repeats[-half:]))
    ]
    both = pd.concat(sides, axis=1, join="inner")
    return float(math.exp((both[1] - both[0]).mean())) if len(both) else None


def relabelled(records: pd.DataFrame, draws: np.random.Generator, tries: int) -> Iterator[list[Change]]:
    """The changes of latency and throughput, `tries` times, each with the arms' labels drawn anew for every pair of
    blocks: what identical arms would have shown on this machine. Source: permutation within pairs, Fisher 1935."""
    timed = comparable_times(in_both(pair_up(records, ARMS)), 2)
    longer = np.log((timed["latency_s_1"] / timed["latency_s_0"]).to_numpy(np.float64))
    blocks = shared_blocks(records, ARMS)
    slower = np.log((blocks["makespan_s_1"] / blocks["makespan_s_0"]).to_numpy(np.float64))
    levels = levels_of(timed)
    levels["blocks"] = np.unique(timed["block_0"], return_inverse=True)[1].astype(np.int64)  # as `slower` is ordered
    by_block = {"blocks": np.arange(len(slower)), "repeats": codes(blocks.index.get_level_values(0))}
    for _ in range(tries):
        signs = draws.choice((-1.0, 1.0), 1 + max(len(slower), int(levels["blocks"].max(initial=0))))
        latency = paired_test(longer * signs[levels["blocks"]], levels)
        throughput = paired_test(slower * signs[: len(slower)], by_block)
        yield [_ratio("latency", latency, len(longer)), _ratio("throughput", throughput, len(slower))]


def agent_durations(trials: Trials, arm: str | None = None) -> pd.DataFrame:
    """A row per trial, of an arm or of all, and agent that was called: `arm, prompt_id, repeat, session, block, agent`
    and the seconds that its attempts took, `latency_s`. Failed calls are left out: they end when they like."""
    trial = ["arm", "prompt_id", "repeat", "session", "block", "agent"]
    found = []
    for spans in trials.spans([*trial, "status", "start_s", "end_s"], arm):
        called = spans[spans["status"].isin(("ok", "fallback"))]
        taken = called.assign(latency_s=called["end_s"] - called["start_s"])
        found.append(taken.groupby(trial, observed=True, sort=False)["latency_s"].sum().reset_index())
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*trial, "latency_s"])


def agent_changes(durations: pd.DataFrame, agents: Sequence[str], *, side_by_side: bool = True) -> list[Change]:
    """How much longer each agent took, as `agent_durations` has it; p-values adjusted for there being several."""
    found = []
    for name in agents:
        calls = durations[durations["agent"] == name].drop(columns="agent")
        timed = comparable_times(in_both(pair_up(calls.assign(status="ok", answer=None, start_s=0.0), ARMS)), 2)
        before, after = (timed[f"latency_s_{number}"].to_numpy(np.float64) for number in (0, 1))
        longer = paired_test(np.log(after / before), _levels(timed, blocks=side_by_side))
        found.append(_ratio(name, longer, len(timed), _mean(before), _mean(after)))
    adjusted = iter(false_discovery([change.p for change in found if change.p is not None]))
    return [change if change.p is None else replace(change, p=next(adjusted)) for change in found]


def _clusters(pairs: pd.DataFrame, clusters: Clusters | None) -> Groups | None:
    """A prompt that is in no cluster is one by itself."""
    return None if clusters is None else codes(pairs["prompt_id"].map(lambda name: clusters.get(name, f"\0{name}")))


def _worst(by_prompt: pd.Series[Any]) -> tuple[str, ...]:
    return tuple(map(str, by_prompt.sort_values(ascending=False, kind="stable").index[:MOST_NAMED]))


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _total(pairs: pd.DataFrame, name: str) -> float:
    sides = [pairs[f"{name}_{number}"] for number in (0, 1) if f"{name}_{number}" in pairs]
    return float(sum(np.nansum(each.to_numpy(np.float64, na_value=np.nan)) for each in sides))
