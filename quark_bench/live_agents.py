"""Live agents: an orchestrator's agents by name, and what one of them gave when it was called by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Agent
from quark_bench.errors import UsageError
from quark_bench.execute.outcome import Outcome
from quark_bench.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class LiveAgent:
    """An agent of an orchestrator."""

    agent: Agent
    make_ready: Callable[[], object]

    @property
    def name(self) -> str:
        return self.agent.name

    def ensure_ready(self) -> None:
        """Set the agent up if that has not been done. Raises ExecutionError where its set-up fails."""
        self.make_ready()

    _ensure_model = ensure_ready


class LiveAgents(Mapping[str, LiveAgent]):
    """An orchestrator's agents by name, case and underscores aside: `agents["SelfImprovement"]`."""

    def __init__(self, pipeline: Pipeline, make_ready: Callable[[], object]) -> None:
        self._pipeline = pipeline
        self._make_ready = make_ready

    def __getitem__(self, name: str) -> LiveAgent:
        try:
            return LiveAgent(self._pipeline.steps[self._pipeline.position(name)].agent, self._make_ready)
        except UsageError as error:
            raise KeyError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return (step.name for step in self._pipeline.steps)

    def __len__(self) -> int:
        return len(self._pipeline.steps)


def result_of(name: str, outcome: Outcome) -> dict[str, Any]:
    """`agent, success, result, error, status, execution_time`, the last in seconds; plain but for the result."""
    return {
        "agent": name,
        "success": outcome.gave_result,
        "result": outcome.value,
        "error": None if outcome.gave_result else outcome.error,
        "status": outcome.status.value,
        "execution_time": sum(span.end_s - span.start_s for span in outcome.spans),
    }
