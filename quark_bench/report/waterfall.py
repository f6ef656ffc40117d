"""Waterfall: one prompt's agent calls laid out in time, for the page and for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quark_bench.record import REFUSAL
from quark_bench.report.findings import Findings
from quark_bench.schedule import longest_chain
from quark_bench.trials import is_answered, numbers


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt of an agent's call; times are seconds since the prompt's admission."""

    agent: str
    attempt: int
    status: str
    ready_s: float
    """When its inputs were there: it waited from here to `start_s`."""
    start_s: float
    end_s: float
    on_chain: bool
    """Whether its agent lies on the critical path."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Lane:
    """One record with its bars, in the order of the DAG. Texts are empty where the record has none."""

    arm: str
    repeat: int
    status: str
    latency_s: float
    answer: str
    error: str
    bars: tuple[Bar, ...]


def typical_trial(findings: Findings) -> tuple[str, int] | None:
    """Prompt id and repeat of the record of median latency in the last arm that has records; None without any.

    Failed records count only where there are no others.
    """
    for arm in reversed(findings.arms):
        timed = findings.trials.records(["status", "latency_s"], arm)
        answered = np.flatnonzero(is_answered(timed))
        places = answered if len(answered) else np.arange(len(timed))
        if len(places):
            latency_s = numbers(timed, "latency_s")[places]
            rank = (len(places) - 1) // 2
            median_s = np.partition(latency_s, rank)[rank]
            alike = findings.trials.records(["prompt_id", "repeat"], arm, places[latency_s == median_s])
            alike = alike.sort_values(["prompt_id", "repeat"])
            middle = alike.iloc[rank - int((latency_s < median_s).sum())]
            return str(middle["prompt_id"]), int(middle["repeat"])
    return None


def lanes(findings: Findings, prompt_id: str, repeat: int | None = None) -> tuple[Lane, ...]:
    """The prompt's records, arm by arm; of one repeat or, for None, of all."""
    found = lanes_of(findings, [prompt_id])[prompt_id]
    return tuple(lane for lane in found if repeat in (None, lane.repeat))


def lanes_of(findings: Findings, prompt_ids: Sequence[str]) -> dict[str, tuple[Lane, ...]]:
    """The records of each of these prompts, arm by arm and repeat by repeat; the tables are read once for all."""
    records, spans = findings.trials.of_prompts(prompt_ids)
    position = {arm: number for number, arm in enumerate(findings.arms)}
    by_trial = defaultdict(list)
    for span in spans.to_dict("records"):
        by_trial[span["prompt_id"], span["arm"], span["repeat"]].append(span)
    found: dict[str, list[Lane]] = {prompt_id: [] for prompt_id in prompt_ids}
    for record in records[records["arm"].isin(position)].to_dict("records"):
        own = by_trial[record["prompt_id"], record["arm"], record["repeat"]]
        found[record["prompt_id"]].append(_lane(findings, record, own))
    return {
        prompt_id: tuple(sorted(own, key=lambda lane: (position[lane.arm], lane.repeat)))
        for prompt_id, own in found.items()
    }


def _lane(findings: Findings, record: Mapping[Any, Any], spans: Sequence[Mapping[Any, Any]]) -> Lane:
    due_s = float(record["due_s"])
    order = {agent: position for position, (agent, _) in enumerate(findings.layout)}
    chain = _chain(findings, spans)
    bars = [
        Bar(
            agent=span["agent"],
            attempt=int(span["attempt"]),
            status="refused" if text_of(span["error"]).startswith(REFUSAL) else span["status"],
            ready_s=max(0.0, span["start_s"] - due_s - span["queue_s"]),
            start_s=span["start_s"] - due_s,
            end_s=span["end_s"] - due_s,
            on_chain=span["agent"] in chain,
        )
        for span in spans
    ]
    bars.sort(key=lambda bar: (order.get(bar.agent, len(order)), bar.attempt))
    return Lane(
        arm=str(record["arm"]),
        repeat=int(record["repeat"]),
        status=str(record["status"]),
        latency_s=float(record["latency_s"]),
        answer=text_of(record["answer"]),
        error=text_of(record["error"]),
        bars=tuple(bars),
    )


def _chain(findings: Findings, spans: Sequence[Mapping[Any, Any]]) -> frozenset[str]:
    """Agents on the longest path through the DAG, each taking the sum of its attempts."""
    taken_s: defaultdict[str, float] = defaultdict(float)
    for span in spans:
        taken_s[span["agent"]] += span["end_s"] - span["start_s"]
    names = [agent for agent, _ in findings.layout]
    position = {agent: index for index, agent in enumerate(names)}
    needs = [[position[need] for need in needed] for _, needed in findings.layout]
    chain = longest_chain([taken_s[agent] for agent in names], needs)
    return frozenset(names[index] for index in chain)


def text_of(value: object) -> str:
    """A cell of a table as text; empty for what pandas holds in place of a missing one."""
    return value if isinstance(value, str) else ""
