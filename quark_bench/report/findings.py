"""Findings: everything that telling needs about a run, weighed already; a door builds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from quark_bench.arrivals import arrivals_of
from quark_bench.arrivals_check import ArrivalsCheck
from quark_bench.blame import Blame
from quark_bench.chaos import parse_chaos
from quark_bench.compare import Attribution, Comparison
from quark_bench.dataset import Prompt
from quark_bench.discrimination import Discrimination
from quark_bench.errors import RunNotFoundError
from quark_bench.gate_result import GateResult
from quark_bench.measures import Measure
from quark_bench.model_calls import ModelCalls
from quark_bench.score_measures import plain_scores
from quark_bench.slo import SloResult
from quark_bench.trials import Trials
from quark_bench.what_if import WhatIf


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found. Mappings by arm have the arm's name as key.

    `trials` are the run's records and spans, to be read as far as they are shown; `agents` has a row per agent.
    `attribution` splits the gain in throughput, `latency_attribution` that in latency; None where the three built-in
    arms are not all there. `prompts` by id are shown beside their answers where they are known. `what_if` tells
    what making each agent of the last arm faster would give; None where it was not asked for. `model_calls` are the
    questions to models, by arm and model; `arrivals` has a check for every arm with an open load. `blame` tells at
    which agents wrong answers first went wrong, None where no agent was judged; `discriminations` how doubts foretold
    them.
    """

    manifest: Mapping[str, Any]
    trials: Trials
    measures: Mapping[str, Mapping[str, Measure]]
    comparisons: Sequence[Comparison]
    attribution: Attribution | None
    latency_attribution: Attribution | None
    slos: Sequence[SloResult]
    agents: Mapping[str, pd.DataFrame]
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    what_if: WhatIf | None = None
    model_calls: Sequence[ModelCalls] = ()
    arrivals: Sequence[ArrivalsCheck] = ()
    blame: Blame | None = None
    discriminations: Sequence[Discrimination] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms in the order in which they were given."""
        return tuple(arm["name"] for arm in self.manifest["arms"])

    @property
    def layout(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The DAG: each agent with the agents it needs, needed ones first."""
        return tuple((agent["name"], tuple(agent["needs"])) for agent in self.manifest["pipeline"]["agents"])

    @property
    def breakers(self) -> tuple[Mapping[str, Any], ...]:
        """What befell each circuit breaker in each session, see `Executor.breakers`; runs of old have none."""
        return tuple(self.manifest.get("breakers", ()))

    @property
    def rations(self) -> tuple[Mapping[str, Any], ...]:
        """What befell the limits of each model in each session, see `Executor.rations`, where there is anything to
        tell; runs of old have none."""
        told = self.manifest.get("rations", ())
        return tuple(each for each in told if each["refused"] or any(each["limits"].values()))

    @property
    def gate(self) -> GateResult | None:
        """What the gate found that the run was made for; None for other runs. Raises RunNotFoundError for damage."""
        if (told := self.manifest.get("gate")) is None:
            return None
        try:
            return GateResult.of_data(told)
        except (KeyError, TypeError, ValueError) as error:
            raise RunNotFoundError(f"run {self.manifest['run_id']}: its gate cannot be read: {error}") from None

    @property
    def scorers(self) -> tuple[str, ...]:
        """Names of the measures that are scores with failures as zero, in their order."""
        names = dict.fromkeys(name for arm in self.arms for name in self.measures.get(arm, {}))
        return tuple(plain_scores(names))

    @property
    def main_comparison(self) -> Comparison | None:
        """The first arm against the last: what the run was made to ask."""
        ends = (self.arms[0], self.arms[-1])
        return next((each for each in self.comparisons if (each.a, each.b) == ends), None)

    def measure(self, arm: str, name: str) -> Measure | None:
        """A measure of an arm; None where the arm has no such measure."""
        return self.measures.get(arm, {}).get(name)

    def titled(self, title: str) -> str:
        """The title of a table or figure, which says so when the run was made in another way than users meet."""
        return titled(self.manifest, title)


def titled(manifest: Mapping[str, Any], title: str) -> str:
    """`title`, followed by the conditions that a run was made under, if there are any."""
    return ", ".join(filter(None, (title, conditions(manifest))))


def _replayed(model: str | None) -> str | None:
    """`replayed` of a run whose model is a recorded one, `replayed at 10x its speed` where that was not its own."""
    if model is None or not model.startswith("replay:"):
        return None
    return "replayed" + model[model.index(" at ") :] if " at " in model else "replayed"


def conditions(manifest: Mapping[str, Any]) -> str:
    """`simulated latency (PROFILE)`, `learning as it goes`, `chaos (FAULTS)`, `cache` and `open load (ARRIVALS)` where
    a run was made so; and which arms' arrivals the client could not keep up with."""
    profile, learns = (manifest["pipeline"].get(name) for name in ("latency_profile", "learns_in"))
    loads = dict.fromkeys(str(each) for arm in manifest["arms"] if (each := arrivals_of(arm)) is not None)
    behind = [each for each in manifest.get("arrivals") or () if not each["kept_up"]]
    chaos = parse_chaos([text]) if (text := manifest.get("chaos")) else None
    made = (
        f"simulated latency ({profile})" if profile else None,
        "learning as it goes" if learns else None,
        f"chaos ({chaos.told()})" if chaos else None,
        "cache" if manifest.get("cache") else None,
        _replayed(manifest["pipeline"].get("model")),
        f"open load ({'; '.join(loads)})" if loads else None,
        *(f"{each['arm']} could not keep up with it ({each['why']}; {each['remedy']})" for each in behind),
    )
    return ", ".join(filter(None, made))
