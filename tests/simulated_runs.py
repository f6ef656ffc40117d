"""Runs as they would have been left on disk, for the tests of what is told about them."""

import heapq
import random
from dataclasses import replace

import pandas as pd

from quark_bench.arm_run import ArmRun
from quark_bench.compare import attribute, compare_arms
from quark_bench.dataset import Prompt
from quark_bench.measures import agent_table, measure_arm
from quark_bench.plan import Arm, Strategy, make_plan
from quark_bench.report.findings import Findings
from quark_bench.schedule import earliest_ends, longest_path
from quark_bench.slo import DEFAULT_SLOS, check, parse_slo
from quark_bench.span_sums import sum_spans
from quark_bench.stats import Interval
from quark_bench.trials import FrameTrials
from quark_bench.what_if import what_if

from . import gate_results

LAYOUT = (
    ("nlu", ()),
    ("memory", ()),
    ("retrieval", ()),
    ("reasoning", ("nlu", "memory", "retrieval")),
    ("planning", ("reasoning",)),
    ("metrics", ("planning",)),
    ("self_improvement", ("planning", "reasoning", "retrieval")),
)
CATEGORIES = ("fact", "howto", "number")
MEDIANS_S = (0.020, 0.030, 0.050, 0.120, 0.060, 0.005, 0.010)
ARMS = (
    Arm("sync", Strategy.SEQUENTIAL, 1),
    Arm("parallel", Strategy.PARALLEL, 1),
    Arm("async", Strategy.PARALLEL, 8),
    Arm("async-16", Strategy.PARALLEL, 16),
)
MARKUP = (
    "</title></style></script><script>alert('x')</script><img src=x onerror=alert(1)>]]><!-- [red]& \"q\" 'q'[/red] "
    "$\\frac{a_1$ {{7*7}} <a href=javascript:alert(2)>javascript:alert(3)</a> \x1b[31m\x9b\u202e"
)


def simulated(
    arms=ARMS[:3], prompts=64, repeats=1, failing=(), layout=LAYOUT, error="TimeoutError: after 60 s", ending=""
):
    """Records and spans as a run with these latencies would leave them; `failing` are positions of prompts."""
    plan = make_plan(arms, prompts, repeats=repeats)
    names = [name for name, _ in layout]
    needs = [[names.index(need) for need in needed] for _, needed in layout]
    records, spans, clock_s = [], [], 0.0
    for block in plan.blocks:
        arm = plan.arm(block.arm)
        slots = [clock_s] * arm.in_flight
        for prompt in range(block.start, block.stop):
            start_s = heapq.heappop(slots)
            draws = random.Random(f"{prompt} {block.repeat}")
            noise = random.Random(f"{prompt} {block.repeat} {arm.name}")
            taken_s = [median * draws.lognormvariate(0, 0.3) * noise.lognormvariate(0, 0.03) for median in MEDIANS_S]
            ends_s = earliest_ends(taken_s, needs)
            if arm.strategy is Strategy.SEQUENTIAL:
                ends_s = [sum(taken_s[: index + 1]) for index in range(len(taken_s))]
            latency_s = max(ends_s) + 0.002
            failed = prompt in failing
            shared = {"arm": arm.name, "repeat": block.repeat, "block": block.index, "chunk": 0, "session": 0}
            prompt_id = f"q-{prompt + 1:03d}{ending}"
            for name, took_s, end_s in zip(names, taken_s, ends_s, strict=True):
                gone = failed and name == "reasoning"
                asks = name == "reasoning"
                span = {
                    "prompt_id": prompt_id,
                    "agent": name,
                    "attempt": 1,
                    "status": "failed" if gone else "ok",
                    "start_s": start_s + end_s - took_s + 1e-9,
                    "end_s": start_s + end_s,
                    "queue_s": 0.001,
                    "error": error if gone else None,
                    "tokens_in": 120 * asks,
                    "tokens_out": 40 * asks,
                    "first_token_s": None,
                    "simulated_s": took_s * 0.9,
                }
                spans.append(shared | span | {"worker": "w-0"})
            answer = None if failed else f"the answer to {prompt_id}"
            record = {
                "prompt_id": prompt_id,
                "category": CATEGORIES[prompt % len(CATEGORIES)],
                "status": "failed" if failed else "ok",
                "answer": answer,
                "error": error if failed else None,
                "error_agent": "reasoning" if failed else None,
                "due_s": start_s,
                "start_s": start_s,
                **dict.fromkeys(("latency_s", "answer_s", "service_s"), latency_s),
                "work_s": sum(taken_s),
                "critical_path_s": longest_path(taken_s, needs),
                "simulated_s": sum(taken_s) * 0.9,
                "attempts": 7,
                "fallbacks": 0,
                "executions": 1,
                "tokens_in": 120,
                "tokens_out": 40,
                "cost_usd": 0.0,
            }
            score = 0.0 if failed else 0.4 + 0.5 * draws.random()
            records.append(shared | record | {"worker": "w-0", "score_f1": score})
            heapq.heappush(slots, start_s + latency_s)
            clock_s = max(clock_s, start_s + latency_s)
    return pd.DataFrame(records), pd.DataFrame(spans), clock_s


def made(arms=ARMS[:3], prompts=64, repeats=1, failing=(), **more):
    """The findings of such a run."""
    records, spans, took_s = simulated(arms, prompts, repeats, failing, **more)
    return weighed(arms, prompts, repeats, more.get("layout", LAYOUT), records, spans, took_s)


def weighed(arms, prompts, repeats, layout, records, spans, took_s):
    """The findings of a run that left these tables."""
    names = [arm.name for arm in arms]
    usage = [
        {"block": block, "arm": arm, "cpu_s": 0.004 * len(rows), "peak_memory_bytes": 1.9e8}
        for (block, arm), rows in records.groupby(["block", "arm"])
    ]
    trials = FrameTrials(records, spans)
    sums = {name: sum_spans(trials, name, layout) for name in names}
    measures = {arm.name: measure_arm(trials, arm.name, sums[arm.name], arm.in_flight, usage) for arm in arms}
    comparisons = [compare_arms(records, names[0], b, measures[names[0]], measures[b]) for b in names[1:]]
    throughput, latency = attribute(records) if len(names) > 2 else (None, None)
    slos = [*DEFAULT_SLOS, parse_slo("sync.p95_latency_s<200ms")] if "sync" in names else list(DEFAULT_SLOS)
    last, rate = arms[-1], Interval(measures[names[-1]]["throughput_per_s"].value, None, None, 0)
    arm_run = ArmRun(last.name, last.strategy is Strategy.SEQUENTIAL, False, last.in_flight, rate, None, 2)
    return Findings(
        manifest=manifest(arms, records, prompts, repeats, took_s, layout),
        trials=trials,
        measures=measures,
        comparisons=comparisons,
        attribution=throughput,
        latency_attribution=latency,
        slos=check(slos, measures, names[-1]),
        agents={name: agent_table(sums[name], layout) for name in names},
        prompts={
            prompt_id: Prompt(prompt_id, f"What is number {prompt_id}?", category, ("a reference",))
            for prompt_id, category in records.groupby("prompt_id")["category"].first().items()
        },
        what_if=what_if(trials, arm_run, layout, layout[-1][0], {}),
    )


def with_tables(findings, records=None, spans=None):
    """The same run with another table."""
    given = findings.trials
    records, spans = (given.all_records if records is None else records), (given.all_spans if spans is None else spans)
    return replace(findings, trials=FrameTrials(records, spans))


def manifest(arms, records, prompts, repeats, took_s, layout):
    counts = records["status"].value_counts()
    return {
        "format": 1,
        "run_id": "20260102-030405-a1b2c3",
        "state": "complete",
        "started": "2026-01-02T03:04:05Z",
        "ended": "2026-01-02T03:05:01Z",
        "duration_s": took_s,
        "command": "quark-bench run prompts.jsonl --pipeline quark --latency demo",
        "dataset": {"name": "quickstart", "path": "datasets/quickstart.jsonl", "hash": "ab12" * 16, "prompts": prompts},
        "pipeline": {
            "name": "quark",
            "key": "cd34" * 16,
            "answer": "reasoning",
            "latency_profile": "demo",
            "model": "offline",
            "agents": [{"name": name, "needs": list(needed)} for name, needed in layout],
        },
        "arms": [{"name": arm.name, "strategy": arm.strategy.value, "in_flight": arm.in_flight} for arm in arms],
        "repeats": repeats,
        "seed": 0,
        "warmup": 8,
        "granularity": {
            "choice": "chunk",
            "reason": "a hop costs 10 ms and the median agent lasts 30 ms",
            "chunk_size": {arm.name: 4 for arm in arms},
            "predicted": {arm.name: {"chunk_s": 4.1, "agent_s": None if arm.name == "sync" else 6.9} for arm in arms},
            "took_s": {arm.name: 4.3 for arm in arms},
        },
        "cluster": {"on": "local", "address": "tcp://127.0.0.1:1", "workers": 2, "threads": 2, "dashboard": ""},
        "provenance": {"python": "3.11.7", "dask": "2026.1.1", "commit": "a518643 (clean)", "cpu": "2 cores"},
        "usage": [],
        "conservation": {
            "planned": len(records),
            "ok": int(counts.get("ok", 0)),
            "degraded": int(counts.get("degraded", 0)),
            "failed": int(counts.get("failed", 0)),
            "not_run": 0,
        },
    }


HOSTILE_LAYOUT = tuple(
    (name.replace("reasoning", MARKUP), tuple(need.replace("reasoning", MARKUP) for need in needed))
    for name, needed in LAYOUT
)
HOSTILE_ARMS = tuple(replace(arm, name=f"{arm.name} {MARKUP}") for arm in ARMS[:3])


def hostile_run(text=MARKUP, layout=HOSTILE_LAYOUT, arms=HOSTILE_ARMS):
    """A run in which every text from outside is this one, or ends with it."""
    run = made(arms=arms, failing=(0, 3), layout=layout, error=text, ending=f" {text}")
    records, spans = run.trials.all_records, run.trials.all_spans
    records = records.assign(
        answer=records["answer"].where(records["answer"].isna(), text),
        error_agent=records["error_agent"].where(records["error_agent"].isna(), text),
        category=records["category"] + text,
    )
    spans = spans.assign(status=spans["status"].where(spans["agent"] != text, text))
    facts = {**run.manifest, "command": text, "provenance": {text: text}, "run_id": text, "state": text}
    facts |= {"started": text, "chaos": f"{text.replace(':', '').replace(';', '')}: error=0.5"}
    facts["dataset"] = facts["dataset"] | {"name": text, "path": f"/{text}"}
    facts["pipeline"] = facts["pipeline"] | {"name": text, "model": text, "latency_profile": text, "learns_in": text}
    facts["granularity"] = {"choice": text, "reason": text}
    facts["cache"] = {"file": text, "errors": 1, "last_error": text}
    facts["cluster"] = dict.fromkeys(facts["cluster"], text)
    facts["gating"] = {"provenance": {text: f"another {text}", "python": text}}
    facts["arms"] = [arm | {"pipeline_key": text} for arm in facts["arms"]]
    facts["gate"] = gate_results.hostile(text).as_data()
    slos = [replace(result, slo=replace(result.slo, text=text)) for result in run.slos]
    comparisons = [replace(each, answers_differ=(text,), answers_differ_count=1) for each in run.comparisons]
    prompts = {each: Prompt(each, text, text, (text,), (text,), {text: text}) for each in run.prompts}
    more = {"slos": slos, "comparisons": comparisons, "prompts": prompts}
    return replace(with_tables(run, records, spans), manifest=facts, **more)
