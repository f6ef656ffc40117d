"""Sweep result: what a sweep found at each load, as it is told, kept beside its runs and read back from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from quark_bench.knee import Knee, Operation, knee
from quark_bench.measures import Measure, direction_of, measures_as_data, unit_of
from quark_bench.search import Bracket, Levels, bracket, parse_levels
from quark_bench.slo import SloResult, parse_slo, slo_as_data
from quark_bench.stats import Interval, fewest_for_share
from quark_bench.units import SHARE

STEADY = 4
"""Times as many prompts as are in flight: with fewer, a level measures little but its own filling and draining."""


class Load(Enum):
    """What is raised: prompts under way at once, or prompts that arrive each second."""

    IN_FLIGHT = "in flight"
    RATE = "per second"

    @property
    def option(self) -> str:
        return "--in-flight" if self is Load.IN_FLIGHT else "--rate"

    def told(self, level: float) -> str:
        """`8 in flight`, `12.5 per second`."""
        return f"{level:,.6g} {self.value}"


@dataclass(frozen=True, slots=True)
class LevelResult:
    """What was measured at one level. `run` is the run's folder below the sweep's; `measures` are those of its arm, and
    `objectives` those that were given, judged. Of `trials`, `failed` gave no answer; `prompts` were in a repeat.
    `behind` says why the client could not keep up with the arrivals; it is empty where it did."""

    level: float
    run: str
    prompts: int
    trials: int
    failed: int
    measures: Mapping[str, Measure]
    objectives: tuple[SloResult, ...] = ()
    behind: str = ""

    @property
    def met(self) -> bool | None:
        """Whether all objectives are met by their whole intervals; False where one is missed by its whole interval, and
        None too where the client did not keep up: its latencies are partly the client's."""
        if self.behind:
            return None
        clear = [each.clear for each in self.objectives]
        return False if False in clear else None if None in clear or not clear else True

    @property
    def operation(self) -> Operation:
        """Its point of the curve: completions that gave an answer, and their mean latency."""
        answered = 1 - self.failed / self.trials
        rate, latency = self.measures["throughput_per_s"], self.measures["mean_latency_s"]
        value, low, high = (None if each is None else each * answered for each in (rate.value, rate.low, rate.high))
        return Operation(
            self.level,
            Interval(value, low, high, self.trials),
            Interval(latency.value, latency.low, latency.high, self.trials),
        )

    def prompts_to_decide(self) -> int | None:
        """How many prompts would decide the objectives of each trial, were their shares as measured; None where none
        is open, or more prompts would not help."""
        if self.behind:
            return None
        needed = [
            fewest_for_share(each.slo.share, each.value)
            for each in self.objectives
            if not self.behind
            and each.clear is None
            and each.slo.share is not None
            and each.value not in (None, each.slo.share)
        ]
        return max(needed, default=None)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found so far. `title` says what ran over which prompts, and under which conditions."""

    title: str
    load: Load
    asked: Levels
    slos: tuple[str, ...]
    levels: tuple[LevelResult, ...]

    @property
    def history(self) -> dict[float, bool | None]:
        """By level whether it met the objectives."""
        return {each.level: each.met for each in self.levels}

    @property
    def ascending(self) -> list[LevelResult]:
        return sorted(self.levels, key=lambda each: each.level)

    @property
    def knee(self) -> Knee | None:
        return knee([each.operation for each in self.levels])

    @property
    def bracket(self) -> Bracket | None:
        """Where the objectives cease to be met; None where none were given."""
        return bracket(self.asked, self.history) if self.slos else None

    @property
    def all_failed(self) -> bool:
        return all(each.failed == each.trials for each in self.levels)

    @property
    def exit_code(self) -> int:
        """0 where some level meets the objectives, or none were given; else 1 where the lowest misses them, 3 where it
        is undecided. 4 where every trial failed."""
        if self.all_failed:
            return 4
        if (found := self.bracket) is None or found.met is not None:
            return 0
        return 1 if found.above is not None and self.history.get(found.above) is False else 3

    def as_data(self) -> dict[str, Any]:
        """JSON-able data, of which `of_data` reads `title`, `load`, `asked`, `slos` and `levels` back."""
        found, at = self.knee, self.bracket
        return {
            "title": self.title,
            "load": self.load.value,
            "asked": str(self.asked),
            "slos": list(self.slos),
            "levels": [_level_as_data(each) for each in self.levels],
            "knee": found and {"level": found.level, "low": found.low, "high": found.high, "at_end": found.at_end},
            "highest_met": at and at.met,
            "next_above": at and at.above,
        }

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> SweepResult:
        """What `as_data` wrote. Raises KeyError, TypeError, ValueError or UsageError for anything else."""
        load = Load(data["load"])
        return cls(
            str(data["title"]),
            load,
            parse_levels(data["asked"], load.option, whole=load is Load.IN_FLIGHT),
            tuple(map(str, data["slos"])),
            tuple(map(_level_of_data, data["levels"])),
        )


def _level_as_data(found: LevelResult) -> dict[str, Any]:
    counts = {name: getattr(found, name) for name in ("level", "run", "prompts", "trials", "failed", "met", "behind")}
    objectives = [{**slo_as_data(each), "clear": each.clear} for each in found.objectives]
    return {**counts, "measures": measures_as_data(found.measures), "objectives": objectives}


def _level_of_data(data: Mapping[str, Any]) -> LevelResult:
    prompts, trials, failed = (int(data[name]) for name in ("prompts", "trials", "failed"))
    measures = {
        str(name): Measure(
            str(name), _number(each["value"]), unit_of(name), direction_of(name), *_bounds(each), str(each["note"])
        )
        for name, each in data["measures"].items()
    }
    objectives = tuple(map(_objective_of_data, data["objectives"]))
    level, run, behind = float(data["level"]), str(data["run"]), str(data["behind"])
    return LevelResult(level, run, prompts, trials, failed, measures, objectives, behind)


def _objective_of_data(data: Mapping[str, Any]) -> SloResult:
    slo, met = parse_slo(data["text"]), data["met"]
    unit = unit_of(slo.name) if slo.share is None else SHARE
    told = None if met is None else bool(met)
    return SloResult(slo, str(data["arm"]), _number(data["value"]), told, unit, *_bounds(data), str(data["note"]))


def _bounds(data: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return _number(data["low"]), _number(data["high"])


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
