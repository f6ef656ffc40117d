"""Gate result: what a gate found, as it is told, kept in the run's manifest and read back from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.rule import Change, Judged, Scale, Verdict, exit_code

REVISION, PIPELINE, RUN, NULL = "revision", "pipeline", "run", "null"
"""Kinds of baselines: another commit, another pipeline, a stored run, the same code once more."""


@dataclass(frozen=True, slots=True)
class AgentChange:
    """How much longer an agent took, and the share of the critical paths it has in the candidate.

    `slower` and `faster` say that it changed by more than the margin, by its own bound."""

    change: Change
    critical_share: float | None
    slower: bool
    faster: bool


@dataclass(frozen=True, slots=True)
class NullRates:
    """What relabelling the blocks of a null gate says about the rule here: of `tries` random relabellings of the same
    measurement, `alarms` would have alarmed once; confirmed means twice in a row."""

    tries: int
    alarms: int

    @property
    def once(self) -> float:
        return self.alarms / self.tries

    @property
    def confirmed(self) -> float:
        return self.once**2


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found. `against` names the baseline as a person did, `kind` says what it is.

    `judged` are the measures with their verdicts, `agents` the changes of each agent, `findings` what else changed or
    stands in the way, a sentence each. `noise` is the baseline's second half over its first, the candidate's where the
    baseline is a stored run. `measurements` is 2 where an alarm was measured again. `slos_missed` are objectives that
    were given and missed by the candidate. `conditions` says in which way both were run otherwise than users meet
    them: `simulated latency (demo)`, `chaos (...)`.
    """

    verdict: Verdict
    kind: str
    against: str
    judged: tuple[Judged, ...]
    agents: tuple[AgentChange, ...]
    noise: float | None
    measurements: int
    prompts: int
    repeats: int
    blocks: int
    in_flight: int
    findings: tuple[str, ...] = ()
    slos_missed: tuple[str, ...] = ()
    null: NullRates | None = None
    conditions: str = ""

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regressed or an objective missed, 3 inconclusive."""
        return 1 if self.slos_missed else exit_code(self.verdict)

    def as_data(self) -> dict[str, Any]:
        """JSON-able data that `of_data` reads back."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> GateResult:
        """What `as_data` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        agents = (AgentChange(**{**each, "change": _change(each["change"])}) for each in data["agents"])
        return cls(
            **{
                **data,
                "verdict": Verdict(data["verdict"]),
                "judged": tuple(map(_judged, data["judged"])),
                "agents": tuple(agents),
                "findings": tuple(data["findings"]),
                "slos_missed": tuple(data["slos_missed"]),
                "null": None if data["null"] is None else NullRates(**data["null"]),
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Verdict | Scale):
        return value.value
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _judged(data: Mapping[str, Any]) -> Judged:
    again = None if data["again"] is None else _change(data["again"])
    return Judged(_change(data["change"]), Verdict(data["verdict"]), data["why"], again)


def _change(data: Mapping[str, Any]) -> Change:
    return Change(**{**data, "scale": Scale(data["scale"]), "prompts": tuple(data["prompts"])})
