"""Comparison: two arms paired by prompt and repeat, and what branches and prompts in flight each gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from quark_bench import stats
from quark_bench.measures import Measure
from quark_bench.pairing import answered, codes, comparable_times, levels_of, pair_up, scores_of, shared_blocks
from quark_bench.plan import BUILT_IN_ARMS
from quark_bench.stats import Interval
from quark_bench.trials import SCORE_PREFIX

Ratio = Interval
"""How many times better, with its 95 % interval; `se` is on the log scale."""

SET_BY_SCHEDULE = "an open load: its schedule sets the rate, equal in every arm"
MOST_NAMED = 20
"""Prompts named where answers differ; their count is complete."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Arm b against arm a; ratios above 1 mean that b is faster.

    `latency` is the geometric mean over prompts of a's latency over b's, `latency_sums` the ratio of their sums,
    `throughput` the geometric mean over blocks of b's completions per second over a's. `pairs` counts what these
    latencies come from, records of one prompt and repeat answered in both arms in one session; `lost_pairs`
    those that failed in an arm, are missing in one or were measured in different sessions. `mde` is the
    smallest change of latency that would have been found (0.05 is 5 %).

    `work_over_critical_path` is the median speed-up that b's DAG allows to a single prompt,
    `parallel_efficiency` the part of it that b reached. `answers_differ` names the first prompts that were
    answered differently; `scores` are mean differences b - a, failures as zero. `went_sequential` counts records of
    a and of b whose agents were called one after another because of a fault of the engine.
    """

    a: str
    b: str
    latency: Ratio
    latency_sums: float | None
    throughput: Ratio
    work_over_critical_path: float | None
    parallel_efficiency: float | None
    pairs: int
    lost_pairs: int
    mde: float | None
    answers_differ: tuple[str, ...]
    answers_differ_count: int
    scores: Mapping[str, Interval]
    went_sequential: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Attribution:
    """A gain split in two: total = branches x in_flight.

    `branches` is parallel over sync, `in_flight` async over parallel, `total` async over sync.
    """

    branches: Ratio
    in_flight: Ratio
    total: Ratio


def compare_arms(
    records: pd.DataFrame, a: str, b: str, measures_a: Mapping[str, Measure], measures_b: Mapping[str, Measure]
) -> Comparison:
    """Compare two arms of the same prompts, from the records of a run and the measures of both arms."""
    paired = pair_up(records, (a, b))
    timed = comparable_times(paired, 2)
    latency = _latency_ratio(timed, 0, 1)
    differ = prompts_answered_differently(paired)
    return Comparison(
        a=a,
        b=b,
        latency=latency,
        latency_sums=stats.ratio_of_sums(timed["latency_s_0"], timed["latency_s_1"]),
        throughput=_block_ratio(shared_blocks(records, (a, b)), 0, 1),
        work_over_critical_path=_value(measures_b, "speed_up_bound"),
        parallel_efficiency=_value(measures_b, "parallel_efficiency"),
        pairs=len(timed),
        lost_pairs=len(paired) - len(timed),
        mde=stats.minimum_detectable_effect(latency.se, latency.df),
        answers_differ=differ[:MOST_NAMED],
        answers_differ_count=len(differ),
        scores=score_differences(paired, [name for name in measures_a if name in measures_b]),
        went_sequential=(_count(measures_a, "sequential_records"), _count(measures_b, "sequential_records")),
    )


def attribute(records: pd.DataFrame, arms: tuple[str, str, str] = BUILT_IN_ARMS) -> tuple[Attribution, Attribution]:
    """How much of the gain in throughput, and of that in latency, came from branches and how much from flight.

    Throughput is compared over block makespans, latency over prompts, both only where all three arms have them
    in one session: that makes the product hold. Values are None where nothing is shared.
    """
    blocks = shared_blocks(records, arms)
    timed = comparable_times(pair_up(records, arms), 3)
    throughput = [_block_ratio(blocks, *ends) for ends in ((0, 1), (1, 2), (0, 2))]
    latency = [_latency_ratio(timed, *ends) for ends in ((0, 1), (1, 2), (0, 2))]
    return _attribution(*throughput), _attribution(*latency)


def _attribution(branches: Ratio, in_flight: Ratio, total: Ratio) -> Attribution:
    if branches.value is not None and in_flight.value is not None:
        # Means of logs add up but for the last bit; people multiply what they read.
        total = replace(total, value=branches.value * in_flight.value)
    return Attribution(branches, in_flight, total)


def _latency_ratio(timed: pd.DataFrame, slow: int, fast: int) -> Ratio:
    return stats.paired_log_ratio(timed[f"latency_s_{slow}"], timed[f"latency_s_{fast}"], levels_of(timed, slow))


def _block_ratio(shared: pd.DataFrame, slow: int, fast: int) -> Ratio:
    """How many times sooner a block is done: equal sizes, so makespans over each other are throughputs."""
    groups = {"blocks": np.arange(len(shared)), "repeats": codes(shared.index.get_level_values(0))}
    return stats.paired_log_ratio(shared[f"makespan_s_{slow}"], shared[f"makespan_s_{fast}"], groups)


def prompts_answered_differently(paired: pd.DataFrame) -> tuple[str, ...]:
    """Ids of the prompts whose answers differ in any repeat that both arms answered, in the records' order."""
    return tuple(dict.fromkeys(differing_pairs(paired)["prompt_id"].astype(str)))


def differing_pairs(paired: pd.DataFrame) -> pd.DataFrame:
    """The pairs that both arms answered, and differently."""
    both = paired[answered(paired, 0) & answered(paired, 1)]
    first, second = both["answer_0"], both["answer_1"]
    return both[(first != second) & ~(first.isna() & second.isna())]


def score_differences(paired: pd.DataFrame, names: Sequence[str]) -> dict[str, Interval]:
    """By score, the mean of b - a over prompts with a paired t interval; sessions do not matter to answers.

    Source: Miller 2024, arXiv 2411.00640, paired differences clustered by prompt.
    """
    found: dict[str, Interval] = {}
    for name in names:
        if not name.startswith(SCORE_PREFIX) or f"{name}_0" not in paired:
            continue
        a, b = (scores_of(paired, name.removeprefix(SCORE_PREFIX), number) for number in (0, 1))
        scored = np.isfinite(a) & np.isfinite(b)
        prompts = {"prompts": codes(paired["prompt_id"])[scored]}
        found[name.removeprefix(SCORE_PREFIX)] = stats.paired_difference(b[scored], a[scored], prompts)
    return found


def _value(measures: Mapping[str, Measure], name: str) -> float | None:
    found = measures.get(name)
    return found.value if found else None


def _count(measures: Mapping[str, Measure], name: str) -> int:
    return int(_value(measures, name) or 0)
