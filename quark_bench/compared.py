"""Compared: two arms of one run, or of two runs, side by side: what changed, what does not compare, what differed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.arrivals import load_of
from quark_bench.comparable import Difference
from quark_bench.rule import Change


@dataclass(frozen=True, slots=True)
class Side:
    """An arm of a run, by the run's manifest."""

    manifest: Mapping[str, Any]
    arm: str

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    @property
    def how(self) -> tuple[str, str]:
        """The strategy, and the load: how many prompts were in flight, or how they came."""
        mine = next(each for each in self.manifest["arms"] if each["name"] == self.arm)
        return str(mine["strategy"]), load_of(mine)


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """Ids of prompts: how many are compared, which only the first side has, which only the second, and which have
    changed their content and are left out."""

    compared: int
    vanished: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """Side b against side a, paired by prompt and repeat.

    `changes` are those of the measures, `agents` those of the agents that both have; b stands as the candidate in them.
    Within one run the bounds of `changes` are two-sided 95 % intervals, as in its report; all others are a gate's.
    `lost_pairs` counts prompts and repeats whose latencies do not compare: failed or missing on a side, or of different
    sessions. `answers_differ` names all prompts that were answered otherwise. `notes` says what does not compare,
    a sentence each; `environment` is what else differed. Where it is no `one_run`, it is a trend.
    """

    a: Side
    b: Side
    one_run: bool
    changes: Sequence[Change]
    agents: Sequence[Change]
    lost_pairs: int
    answers_differ: tuple[str, ...]
    prompts: SharedPrompts
    notes: tuple[str, ...]
    environment: tuple[Difference, ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-able data."""
        sides = {
            name: {"run_id": side.run_id, "arm": side.arm, "started": side.manifest["started"]}
            for name, side in (("a", self.a), ("b", self.b))
        }
        return sides | {
            "one_run": self.one_run,
            "changes": [_change(each) for each in self.changes],
            "agents": [_change(each) for each in self.agents],
            "lost_pairs": self.lost_pairs,
            "answers_differ": list(self.answers_differ),
            "prompts": dataclasses.asdict(self.prompts),
            "notes": list(self.notes),
            "environment": [dict(zip(("name", "a", "b"), each, strict=True)) for each in self.environment],
        }


def _change(change: Change) -> dict[str, Any]:
    told = dataclasses.asdict(change) | {"scale": change.scale.value, "prompts": list(change.prompts)}
    return {{"baseline": "a", "candidate": "b"}.get(name, name): value for name, value in told.items()}
