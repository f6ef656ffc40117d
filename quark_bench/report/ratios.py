"""Ratios: how many times better every arm is than the first, as a whole and agent by agent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quark_bench import stats
from quark_bench.changes import agent_durations
from quark_bench.compare import Ratio
from quark_bench.pairing import comparable_times, levels_of, pair_up
from quark_bench.report.findings import Findings
from quark_bench.trials import FrameTrials

MOST_PROMPTS = 500
"""Prompts whose calls are compared agent by agent: in a long run, evenly spread over it."""
MOST_AGENTS = 12
"""Agents that are compared, those that take most of the work first."""


@dataclass(frozen=True, slots=True)
class ArmRatios:
    """An arm against the first one, above 1 where it is better: `agents` by how long their calls take."""

    a: str
    b: str
    throughput: Ratio
    latency: Ratio
    agents: dict[str, Ratio]


def ratios(findings: Findings) -> tuple[ArmRatios, ...]:
    """Every comparison of the run with its agents; agents that either arm never called are left out."""
    if not findings.comparisons:
        return ()
    calls = _calls(findings)
    return tuple(
        ArmRatios(each.a, each.b, each.throughput, each.latency, _of_agents(findings, calls, each.a, each.b))
        for each in findings.comparisons
    )


def _calls(findings: Findings) -> pd.DataFrame:
    """What the agents took in at most MOST_PROMPTS prompts, a row per trial and agent."""
    ids = findings.trials.records(["prompt_id"], findings.arms[0])["prompt_id"].astype(str).to_numpy()
    spread = np.linspace(0, len(ids) - 1, min(len(ids), MOST_PROMPTS)).round().astype(np.int64)
    records, spans = findings.trials.of_prompts(sorted(set(ids[spread])))
    return agent_durations(FrameTrials(records, spans)).assign(status="ok", answer=None, start_s=0.0)


def _of_agents(findings: Findings, calls: pd.DataFrame, a: str, b: str) -> dict[str, Ratio]:
    found = {}
    for name in _busiest(findings, b):
        timed = comparable_times(pair_up(calls[calls["agent"] == name].drop(columns="agent"), (a, b)), 2)
        ratio = stats.paired_log_ratio(timed["latency_s_0"], timed["latency_s_1"], levels_of(timed))
        if ratio.value is not None:
            found[name] = ratio
    return found


def _busiest(findings: Findings, arm: str) -> list[str]:
    """The agents that take most of an arm's work, in the pipeline's order."""
    names = [name for name, _ in findings.layout]
    if arm not in findings.agents:
        return names[:MOST_AGENTS]
    work = findings.agents[arm]["work_share"].fillna(0.0)
    kept = set(work.sort_values(ascending=False, kind="stable").index[:MOST_AGENTS])
    return [name for name in names if name in kept]
