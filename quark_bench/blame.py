"""Blame: of the wrong answers, at which agent it first went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.critical_path import Layout
from quark_bench.score_measures import score_or_zero
from quark_bench.stats import Interval, wilson
from quark_bench.trials import SCORE_PREFIX, Trials, is_answered, numbers

WRONG_BELOW = 0.5
"""An answer with a lower score is wrong: of pass or fail that is 0, of a share less than half."""
NAMED = 3
"""Prompts that are named beside each agent."""
TRIAL = ["repeat", "prompt_id"]

Mask = NDArray[np.bool_]


class Judge(NamedTuple):
    """By which scorer an agent is judged, and below which score it went wrong."""

    agent: str
    scorer: str
    wrong_below: float


@dataclass(frozen=True, slots=True)
class Blamed:
    """At this agent so many of an arm's wrong trials first went wrong, in `failed` of them because it failed; None is
    none of the judged agents. `share` is of the arm's wrong trials; `prompts` are the first of them."""

    agent: str | None
    trials: int
    failed: int
    share: Interval
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArmBlame:
    """Of an arm's judged trials those that were wrong, and where: agents in the order of the DAG, None last."""

    arm: str
    trials: int
    wrong: int
    blamed: tuple[Blamed, ...]


@dataclass(frozen=True, slots=True)
class Blame:
    """Where wrong answers came from. `scorer` says which are wrong; `answer` is the agent that gives them, which is to
    be suspected where no judged agent went wrong before."""

    scorer: str
    answer: str
    judges: tuple[Judge, ...]
    arms: tuple[ArmBlame, ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "scorer": self.scorer,
            "answer": self.answer,
            "judges": {each.agent: {"scorer": each.scorer, "wrong_below": each.wrong_below} for each in self.judges},
            "arms": [_arm_as_data(each) for each in self.arms],
        }


def _arm_as_data(told: ArmBlame) -> dict[str, Any]:
    blamed = [
        {
            "agent": each.agent,
            "trials": each.trials,
            "failed": each.failed,
            "share": {"value": each.share.value, "low": each.share.low, "high": each.share.high},
            "prompts": list(each.prompts),
        }
        for each in told.blamed
    ]
    return {"arm": told.arm, "trials": told.trials, "wrong": told.wrong, "blamed": blamed}


def blame(
    trials: Trials, arms: Iterable[str], scorer: str, layout: Layout, answer: str, judges: Sequence[Judge]
) -> Blame:
    """Who made wrong answers wrong: the first agent in the DAG's order that failed, or whose own score is below its
    limit.

    Wrong is a trial that failed, and an answer with a score below WRONG_BELOW. An agent that the answer does not come
    from made none wrong, though it may have failed the trial. Where a fallback answered, its output is judged.
    """
    before = _ancestors(layout, answer)
    judges = [each for each in judges if each.agent in before]
    told = tuple(_of_arm(trials, arm, scorer, [name for name, _ in layout], before, judges) for arm in arms)
    return Blame(scorer, answer, tuple(judges), told)


def _ancestors(layout: Layout, answer: str) -> frozenset[str]:
    """The answer agent and all that it needs, directly or not."""
    needs, found, waiting = dict(layout), set[str](), [answer]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(needs[name])
    return frozenset(found)


def _of_arm(
    trials: Trials, arm: str, scorer: str, agents: Sequence[str], before: frozenset[str], judges: Sequence[Judge]
) -> ArmBlame:
    names = [f"{SCORE_PREFIX}{name}" for name in (scorer, *(each.scorer for each in judges))]
    records = trials.records(["status", *TRIAL, *names], arm)
    failed, score = ~is_answered(records), score_or_zero(records, scorer)
    wrong = failed | (score < WRONG_BELOW)
    judged = int((failed | np.isfinite(score)).sum())
    records, failed = records[wrong].reset_index(drop=True), failed[wrong]
    fell = _failed_agents(trials, arm, records)
    limits = {each.agent: each for each in judges}
    at_fault: dict[str, Mask] = {}
    for agent in agents:
        mask = fell.get(agent, np.zeros(len(records), bool))
        if agent in limits:
            mask = mask | (numbers(records, SCORE_PREFIX + limits[agent].scorer) < limits[agent].wrong_below)
        at_fault[agent] = mask if agent in before else mask & failed
    return ArmBlame(arm, judged, len(records), tuple(_blamed(records, at_fault, fell, limits)))


def _failed_agents(trials: Trials, arm: str, wrong: pd.DataFrame) -> dict[str, Mask]:
    """By agent, in which of the wrong trials it failed in the end; agents that never did are left out."""
    struck = wrong[(wrong["status"] != "ok").to_numpy(bool)]
    if struck.empty:
        return {}
    places = pd.MultiIndex.from_frame(wrong[TRIAL].astype({"prompt_id": str}))
    ids, found = frozenset(struck["prompt_id"].astype(str)), dict[str, Mask]()
    for part in trials.spans([*TRIAL, "agent", "attempt", "status"], arm):
        spans = part[part["prompt_id"].isin(ids)].astype({"prompt_id": str, "agent": str, "status": str})
        last = spans.sort_values("attempt", kind="stable").drop_duplicates([*TRIAL, "agent"], keep="last")
        for agent, rows in last[last["status"] == "failed"].groupby("agent"):
            mask = places.isin(pd.MultiIndex.from_frame(rows[TRIAL]))
            found[str(agent)] = found.get(str(agent), np.zeros(len(wrong), bool)) | mask
    return found


def _blamed(
    wrong: pd.DataFrame, at_fault: Mapping[str, Mask], fell: Mapping[str, Mask], limits: Mapping[str, Judge]
) -> Iterator[Blamed]:
    """The judged agents that the answer comes from, those that failed, and last nobody."""
    left = np.ones(len(wrong), bool)
    for agent, mask in at_fault.items():
        here = mask & left
        left &= ~mask
        if agent in limits or here.any():
            yield _counted(wrong, agent, here, fell.get(agent))
    yield _counted(wrong, None, left, None)


def _counted(wrong: pd.DataFrame, agent: str | None, here: Mask, fell: Mask | None) -> Blamed:
    """Repeats of a prompt are no further prompts: the interval is that of as many trials as there are prompts."""
    trials, ids = int(here.sum()), wrong["prompt_id"].astype(str)
    prompts = ids.nunique()
    share = wilson(trials * prompts / max(1, len(wrong)), prompts)
    failed = 0 if fell is None else int((here & fell).sum())
    return Blamed(agent, trials, failed, share, tuple(dict.fromkeys(ids[here]))[:NAMED])
