"""Measures: what a run's records and spans amount to, arm by arm, each with its unit and direction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench import stats
from quark_bench.critical_path import Calls, Layout, calls_of, critical_shares, earliest_ends, shares, under_way
from quark_bench.record import ENGINE_FAULT, REFUSAL, Span
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.units import BYTES, COUNT, DOLLARS, PER_SECOND, RATIO, SCORE, SECONDS, SHARE, TOKENS, Direction, Unit

Intervals = dict[str, Interval]

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
}

_SPAN_COLUMNS = ("session", "arm", "repeat", "block", "chunk", *Span._fields, "worker")

SCORE_PREFIX = "score_"
"""A column `score_<name>` of the records holds what the scorer of that name gave."""


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


def measure_names(scorers: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of all measures of an arm, known before anything has run."""
    return (*_UNITS, *(f"{SCORE_PREFIX}{name}{end}" for name in scorers for end in ("", "_answered")))


def measure_arm(
    records: pd.DataFrame, spans: pd.DataFrame, layout: Layout, in_flight: int, usage: Sequence[Mapping[str, Any]]
) -> dict[str, Measure]:
    """All measures of one arm, from its records (with `score_<name>` columns) and spans.

    `usage` has rows of `block, arm, cpu_s, peak_memory_bytes`; rows and spans of other arms are passed over. Means
    and medians of ratios are over answered records (ok and degraded); percentiles count a failure as slower than
    everything. Records of one prompt count as one observation in intervals. Totals have no interval.
    """
    scorers = [str(name).removeprefix(SCORE_PREFIX) for name in records if str(name).startswith(SCORE_PREFIX)]
    if records.empty:
        return {name: _measure(name, Interval(None, None, None, 0, "no records")) for name in measure_names(scorers)}
    spans = _spans_of(records, spans)
    calls = calls_of(spans, layout)
    found = {
        **_times(records),
        **_efficiency(records),
        **_rates(records, in_flight),
        **_concurrency(spans, calls, layout),
        **_price(records, usage),
        **_outcomes(records, spans),
        **_scores(records, scorers),
    }
    return {name: _measure(name, found[name]) for name in measure_names(scorers)}


def unit_of(name: str) -> Unit:
    """The unit of a measure; names that are none of the built-in ones are scores."""
    return _UNITS.get(name, (SCORE, Direction.HIGHER))[0]


def _measure(name: str, found: Interval) -> Measure:
    """None of these can be negative, and no score or share above 1, though a t interval of few values may say so."""
    unit, direction = _UNITS.get(name, (SCORE, Direction.HIGHER))
    low = found.low if found.low is None else max(0.0, found.low)
    high = found.high if found.high is None or unit not in (SCORE, SHARE) else min(1.0, found.high)
    return Measure(name, found.value, unit, direction, low, high, found.note)


def _times(records: pd.DataFrame) -> Intervals:
    answered, prompts = _answered(records), _prompts(records)
    failed = int((~answered).sum())
    found: Intervals = {}
    for name in ("latency_s", "answer_s", "service_s", "work_s", "critical_path_s"):
        given = _numbers(records, name)
        counted = answered & np.isfinite(given)
        mean = stats.mean_interval(given[counted], groups=prompts[counted])
        found[f"mean_{name}"] = mean.noted(f"without {failed} failed") if failed else mean
    for column, percents in (("latency_s", (50, 90, 95, 99)), ("critical_path_s", (50,))):
        slowest_last = np.where(answered, _numbers(records, column), np.inf)
        for percent in percents:
            found[f"p{percent}_{column}"] = stats.quantile_interval(slowest_last, percent / 100, groups=prompts)
    return found


def _efficiency(records: pd.DataFrame) -> Intervals:
    """Medians over answered records of what the DAG allows and what became of it."""
    prompts = _prompts(records)
    latency_s, work_s, critical_s = (_numbers(records, name) for name in ("latency_s", "work_s", "critical_path_s"))
    timed = _answered(records) & (latency_s > 0) & (critical_s > 0)

    def median(values: Floats) -> Interval:
        return stats.quantile_interval(values, 0.5, groups=prompts[timed])

    return {
        "speed_up_bound": median(work_s[timed] / critical_s[timed]),
        "parallel_efficiency": median(critical_s[timed] / latency_s[timed]),
        "orchestration_overhead_s": median(latency_s[timed] - critical_s[timed]),
    }


def _rates(records: pd.DataFrame, in_flight: int) -> Intervals:
    """Completions a second, failed ones too as the note says, and the answered ones among them in the same windows."""
    start_s = _numbers(records, "start_s")
    ended = records[["session", "block"]].assign(
        start_s=start_s, end_s=start_s + _numbers(records, "latency_s"), answered=_answered(records)
    )
    by_block = [block for _, block in ended.dropna().groupby(["session", "block"])]
    blocks_s = [block["end_s"].to_numpy() - block["start_s"].min() for block in by_block]
    answered = [block["answered"].to_numpy() for block in by_block]
    throughput = _of_blocks(stats.batch_means(blocks_s, in_flight))
    failed = int((~_answered(records)).sum())
    return {
        "throughput_per_s": throughput.noted(f"{failed} failed among the completions") if failed else throughput,
        "goodput_per_s": _of_blocks(stats.batch_means(blocks_s, in_flight, answered)),
    }


def _of_blocks(found: Interval) -> Interval:
    """The same, its note saying what there are too few of and how to get more."""
    return replace(found, note=re.sub(r"(\d+) needed$", r"\1 blocks needed, add --repeats", found.note))


def _concurrency(spans: pd.DataFrame, calls: Calls, layout: Layout) -> Intervals:
    within = under_way(calls.record, calls.start_s, calls.end_s)
    durations_s = calls.durations_s
    ends_s = earliest_ends(durations_s, layout)
    record = np.repeat(np.arange(calls.records), calls.agents)
    ideal = under_way(record, (ends_s - durations_s).ravel(), ends_s.ravel())
    blocks = spans.iloc[calls.row].groupby(["session", "block"], sort=False).ngroup()
    across = under_way(blocks.to_numpy().astype(np.int64), calls.start_s, calls.end_s)
    return {
        "concurrent_agents": _number(within.most),
        "concurrent_agents_mean": _number(within.mean),
        "agents_under_way_mean": _number(across.mean),
        "agents_under_way_max": _number(across.most),
        "parallel_rate": _number(within.shared_share),
        "ideal_parallel_rate": _number(ideal.shared_share),
    }


def _price(records: pd.DataFrame, usage: Sequence[Mapping[str, Any]]) -> Intervals:
    """CPU seconds a prompt, blocks being the observations, and the most memory of any block."""
    used = pd.DataFrame(list(usage), columns=["block", "arm", "cpu_s", "peak_memory_bytes"])
    used = used[used["arm"].isin(records["arm"].unique())]
    cpu_s, memory = (used[name].to_numpy(np.float64, na_value=np.nan) for name in ("cpu_s", "peak_memory_bytes"))
    by_block = pd.Series(cpu_s, index=used["block"]).dropna().groupby(level=0).sum()
    prompts = records.groupby("block").size().reindex(by_block.index).dropna()
    spent = _of_blocks(stats.ratio_of_totals(by_block[prompts.index], prompts, fewest=stats.FEWEST_WINDOWS))
    known = memory[np.isfinite(memory)]
    missing = Interval(None, None, None, 0, "not measured")
    return {
        "cpu_s_per_prompt": spent if spent.value is not None else missing,
        "peak_memory_bytes": _number(float(known.max())) if len(known) else missing,
    }


def _outcomes(records: pd.DataFrame, spans: pd.DataFrame) -> Intervals:
    prompts = len(np.unique(_prompts(records)))

    def share(status: str) -> Interval:
        return stats.wilson(float((records["status"] == status).mean()) * prompts, prompts)

    def total(name: str) -> Interval:
        return _number(float(np.nansum(_numbers(records, name))))

    refused = _tells(spans["error"], REFUSAL)
    again = ((spans["attempt"] > 1) & ~spans["status"].isin(("skipped", "fallback")) & ~refused).sum()
    return {
        "failed_share": share("failed"),
        "degraded_share": share("degraded"),
        "degraded_records": _number(float((records["status"] == "degraded").sum())),
        "sequential_records": _number(float(_tells(records["error"], ENGINE_FAULT).sum())),
        "tokens_in": total("tokens_in"),
        "tokens_out": total("tokens_out"),
        "cost_usd": total("cost_usd"),
        "retries": _number(float(again)),
        "fallbacks": total("fallbacks"),
        "refused_calls": _number(float(refused.sum())),
    }


def _scores(records: pd.DataFrame, scorers: Sequence[str]) -> Intervals:
    answered, prompts = _answered(records), _prompts(records)
    found: Intervals = {}
    for name in scorers:
        for end, given in (("", score_or_zero(records, name)), ("_answered", _numbers(records, SCORE_PREFIX + name))):
            counted = np.isfinite(given) & (answered | (end == ""))
            found[f"{SCORE_PREFIX}{name}{end}"] = stats.mean_interval(given[counted], groups=prompts[counted])
    return found


def score_or_zero(records: pd.DataFrame, scorer: str) -> Floats:
    """The scores by that scorer, 0 for a failed record and NaN for an answered one that was not scored."""
    return np.where(_answered(records), _numbers(records, SCORE_PREFIX + scorer), 0.0)


def agent_table(records: pd.DataFrame, spans: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """One row per agent of the records' arm, in the layout's order; the index is the agent's name.

    `calls, failed, fallback, skipped` count calls, whatever their attempts, `fallback` those that a fallback
    answered; `mean_s, p50_s, p95_s` are over calls, attempts
    summed; `queue_s` is their mean wait; `work_share, critical_path_share` are shares of all agents' work and of
    the records' critical paths; `tokens_in, tokens_out` are sums; `simulated_share` is the part of the agent's
    work that was a simulated latency. NaN where there is nothing to say.
    """
    spans = _spans_of(records, spans)
    calls = calls_of(spans, layout)
    names = pd.Index([name for name, _ in layout], name="agent")
    by_agent = _per_call(spans, calls).groupby("agent")
    work_s = calls.durations_s.sum(axis=0)
    simulated_s = by_agent["simulated_s"].sum().reindex(range(len(names))).to_numpy()
    skipped = spans.loc[spans["status"] == "skipped", "agent"].value_counts()
    columns = {
        "calls": by_agent.size(),
        "failed": by_agent["failed"].sum(),
        "fallback": by_agent["fallback"].sum(),
        "skipped": pd.Series(skipped.reindex(names).to_numpy()),
        "mean_s": by_agent["s"].mean(),
        "p50_s": by_agent["s"].quantile(0.50),
        "p95_s": by_agent["s"].quantile(0.95),
        "queue_s": by_agent["queue_s"].mean(),
        "work_share": pd.Series(shares(work_s)),
        "critical_path_share": pd.Series(critical_shares(calls.durations_s, layout)),
        "tokens_in": by_agent["tokens_in"].sum(),
        "tokens_out": by_agent["tokens_out"].sum(),
        "simulated_share": pd.Series(np.where(work_s > 0, simulated_s, np.nan) / np.where(work_s > 0, work_s, 1.0)),
    }
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(names))).set_axis(names)
    counts = ["calls", "failed", "fallback", "skipped", "tokens_in", "tokens_out"]
    return table.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, np.int64))


def _per_call(spans: pd.DataFrame, calls: Calls) -> pd.DataFrame:
    """One row per call: its agent's number, the sums over its attempts, whether all of them failed or one was its
    fallback's."""
    taken = spans.iloc[calls.row]
    attempts = pd.DataFrame(
        {name: _numbers(taken, name) for name in ("queue_s", "tokens_in", "tokens_out", "simulated_s")}
    )
    attempts["agent"] = calls.agent
    attempts["s"] = calls.end_s - calls.start_s
    attempts["failed"] = (taken["status"] == "failed").to_numpy(bool)
    attempts["fallback"] = (taken["status"] == "fallback").to_numpy(bool)
    how = dict.fromkeys(attempts, "sum") | {"agent": "first", "failed": "all", "fallback": "any"}
    return attempts.groupby(calls.record * calls.agents + calls.agent).agg(how)


def _spans_of(records: pd.DataFrame, spans: pd.DataFrame) -> pd.DataFrame:
    """The spans of the records' arms; an empty table gets the columns that it may lack."""
    known = spans.reindex(columns=_SPAN_COLUMNS) if spans.empty else spans
    return known[:0] if records.empty else known[known["arm"].isin(records["arm"].unique())]


def _tells(errors: pd.Series, kind: str) -> pd.Series:
    """Which errors are of that kind; a missing one is not."""
    return errors.astype("string").str.startswith(f"{kind}:").fillna(False).astype(bool)


def _answered(records: pd.DataFrame) -> NDArray[np.bool_]:
    return (records["status"] != "failed").to_numpy(bool)


def _prompts(records: pd.DataFrame) -> Groups:
    """The number of each record's prompt: repeats of one prompt are not independent."""
    return pd.factorize(records["prompt_id"])[0].astype(np.int64)


def _numbers(frame: pd.DataFrame, name: str) -> Floats:
    """A column as floats, NaN where nothing stands."""
    return frame[name].to_numpy(np.float64, na_value=np.nan)


def _number(value: float | None) -> Interval:
    return Interval(value, None, None, 0, "" if value is not None else stats.NO_VALUES)
