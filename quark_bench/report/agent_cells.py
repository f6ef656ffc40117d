"""Agent cells: what each agent did under each arm, as a table; a column that says nothing in any arm is left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from quark_bench.report.dag import Weight
from quark_bench.report.findings import Findings
from quark_bench.units import COUNT, SECONDS, SHARE, Unit

AGENT_COLUMNS: tuple[tuple[str, str, Unit], ...] = (
    ("calls", "calls", COUNT),
    ("failed", "failed", COUNT),
    ("fallback", "fallback", COUNT),
    ("skipped", "skipped", COUNT),
    ("cached", "cached", COUNT),
    ("p50_s", "median", SECONDS),
    ("p95_s", "95 %", SECONDS),
    ("retries", "retries", COUNT),
    ("refused", "refused", COUNT),
    ("queue_s", "mean wait", SECONDS),
    ("work_share", "of work", SHARE),
    ("critical_path_share", "of critical path", SHARE),
    ("tokens_in", "tokens in", COUNT),
    ("tokens_out", "tokens out", COUNT),
    ("simulated_share", "simulated", SHARE),
)
"""Column of the agents' table, header, unit."""
BARRED = ("work_share", "critical_path_share")
"""Columns in which a bar leads the eye to the agents worth speeding up."""


@dataclass(frozen=True, slots=True)
class AgentCell:
    """A number of the agents' table; `percent` draws a bar behind it, None draws none."""

    text: str
    percent: float | None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent and its numbers."""

    agent: str
    cells: tuple[AgentCell, ...]


@dataclass(frozen=True, slots=True)
class AgentGrid:
    """The agents of one arm, a row each."""

    headers: tuple[str, ...]
    rows: tuple[AgentRow, ...]


def agent_grids(findings: Findings) -> dict[str, AgentGrid]:
    """The agents' table of each arm; columns that say nothing in any arm are left out."""
    tables = {arm: findings.agents[arm] for arm in findings.arms if arm in findings.agents}
    shown = [column for column in AGENT_COLUMNS if any(_says_something(t, column[0]) for t in tables.values())]
    headers = tuple(header for _, header, _ in shown)
    return {arm: AgentGrid(headers, tuple(_agent_rows(table, shown))) for arm, table in tables.items()}


def _agent_rows(table: pd.DataFrame, shown: Sequence[tuple[str, str, Unit]]) -> Iterator[AgentRow]:
    for agent, row in table.iterrows():
        yield AgentRow(
            str(agent), tuple(_agent_cell(float(row[name]), unit, name in BARRED) for name, _, unit in shown)
        )


def _says_something(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].fillna(0).astype(bool).any())


def _agent_cell(value: float, unit: Unit, barred: bool) -> AgentCell:
    return AgentCell(unit.format(value), round(min(1.0, value) * 100, 1) if barred and not math.isnan(value) else None)


def agent_weights(findings: Findings, arm: str) -> dict[str, Weight]:
    """What each agent takes under an arm, and its share of the critical paths there."""
    table = findings.agents.get(arm)
    if table is None:
        return {}
    return {
        str(agent): Weight(SECONDS.format(float(row["p50_s"])), float(row["critical_path_share"]))
        for agent, row in table.iterrows()
        if row["calls"] > 0
    }
