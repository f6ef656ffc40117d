"""Sentences: what the findings say, in words that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quark_bench.compare import Attribution, Comparison, Ratio
from quark_bench.measures import Measure
from quark_bench.report.cells import interval
from quark_bench.report.findings import Findings
from quark_bench.slo import SloResult
from quark_bench.units import COUNT, RATIO, SECONDS, SHARE

VISIBLE_CHANGES = 12
"""Of a breaker, named before it is said how many more there are."""
VISIBLE_IDS = 5
"""Prompt ids named in a sentence before it says how many more there are."""


def headline(findings: Findings) -> str:
    """What was compared and what came out, with interval and n."""
    ended = findings.manifest["conservation"]
    if not ended["ok"] + ended["degraded"]:
        return f"No trial of {findings.manifest['run_id']} gave an answer, so there is nothing to compare"
    found = findings.main_comparison
    if found is None:
        return _one_arm(findings, findings.arms[-1])
    gain = _speed(found.latency, "latency") if found.throughput.value is None else _rate(found.throughput)
    return f"{found.b} against {found.a}: {gain}, {pairs(found)}"


def comparison(found: Comparison) -> str:
    """One comparison in one sentence: throughput, latency, pairs and what could have been seen at all."""
    seen = f", smallest detectable {SHARE.format(found.mde)}" if found.mde is not None else ""
    speed = _speed(found.latency, "latency")
    return f"{found.b} vs {found.a}: {_rate(found.throughput)}, {speed} ({pairs(found)}{seen})"


def pairs(found: Comparison) -> str:
    """`n = 64 prompts`, how many pairs their repeats make, and how many were left out: failed in an arm, or their arms
    in different sessions."""
    repeated = f" in {plural(found.pairs, 'pair')}" if found.pairs != found.latency.n else ""
    lost = f", {plural(found.lost_pairs, 'pair')} left out" if found.lost_pairs else ""
    return f"n = {plural(found.latency.n, 'prompt')}{repeated}{lost}"


def attribution(found: Attribution, what: str) -> str:
    """`throughput gain 6.93x = 1.25x branches x 5.54x prompts in flight`."""
    total, branches, in_flight = (RATIO.format(each.value) for each in (found.total, found.branches, found.in_flight))
    return f"{what} gain {total} = {branches} branches x {in_flight} prompts in flight"


def answers(found: Comparison) -> str:
    """Whether both arms gave the same answers, and to which prompts they did not."""
    if not found.pairs and not found.answers_differ_count:
        return f"{found.b} and {found.a} have none to compare"
    if not found.answers_differ_count:
        return f"{found.b} and {found.a} gave the same answers"
    named = first_named(found.answers_differ, found.answers_differ_count)
    return f"{found.b} and {found.a} differ in {plural(found.answers_differ_count, 'answer')}: {named}"


def first_named(names: Sequence[str], count: int | None = None) -> str:
    """The first few of so many names, and how many more there are."""
    more = (len(names) if count is None else count) - min(VISIBLE_IDS, len(names))
    return ", ".join(names[:VISIBLE_IDS]) + (f" and {COUNT.format(more)} more" if more else "")


def faults(found: Comparison) -> str:
    """How many records of both arms the engine could not run in parallel; empty for none."""
    if not any(found.went_sequential):
        return ""
    a, b = found.went_sequential
    told = f"{plural(a, 'record')} of {found.a} and {COUNT.format(b)} of {found.b}"
    return f"{told} went on sequentially after a fault of the engine"


def breaker(told: Mapping[str, Any]) -> str:
    """`async: breaker 'openai' opened 2 times, refused 31 calls, made 2 probes, closed at the end`."""
    opened, refused = plural(told["opened"], "time"), plural(told["refused"], "call")
    did = f"opened {opened}, refused {refused}, made {plural(told['probes'], 'probe')}, {told['state']} at the end"
    return f"{told['arm']}: breaker {told['breaker']!r} {did}"


def changes(told: Mapping[str, Any]) -> str:
    """`open at 1.20 s, half-open at 31.2 s`: a breaker's first transitions, since the session's start."""
    shown = told["transitions"][:VISIBLE_CHANGES]
    more = len(told["transitions"]) - len(shown)
    rest = f" and {COUNT.format(more)} more" if more else ""
    return ", ".join(f"{phase} at {SECONDS.format(at_s)}" for at_s, phase in shown) + rest


def granularity(manifest: Mapping[str, Any]) -> str:
    """What became one Dask task, and why; empty where nothing was chosen."""
    chosen = manifest.get("granularity") or {}
    if not chosen.get("choice"):
        return ""
    return f"{chosen['choice']}: {chosen['reason']}" if chosen.get("reason") else str(chosen["choice"])


def predictions(manifest: Mapping[str, Any]) -> list[str]:
    """`async: predicted 4.1 s by chunk, 6.9 s by agent; took 4.3 s`, for each arm that could be run both ways."""
    chosen = manifest.get("granularity") or {}
    told = []
    for arm, each in chosen.get("predicted", {}).items():
        if each["agent_s"] is not None:
            by_chunk, by_agent = SECONDS.format(each["chunk_s"]), SECONDS.format(each["agent_s"])
            took = SECONDS.format(chosen.get("took_s", {}).get(arm))
            told.append(f"{arm}: predicted {by_chunk} by chunk, {by_agent} by agent; took {took}")
    return told


def learning(manifest: Mapping[str, Any]) -> str:
    """That later trials knew what earlier ones taught; empty for a run that did not learn."""
    if not (file := manifest["pipeline"].get("learns_in")):
        return ""
    return (
        f"Learned as it went, in {file}: a trial met what those before it had taught, so its arms and repeats do not "
        "compare"
    )


def crashes(manifest: Mapping[str, Any]) -> str:
    """That Dask itself tries again what crashed its worker; empty where it does not."""
    allowed = (manifest.get("cluster") or {}).get("allowed_failures")
    if not allowed:
        return ""
    return (
        f"A prompt that crashes its worker is tried by Dask itself on {allowed} more (the scheduler's "
        "allowed-failures): each try repeats its calls"
    )


def cache(findings: Findings) -> str:
    """How many calls equal ones have answered, and what a cache did not keep; empty for a run without one."""
    told = findings.manifest.get("cache")
    if told is None:
        return ""
    answered = sum(each.value or 0 for arm in findings.arms if (each := findings.measure(arm, "cached_calls")))
    parts = [f"Cache {told['file']}: {plural(answered, 'call')} answered by equal ones"]
    if not_kept := told.get("not_kept"):
        parts.append(f"{plural(not_kept, 'output')} not kept, being no plain data")
    if errors := told.get("errors"):
        parts.append(f"{plural(errors, 'fault')} of the cache, the last one {told['last_error']}")
    return "; ".join([*parts, "latency and throughput of arms that were answered so are not comparable"])


def prices(manifest: Mapping[str, Any]) -> str:
    """That calls count as free because nobody said what they cost; empty where somebody did, or nothing costs."""
    pipeline = manifest["pipeline"]
    return "Cost: no prices given; add --prices FILE" if pipeline.get("price", pipeline) is None else ""


def verdict(result: SloResult) -> str:
    """`met`, `missed`, or `n/a` where the measure has no value."""
    if result.met is None:
        return "n/a"
    return "met" if result.met else "missed"


def slo_value(findings: Findings, result: SloResult) -> str:
    """What was judged, with its interval where it has one, or why it was not; for the parallel rate what the DAG allows
    at best."""
    bounds = interval(result.unit, result.low, result.high)
    parts = [result.unit.format(result.value) + (f" [{bounds}]" if bounds else "")]
    if result.slo.share is not None and result.value is not None:
        parts[0] += " of the trials"
    if result.met is None and result.note:
        parts.append(result.note)
    ideal = findings.measure(result.arm, "ideal_parallel_rate")
    if result.slo.name == "parallel_rate" and ideal is not None and ideal.value is not None:
        parts.append(f"this DAG allows {ideal.unit.format(ideal.value)}")
    return "; ".join(parts)


def outcome(manifest: Mapping[str, Any]) -> str:
    """How the planned trials ended; what did not happen is left out."""
    ended = manifest["conservation"]
    parts = [f"{COUNT.format(ended[name])} {name.replace('_', ' ')}" for name in ENDINGS if ended.get(name)]
    return f"{plural(ended['planned'], 'trial')}: {', '.join(parts) or 'none run'}"


ENDINGS = ("ok", "degraded", "failed", "not_run")
"""Every planned trial is one of these."""


def duration(manifest: Mapping[str, Any]) -> str:
    """How long the run took; `n/a` while it goes on."""
    return SECONDS.format(manifest.get("duration_s"))


def plural(count: float, noun: str) -> str:
    """`1 prompt`, `64 prompts`."""
    return f"{COUNT.format(count)} {noun}" if count == 1 else f"{COUNT.format(count)} {noun}s"


def with_interval(measure: Measure) -> str:
    """`152 ms [148 to 157 ms]`."""
    bounds = interval(measure.unit, measure.low, measure.high)
    return measure.unit.format(measure.value) + (f" [{bounds}]" if bounds else "")


def _one_arm(findings: Findings, arm: str) -> str:
    named = (("median latency", "p50_latency_s"), ("throughput", "throughput_per_s"))
    found = ((label, findings.measure(arm, name)) for label, name in named)
    known = [f"{label} {with_interval(measure)}" for label, measure in found if measure and measure.value is not None]
    return f"{arm}: {', '.join(known)} ({plural(findings.manifest['dataset']['prompts'], 'prompt')})"


def _rate(ratio: Ratio) -> str:
    """`6.93x throughput [6.10x to 7.80x, 10 blocks]`: its interval comes from blocks, not from prompts."""
    if ratio.value is None:
        return f"throughput not compared ({ratio.note})"
    bounds = interval(RATIO, ratio.low, ratio.high)
    stated = f" [{bounds}, {plural(ratio.n, 'block')}]" if bounds else ""
    return f"{RATIO.format(ratio.value)} throughput{stated}{_doubt(ratio)}"


def _speed(ratio: Ratio, what: str) -> str:
    """`latency 1.25x faster [1.20x to 1.30x]`; below 1 the factor is turned over and called slower."""
    if ratio.value is None:
        return f"{what} not compared ({ratio.note})"
    if ratio.value >= 1 or not ratio.value:
        return f"{what} {RATIO.format(ratio.value)} faster{_bounds(ratio.low, ratio.high)}{_doubt(ratio)}"
    low, high = (1 / bound if bound else None for bound in (ratio.high, ratio.low))
    return f"{what} {RATIO.format(1 / ratio.value)} slower{_bounds(low, high)}{_doubt(ratio)}"


def _bounds(low: float | None, high: float | None) -> str:
    return f" [{bounds}]" if (bounds := interval(RATIO, low, high)) else ""


def _doubt(ratio: Ratio) -> str:
    """Says so when the interval holds 1, or when there is none."""
    if ratio.low is None or ratio.high is None:
        return f" (no interval: {ratio.note})" if ratio.note else ""
    return ", no clear difference" if ratio.low <= 1 <= ratio.high else ""
