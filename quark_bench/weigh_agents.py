"""Weighing agents: from the scores of answers and of agents to who was wrong, and to whose doubt was right."""

from __future__ import annotations

from collections.abc import Sequence

from quark_bench.blame import Blame, Judge, blame
from quark_bench.critical_path import Layout
from quark_bench.discrimination import Discrimination, discriminations
from quark_bench.errors import UsageError
from quark_bench.score_measures import deciding_scorer
from quark_bench.scoring.agents import CALIBRATION, wrong_below
from quark_bench.slo import nearest
from quark_bench.trials import Trials, agent_of


def named_blame(trials: Trials, arms: Sequence[str], layout: Layout, answer: str, scorer: str | None) -> Blame:
    """The blame for answers that are wrong by that scorer, or by the one that decides.

    Raises UsageError for a scorer that judged no answers, and where there is nothing to go by.
    """
    judging = [name for name in trials.scorers if agent_of(name) is None]
    if scorer is not None and scorer not in judging:
        raise UsageError(f"no score {scorer!r} of answers{nearest(scorer, judging)}")
    found = blame_of(trials, arms, layout, answer, scorer)
    if found is None:
        raise UsageError(
            "there is no blame without scores of answers and of agents: --score contains --score retrieval.recall@5"
        )
    return found


def blame_of(
    trials: Trials, arms: Sequence[str], layout: Layout, answer: str, scorer: str | None = None
) -> Blame | None:
    """The same, None where answers, or agents that they come from, were not judged. Of an agent's scores the first that
    can blame counts."""
    decides, agents = scorer or deciding_scorer(trials.scorers), dict(layout)
    judges: dict[str, Judge] = {}
    for name in trials.scorers:
        agent, limit = agent_of(name), wrong_below(name)
        if agent is not None and agent in agents and limit is not None:
            judges.setdefault(agent, Judge(agent, name, limit))
    if decides is None or not judges:
        return None
    found = blame(trials, arms, decides, layout, answer, list(judges.values()))
    return found if found.judges else None


def discriminations_of(trials: Trials, arms: Sequence[str]) -> list[Discrimination]:
    """How well each agent's doubt foretold wrong answers, arm by arm; nothing where no doubt was judged."""
    decides = deciding_scorer(trials.scorers)
    calibrated = [(agent, name) for name in trials.scorers if (agent := agent_of(name)) and name.endswith(CALIBRATION)]
    return [] if decides is None else list(discriminations(trials, arms, decides, calibrated))
