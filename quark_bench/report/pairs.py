"""Pairs: what each prompt took in the first arm and in the last one, and which prompts lost most."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from quark_bench.report.findings import Findings
from quark_bench.trials import is_answered

MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class PromptPair:
    """A prompt's latencies in both arms, medians over repeats, in seconds."""

    prompt_id: str
    a_s: float
    b_s: float

    @property
    def gain(self) -> float:
        """How many times faster b is."""
        return self.a_s / self.b_s


@dataclass(frozen=True, slots=True)
class Pairs:
    """Arms `a` and `b`; `times` has a row per prompt that both answered, indexed by its id, the columns `a_s, b_s`."""

    a: str
    b: str
    times: pd.DataFrame

    @property
    def slower(self) -> int:
        """Prompts that b took longer for."""
        return int((self.times["b_s"] > self.times["a_s"]).sum())

    def worst(self) -> list[PromptPair]:
        """The prompts that gained least from b, the worst first."""
        gains = (self.times["a_s"] / self.times["b_s"]).nsmallest(MOST_LISTED)
        return [PromptPair(str(name), *map(float, self.times.loc[name, ["a_s", "b_s"]])) for name in gains.index]


def pairs_of(findings: Findings) -> Pairs | None:
    """The first arm beside the last. None with one arm, and where no prompt was answered in both."""
    if len(findings.arms) < 2:
        return None
    a, b = findings.arms[0], findings.arms[-1]
    times = pd.concat([_medians_s(findings, arm) for arm in (a, b)], axis=1, join="inner", keys=["a_s", "b_s"])
    times = times[(times["a_s"] > 0) & (times["b_s"] > 0)]
    return None if times.empty else Pairs(a, b, times)


def _medians_s(findings: Findings, arm: str) -> pd.Series[float]:
    timed = findings.trials.records(["prompt_id", "status", "latency_s"], arm)
    timed = timed[is_answered(timed)]
    by_prompt = timed.set_index("prompt_id")["latency_s"]
    return by_prompt if by_prompt.index.is_unique else by_prompt.groupby(level=0, sort=False).median()
