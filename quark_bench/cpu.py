"""CPU: what a prompt needs of it, apart from what its processes take anyhow while they run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from quark_bench.trials import Trials

APART = 2.0
"""Seconds a prompt differ by this factor between arms: with less, the two parts cannot be told from each other."""


def cpu_of_prompt(trials: Trials, arms: Collection[str], usage: Sequence[Mapping[str, Any]]) -> float | None:
    """CPU seconds of a prompt, of arms that do the same work; None where they were not measured.

    Each arm's CPU time is prompts x what one needs + seconds x what the processes take in any second (heartbeats,
    profiling, garbage), both at least 0, by least squares. Source: non-negative least squares, Lawson and Hanson 1974.
    Where arms took equally long for a prompt, it is the least CPU time for a prompt in any: all of it counts then.
    """
    used = pd.DataFrame(list(usage), columns=["block", "arm", "cpu_s"])
    used = used[used["arm"].isin(list(arms)) & used["cpu_s"].notna()]
    records = trials.records(["session", "block", "due_s", "start_s", "latency_s"])
    ended = records.assign(end_s=records["due_s"] + records["latency_s"]).groupby(["block", "session"])
    spent = pd.DataFrame({"prompts": ended.size(), "seconds": ended["end_s"].max() - ended["start_s"].min()})
    spent = spent.groupby(level="block").sum()
    by_block = used.groupby(["arm", "block"], observed=True)["cpu_s"].sum().reset_index("arm")
    by_arm = by_block.join(spent, how="inner").groupby("arm").sum()
    if by_arm.empty:
        return None
    prompts, seconds, cpu_s = (by_arm[name].to_numpy(np.float64) for name in ("prompts", "seconds", "cpu_s"))
    each_s = seconds / prompts
    if each_s.max() < APART * each_s.min():
        return float((cpu_s / prompts).min())
    # Weighed by prompts, as an arm of more of them is known better.
    scale = np.sqrt(prompts)
    (of_prompt_s, _), _ = nnls(
        np.column_stack([np.ones(len(prompts)), each_s]) * scale[:, None], cpu_s / prompts * scale
    )
    return float(of_prompt_s)
