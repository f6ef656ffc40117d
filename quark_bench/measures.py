"""Measures: what a run's records and spans amount to, arm by arm, each with its unit and direction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench import stats
from quark_bench.critical_path import Layout, shares
from quark_bench.record import ENGINE_FAULT
from quark_bench.score_measures import Repeated, about_score, measure_score, score_names
from quark_bench.span_sums import SpanSums
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import SCORE_PREFIX, Trials, block_numbers, is_answered, numbers
from quark_bench.units import BYTES, COUNT, DOLLARS, PER_SECOND, RATIO, SCORE, SECONDS, SHARE, TOKENS, Direction, Unit

Intervals = dict[str, Interval]
MOMENT_S = 1e-9
"""Shorter than anything that is measured."""

_UNITS: dict[str, tuple[Unit, Direction]] = {
    "mean_latency_s": (SECONDS, Direction.LOWER),
    "p50_latency_s": (SECONDS, Direction.LOWER),
    "p90_latency_s": (SECONDS, Direction.LOWER),
    "p95_latency_s": (SECONDS, Direction.LOWER),
    "p99_latency_s": (SECONDS, Direction.LOWER),
    "mean_answer_s": (SECONDS, Direction.LOWER),
    "mean_service_s": (SECONDS, Direction.LOWER),
    "mean_work_s": (SECONDS, Direction.LOWER),
    "mean_critical_path_s": (SECONDS, Direction.LOWER),
    "p50_critical_path_s": (SECONDS, Direction.LOWER),
    "speed_up_bound": (RATIO, Direction.NEITHER),
    "parallel_efficiency": (SHARE, Direction.HIGHER),
    "orchestration_overhead_s": (SECONDS, Direction.LOWER),
    "throughput_per_s": (PER_SECOND, Direction.HIGHER),
    "goodput_per_s": (PER_SECOND, Direction.HIGHER),
    "goodput_share": (SHARE, Direction.HIGHER),
    "concurrent_agents": (COUNT, Direction.HIGHER),
    "concurrent_agents_mean": (COUNT, Direction.HIGHER),
    "agents_under_way_mean": (COUNT, Direction.NEITHER),
    "agents_under_way_max": (COUNT, Direction.NEITHER),
    "parallel_rate": (SHARE, Direction.HIGHER),
    "ideal_parallel_rate": (SHARE, Direction.NEITHER),
    "cpu_s_per_prompt": (SECONDS, Direction.LOWER),
    "peak_memory_bytes": (BYTES, Direction.LOWER),
    "failed_share": (SHARE, Direction.LOWER),
    "degraded_share": (SHARE, Direction.LOWER),
    "degraded_records": (COUNT, Direction.LOWER),
    "sequential_records": (COUNT, Direction.LOWER),
    "tokens_in": (TOKENS, Direction.LOWER),
    "tokens_out": (TOKENS, Direction.LOWER),
    "cost_usd": (DOLLARS, Direction.LOWER),
    "retries": (COUNT, Direction.LOWER),
    "fallbacks": (COUNT, Direction.LOWER),
    "refused_calls": (COUNT, Direction.LOWER),
    "cached_calls": (COUNT, Direction.NEITHER),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about one arm. `low` and `high` are its 95 % interval; None where none is valid, and then
    `note` says why."""

    name: str
    value: float | None
    unit: Unit
    direction: Direction
    low: float | None = None
    high: float | None = None
    note: str = ""


def measure_names(scorers: Iterable[str] = (), repeats: int = 1) -> tuple[str, ...]:
    """The names of all measures of an arm, known before anything has run."""
    return (*_UNITS, *score_names(scorers, repeats))


def measures_as_data(measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Measures as JSON-able data."""
    return {
        name: {"value": m.value, "low": m.low, "high": m.high, "unit": m.unit.name, "note": m.note}
        for name, m in measures.items()
    }


def measure_arm(
    trials: Trials,
    arm: str,
    sums: SpanSums,
    in_flight: int | None,
    usage: Sequence[Mapping[str, Any]],
    good: NDArray[np.bool_] | None = None,
    how: Repeated | None = None,
) -> dict[str, Measure]:
    """All measures of one arm, from its records and what its spans add up to. `in_flight` None: an open load, in which
    as many were under way as came to be.

    `usage` has rows of `block, arm, cpu_s, peak_memory_bytes`; rows of other arms are passed over. `good` says which
    records count in goodput: answered, and within the objectives of each trial; None means all that are answered. Means
    and medians of ratios are over answered records (ok and degraded); percentiles count a failure as slower than
    everything. Records of one prompt count as one observation in intervals, in those of scores records of one cluster
    of `how`, whose None is the repeats that there are and no clusters. Totals have no interval.
    """
    how = how or Repeated(int(trials.records(["repeat"], arm)["repeat"].nunique()))
    names = measure_names(trials.scorers, how.repeats)
    status = trials.records(["status"], arm)
    if status.empty:
        return {name: _measure(name, Interval(None, None, None, 0, "no records")) for name in names}
    answered = is_answered(status)
    records = _Records(trials, arm, answered, answered if good is None else good, repeated_prompts(trials, arm))
    found = {
        **_times(records),
        **_efficiency(records),
        **_rates(records, in_flight),
        **_concurrency(sums),
        **_price(records, usage),
        **_outcomes(records, sums),
        **_scores(records, how),
    }
    return {name: _measure(name, found[name]) for name in names}


@dataclass(frozen=True, slots=True)
class _Records:
    """An arm's records, a few columns at a time: of a million, one column takes 8 MB.

    `prompts` numbers each record's prompt, as repeats of one prompt are not independent; None where none is repeated.
    """

    trials: Trials
    arm: str
    answered: NDArray[np.bool_]
    good: NDArray[np.bool_]
    prompts: Groups | None

    def columns(self, *names: str) -> pd.DataFrame:
        return self.trials.records(names, self.arm)

    def numbers(self, name: str) -> Floats:
        return numbers(self.columns(name), name)

    def prompts_of(self, counted: NDArray[np.bool_]) -> Groups | None:
        return None if self.prompts is None else self.prompts[counted]

    @property
    def failed(self) -> int:
        return int((~self.answered).sum())


def repeated_prompts(trials: Trials, arm: str) -> Groups | None:
    """For each record of the arm the number of its prompt; None where none is repeated: a repeat has each once."""
    if trials.records(["repeat"], arm)["repeat"].nunique() == 1:
        return None
    return pd.factorize(trials.records(["prompt_id"], arm)["prompt_id"])[0].astype(np.int64)


def unit_of(name: str) -> Unit:
    """The unit of a measure; names that are none of the built-in ones are about scores."""
    return (_UNITS.get(name) or about_score(name))[0]


def direction_of(name: str) -> Direction:
    """Which way a measure improves; of scores, higher is better."""
    return (_UNITS.get(name) or about_score(name))[1]


def _measure(name: str, found: Interval) -> Measure:
    """None of these can be negative, and no score or share above 1, though a t interval of few values may say so."""
    unit = unit_of(name)
    low = found.low if found.low is None else max(0.0, found.low)
    high = found.high if found.high is None or unit not in (SCORE, SHARE) else min(1.0, found.high)
    return Measure(name, found.value, unit, direction_of(name), low, high, found.note)


def _times(records: _Records) -> Intervals:
    answered = records.answered
    found: Intervals = {}
    for name in ("latency_s", "answer_s", "service_s", "work_s", "critical_path_s"):
        given = records.numbers(name)
        counted = answered & np.isfinite(given)
        mean = stats.mean_interval(given[counted], groups=records.prompts_of(counted))
        found[f"mean_{name}"] = mean.noted(f"without {records.failed} failed") if records.failed else mean
    for column, percents in (("latency_s", (50, 90, 95, 99)), ("critical_path_s", (50,))):
        slowest_last = np.where(answered, records.numbers(column), np.inf)
        for percent in percents:
            found[f"p{percent}_{column}"] = stats.quantile_interval(slowest_last, percent / 100, groups=records.prompts)
    return found


def _efficiency(records: _Records) -> Intervals:
    """Medians over answered records of what the DAG allows and what became of it."""
    latency_s, critical_s = records.numbers("latency_s"), records.numbers("critical_path_s")
    timed = records.answered & (latency_s > 0) & (critical_s > 0)
    latency_s, critical_s = latency_s[timed], critical_s[timed]

    def median(values: Floats) -> Interval:
        return stats.quantile_interval(values, 0.5, groups=records.prompts_of(timed))

    return {
        "speed_up_bound": median(records.numbers("work_s")[timed] / critical_s),
        "parallel_efficiency": median(critical_s / latency_s),
        "orchestration_overhead_s": median(latency_s - critical_s),
    }


def _rates(records: _Records, in_flight: int | None) -> Intervals:
    """Completions a second, failed ones too as the note says, and the good ones among them in the same windows."""
    blocks = _completions_by_block(records)
    ends_s = [each for each, _ in blocks]
    is_open = in_flight is None
    if in_flight is None:  # by Little's law (1961)
        busy_s = float(np.nansum(records.numbers("latency_s")))
        in_flight = max(1, math.ceil(busy_s / max(sum(each.max(initial=0.0) for each in ends_s), MOMENT_S)))
    throughput = _of_blocks(stats.batch_means(ends_s, in_flight))
    if is_open:
        throughput = throughput.noted("what came by the schedule, which is not the most that could be")
    return {
        "throughput_per_s": throughput.noted(f"{records.failed} failed among the completions")
        if records.failed
        else throughput,
        "goodput_per_s": _of_blocks(stats.batch_means(ends_s, in_flight, [good for _, good in blocks])),
        "goodput_share": _share(records, records.good),
    }


def _completions_by_block(records: _Records) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """For each block of each session its records' ends, in seconds since it began, and whether they are good."""
    start_s = records.numbers("start_s")
    end_s = records.numbers("due_s") + records.numbers("latency_s")
    block_of = block_numbers(records.trials, records.arm)
    blocks = []
    for block in np.unique(block_of):
        known = np.flatnonzero((block_of == block) & np.isfinite(end_s))
        blocks.append((end_s[known] - start_s[known].min(initial=np.inf), records.good[known]))
    return blocks


def _of_blocks(found: Interval) -> Interval:
    """The same, its note saying what there are too few of and how to get more."""
    return replace(found, note=re.sub(r"(\d+) needed$", r"\1 blocks needed, add --repeats", found.note))


def _concurrency(sums: SpanSums) -> Intervals:
    return {
        "concurrent_agents": _number(sums.within.most),
        "concurrent_agents_mean": _number(sums.within.mean),
        "agents_under_way_mean": _number(sums.across.mean),
        "agents_under_way_max": _number(sums.across.most),
        "parallel_rate": _number(sums.within.shared_share),
        "ideal_parallel_rate": _number(sums.ideal.shared_share),
    }


def _price(records: _Records, usage: Sequence[Mapping[str, Any]]) -> Intervals:
    """CPU seconds a prompt, blocks being the observations, and the most memory of any block."""
    used = pd.DataFrame(list(usage), columns=["block", "arm", "cpu_s", "peak_memory_bytes"])
    used = used[used["arm"] == records.arm]
    cpu_s, memory = (used[name].to_numpy(np.float64, na_value=np.nan) for name in ("cpu_s", "peak_memory_bytes"))
    by_block = pd.Series(cpu_s, index=used["block"]).dropna().groupby(level=0).sum()
    prompts = records.columns("block")["block"].value_counts().reindex(by_block.index).dropna()
    spent = _of_blocks(stats.ratio_of_totals(by_block[prompts.index], prompts, fewest=stats.FEWEST_WINDOWS))
    known = memory[np.isfinite(memory)]
    missing = Interval(None, None, None, 0, "not measured")
    return {
        "cpu_s_per_prompt": spent if spent.value is not None else missing,
        "peak_memory_bytes": _number(float(known.max())) if len(known) else missing,
    }


def _outcomes(records: _Records, sums: SpanSums) -> Intervals:
    status = records.columns("status")["status"]
    struck = records.trials.struck(["arm", "error"])
    errors = struck.loc[struck["arm"] == records.arm, "error"].astype("string")
    sequential = errors.str.startswith(f"{ENGINE_FAULT}:").fillna(False)

    def total(name: str) -> Interval:
        return _number(float(np.nansum(records.numbers(name))))

    return {
        "failed_share": _share(records, (status == "failed").to_numpy(bool)),
        "degraded_share": _share(records, (status == "degraded").to_numpy(bool)),
        "degraded_records": _number(float((status == "degraded").sum())),
        "sequential_records": _number(float(sequential.sum())),
        "tokens_in": total("tokens_in"),
        "tokens_out": total("tokens_out"),
        "cost_usd": total("cost_usd"),
        "retries": _number(float(sums.again)),
        "fallbacks": total("fallbacks"),
        "refused_calls": _number(float(sums.refused)),
        "cached_calls": _number(float(sums.by_agent["cached"].sum())),
    }


def _share(records: _Records, counted: NDArray[np.bool_]) -> Interval:
    """The share of the records, n being the number of prompts."""
    prompts = len(counted) if records.prompts is None else len(np.unique(records.prompts))
    return stats.wilson(float(counted.mean()) * prompts, prompts)


def _scores(records: _Records, how: Repeated) -> Intervals:
    found: Intervals = {}
    for name in records.trials.scorers:
        found |= measure_score(records.columns("status", "prompt_id", SCORE_PREFIX + name), name, how)
    return found


COUNTED = ("calls", "failed", "fallback", "skipped", "cached", "retries", "refused")


def agent_table(sums: SpanSums, layout: Layout) -> pd.DataFrame:
    """One row per agent of the arm whose spans these are, in the layout's order; the index is the agent's name.

    `calls, failed, fallback` count calls, whatever their attempts, `fallback` those that a fallback answered;
    `skipped, cached` what was not called, for want of an input or because an equal call had answered;
    `retries, refused` count attempts beyond a call's first, and those that an open circuit breaker refused;
    `mean_s, p50_s, p95_s` are over calls, attempts summed; `queue_s` is their mean wait;
    `work_share, critical_path_share` are shares of all agents' work and of the records' critical paths;
    `tokens_in, tokens_out` are sums; `simulated_share` is the part of the agent's
    work that was a simulated latency. NaN where there is nothing to say.
    """
    of = sums.by_agent
    counts = {name: of[name].astype(np.int64) for name in COUNTED}
    columns = {
        **counts,
        "mean_s": _quotient(of["work_s"], of["calls"]),
        "p50_s": of["p50_s"],
        "p95_s": of["p95_s"],
        "queue_s": _quotient(of["queue_s"], of["calls"]),
        "work_share": shares(of["work_s"]),
        "critical_path_share": shares(of["critical_s"]),
        "tokens_in": of["tokens_in"].astype(np.int64),
        "tokens_out": of["tokens_out"].astype(np.int64),
        "simulated_share": _quotient(of["simulated_s"], of["work_s"]),
    }
    return pd.DataFrame(columns, index=pd.Index([name for name, _ in layout], name="agent"))


def _quotient(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    return np.where(below > 0, above, np.nan) / np.where(below > 0, below, 1.0)


def _number(value: float | None) -> Interval:
    return Interval(value, None, None, 0, "" if value is not None else stats.NO_VALUES)
