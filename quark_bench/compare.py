"""Comparison: two arms paired by prompt and repeat, and what branches and prompts in flight each gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench import stats
from quark_bench.measures import Measure, score_or_zero
from quark_bench.plan import BUILT_IN_ARMS
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import SCORE_PREFIX

Ratio = Interval
"""How many times better, with its 95 % interval; `se` is on the log scale."""

MOST_NAMED = 20
"""Prompts named where answers differ; their count is complete."""

PAIRED = ("arm", "prompt_id", "repeat", "session", "block", "status", "answer", "start_s", "latency_s")
"""Columns of a record that comparing needs, beside its scores."""


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
    paired = _paired(records, (a, b))
    timed = _timed(paired, 2)
    latency = _latency_ratio(timed, 0, 1)
    differ = _prompts_answered_differently(paired)
    return Comparison(
        a=a,
        b=b,
        latency=latency,
        latency_sums=stats.ratio_of_sums(timed["latency_s_0"], timed["latency_s_1"]),
        throughput=_block_ratio(_shared_blocks(records, (a, b)), 0, 1),
        work_over_critical_path=_value(measures_b, "speed_up_bound"),
        parallel_efficiency=_value(measures_b, "parallel_efficiency"),
        pairs=len(timed),
        lost_pairs=len(paired) - len(timed),
        mde=stats.minimum_detectable_effect(latency.se),
        answers_differ=differ[:MOST_NAMED],
        answers_differ_count=len(differ),
        scores=_score_differences(paired, [name for name in measures_a if name in measures_b]),
        went_sequential=(_count(measures_a, "sequential_records"), _count(measures_b, "sequential_records")),
    )


def attribute(records: pd.DataFrame, arms: tuple[str, str, str] = BUILT_IN_ARMS) -> tuple[Attribution, Attribution]:
    """How much of the gain in throughput, and of that in latency, came from branches and how much from flight.

    Throughput is compared over block makespans, latency over prompts, both only where all three arms have them
    in one session: that makes the product hold. Values are None where nothing is shared.
    """
    blocks = _shared_blocks(records, arms)
    timed = _timed(_paired(records, arms), 3)
    throughput = [_block_ratio(blocks, *ends) for ends in ((0, 1), (1, 2), (0, 2))]
    latency = [_latency_ratio(timed, *ends) for ends in ((0, 1), (1, 2), (0, 2))]
    return _attribution(*throughput), _attribution(*latency)


def _attribution(branches: Ratio, in_flight: Ratio, total: Ratio) -> Attribution:
    if branches.value is not None and in_flight.value is not None:
        # Means of logs add up but for the last bit; people multiply what they read.
        total = replace(total, value=branches.value * in_flight.value)
    return Attribution(branches, in_flight, total)


def _paired(records: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """One row per prompt and repeat of any of the arms; columns end in `_0`, `_1` ... by arm, NaN where missing."""
    if records.empty:
        records = records.reindex(columns=PAIRED)
    scores = [name for name in records if str(name).startswith(SCORE_PREFIX)]
    columns = [*PAIRED, *scores]
    sides = [
        records.loc[records["arm"] == arm, columns]
        .drop(columns="arm")
        .assign(found=True)
        .set_index(["prompt_id", "repeat"])
        .add_suffix(f"_{number}")
        for number, arm in enumerate(arms)
    ]
    return pd.concat(sides, axis=1, sort=False).reset_index()


def _timed(paired: pd.DataFrame, arms: int) -> pd.DataFrame:
    """The rows whose latencies may be compared: answered in all arms, in one session."""
    good = np.ones(len(paired), np.bool_)
    for number in range(arms):
        good &= _answered(paired, number)
        good &= (paired[f"session_{number}"] == paired["session_0"]).to_numpy(bool)
        good &= paired[f"latency_s_{number}"].to_numpy(np.float64, na_value=np.nan) > 0
    return paired[good]


def _answered(paired: pd.DataFrame, number: int) -> NDArray[np.bool_]:
    return paired[f"status_{number}"].isin(("ok", "degraded")).to_numpy(bool)


def _latency_ratio(timed: pd.DataFrame, slow: int, fast: int) -> Ratio:
    groups = {
        "prompts": _codes(timed["prompt_id"]),
        "blocks": _codes(timed[f"block_{slow}"]),
        "repeats": _codes(timed["repeat"]),
    }
    return stats.paired_log_ratio(timed[f"latency_s_{slow}"], timed[f"latency_s_{fast}"], groups)


def _codes(column: pd.Series | pd.Index) -> Groups:
    return pd.factorize(column)[0].astype(np.int64)


def _shared_blocks(records: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """One row per block position that all arms have, whole and in one session; `makespan_s_0`, `_1` ... by arm.

    All arms of a repeat are cut alike, so their n-th blocks hold the same prompts and lie side by side in time.
    """
    if records.empty:
        records = records.reindex(columns=PAIRED)
    sides = [_blocks(records[records["arm"] == arm]).add_suffix(f"_{number}") for number, arm in enumerate(arms)]
    shared = pd.concat(sides, axis=1, join="inner")
    for number in range(1, len(arms)):
        alike = (shared[f"session_{number}"] == shared["session_0"]) & (shared[f"size_{number}"] == shared["size_0"])
        shared = shared[alike]
    return shared


def _blocks(of_arm: pd.DataFrame) -> pd.DataFrame:
    """Session, size and makespan of an arm's blocks, by repeat and position in it; not those cut by a resume."""
    ended = of_arm.assign(end_s=of_arm["start_s"] + of_arm["latency_s"])
    by_block = ended.groupby(["repeat", "block"])
    blocks = pd.DataFrame(
        {
            "session": by_block["session"].first(),
            "sessions": by_block["session"].nunique(),
            "size": by_block.size(),
            "makespan_s": by_block["end_s"].max() - by_block["start_s"].min(),
        }
    )
    position = blocks.groupby(level="repeat").cumcount()
    blocks = blocks.droplevel("block").set_index(position.to_numpy(), append=True)
    return blocks[blocks["sessions"] == 1]


def _block_ratio(shared: pd.DataFrame, slow: int, fast: int) -> Ratio:
    """How many times sooner a block is done: equal sizes, so makespans over each other are throughputs."""
    groups = {"blocks": np.arange(len(shared)), "repeats": _codes(shared.index.get_level_values(0))}
    return stats.paired_log_ratio(shared[f"makespan_s_{slow}"], shared[f"makespan_s_{fast}"], groups)


def _prompts_answered_differently(paired: pd.DataFrame) -> tuple[str, ...]:
    """Ids of the prompts whose answers differ in any repeat that both arms answered, in the records' order."""
    both = paired[_answered(paired, 0) & _answered(paired, 1)]
    first, second = both["answer_0"], both["answer_1"]
    differ = (first != second) & ~(first.isna() & second.isna())
    return tuple(dict.fromkeys(both.loc[differ, "prompt_id"].astype(str)))


def _score_differences(paired: pd.DataFrame, names: Sequence[str]) -> dict[str, Interval]:
    """By score, the mean of b - a over prompts with a paired t interval; sessions do not matter to answers.

    Source: Miller 2024, arXiv 2411.00640, paired differences clustered by prompt.
    """
    found: dict[str, Interval] = {}
    for name in names:
        if not name.startswith(SCORE_PREFIX) or f"{name}_0" not in paired:
            continue
        a, b = (_score(paired, name, number) for number in (0, 1))
        scored = np.isfinite(a) & np.isfinite(b)
        prompts = {"prompts": _codes(paired["prompt_id"])[scored]}
        found[name.removeprefix(SCORE_PREFIX)] = stats.paired_difference(b[scored], a[scored], prompts)
    return found


def _score(paired: pd.DataFrame, name: str, number: int) -> Floats:
    here = paired[f"found_{number}"].notna().to_numpy(bool)
    side = pd.DataFrame({"status": paired[f"status_{number}"], name: paired[f"{name}_{number}"]})
    return np.where(here, score_or_zero(side, name.removeprefix(SCORE_PREFIX)), np.nan)


def _value(measures: Mapping[str, Measure], name: str) -> float | None:
    found = measures.get(name)
    return found.value if found else None


def _count(measures: Mapping[str, Measure], name: str) -> int:
    return int(_value(measures, name) or 0)
