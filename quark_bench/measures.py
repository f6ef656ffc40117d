"""Measures: what a run's records and spans amount to, arm by arm, each with its unit and direction."""

from __future__ import annotations

from dataclasses import dataclass

from quark_bench.units import Direction, Unit


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about one arm. `low` and `high` are its 95 % interval; None where none is valid, and then
    `note` says why."""

    name: str
    value: float | None
    unit: Unit
    direction: Direction
    low: float | None = None
    high: float | None = None
    note: str = ""
