"""Pipeline: the DAG of agents, checked when it is built."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from quark_bench.agent import RESERVED, Agent, agent, canonical
from quark_bench.display import Displayed
from quark_bench.errors import PipelineError
from quark_bench.model import Model
from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.policy import Breaker
from quark_bench.routing import Router
from quark_bench.schedule import most_at_once


class Shipment(Protocol):
    """A pipeline on its way to another process: plain data that can `load()` itself there.

    Equal keys are pipelines that behave alike: a process loads each once. `code_hash` is the sha256 of source text
    and settings, by which runs are compared.
    """

    @property
    def code_hash(self) -> str: ...

    @property
    def key(self) -> str: ...

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        ...

    def outline(self) -> Pipeline:
        """The pipeline in a process that calls none of its agents: their wiring, policies and resources. What must
        not be imported there is missing. Raises PipelineError."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """An agent at its place in the DAG. `needs` and `feeds` are positions in `Pipeline.steps`."""

    index: int
    agent: Agent
    needs: tuple[int, ...]
    feeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.agent.name


class Pipeline(Displayed):
    """Agents wired by their parameters' names.

    `answer` names the agent whose result is the record's answer; it may be left out when one agent is the
    only one that feeds no other. `model` is what `call.model` asks. `latency_profile` names simulated
    latencies, if the agents have any; `learns_in` the file, if they keep and use there what earlier prompts taught
    them. `router` leaves agents out by category, live. `agents` keep their declared order wherever their inputs allow
    it. `breakers` holds the circuit breakers of agents and fallbacks by name.

    Raises PipelineError, naming the culprit, for equal names, reserved names, an input that no agent has, a
    cycle, an unknown answer agent, or breakers that share a name and nothing else.
    """

    def __init__(
        self,
        name: str,
        agents: Iterable[Agent | Callable[..., Any]],
        *,
        answer: str | None = None,
        model: Model | None = None,
        latency_profile: str | None = None,
        learns_in: str | None = None,
        router: Router | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.latency_profile = latency_profile
        self.learns_in = learns_in
        declared = [item if isinstance(item, Agent) else agent(item) for item in agents]
        self.steps = _wire(name, declared)
        self.needs = tuple(step.needs for step in self.steps)
        self.answer_index = self._only_end() if answer is None else self.position(answer, "answer")
        self.breakers = _breakers(name, self.agents)
        self.router = router
        self.model_use = AS_IT_COMES
        self.keeps: frozenset[int] = frozenset()
        """Positions of the agents whose outputs are kept."""
        if router is not None:
            router.on(self)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agents in the order in which `sequential` calls them."""
        return tuple(step.agent for step in self.steps)

    def position(self, name: str, place: str = "agent") -> int:
        """Where the agent of that name stands in `steps`. Raises PipelineError, naming the nearest, for one unknown."""
        known = {canonical(step.name): step for step in self.steps}
        if canonical(name) in known:
            return known[canonical(name)].index
        close = difflib.get_close_matches(canonical(name), known, 1)
        names = ", ".join(step.name for step in self.steps)
        hint = f"did you mean {known[close[0]].name!r}?" if close else f"its agents: {names}"
        raise PipelineError(f"pipeline {self.name!r}: {place}={name!r} is no agent of it; {hint}")

    def _only_end(self) -> int:
        ends = [step for step in self.steps if not step.feeds]
        if len(ends) == 1:
            return ends[0].index
        names = ", ".join(step.name for step in ends)
        raise PipelineError(f"pipeline {self.name!r}: give answer=...; several agents end it: {names}")

    def with_agents(self, change: Callable[[Agent], Agent]) -> Pipeline:
        """The same DAG with every agent changed; names and inputs must stay as they are."""
        changed = copy.copy(self)
        changed.steps = tuple(dataclasses.replace(step, agent=change(step.agent)) for step in self.steps)
        return changed

    def with_model(self, model: Model | None) -> Pipeline:
        """The same agents, asking that model; None leaves them theirs."""
        if model is None:
            return self
        changed = copy.copy(self)
        changed.model = model
        return changed

    def using(self, use: ModelUse) -> Pipeline:
        """The same pipeline, its model used so."""
        changed = copy.copy(self)
        changed.model_use = use
        return changed

    def keeping(self, names: Collection[str]) -> Pipeline:
        """The same pipeline, the outputs of these agents kept with their spans; those it does not have are no matter,
        as another arm may have them."""
        wanted = {canonical(name) for name in names}
        changed = copy.copy(self)
        changed.keeps = frozenset(step.index for step in self.steps if canonical(step.name) in wanted)
        return changed

    @property
    def answer(self) -> str:
        """Name of the agent that gives the answer."""
        return self.steps[self.answer_index].name

    @property
    def layout(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The DAG: each agent with the agents it needs, in the pipeline's order."""
        return tuple((step.name, tuple(self.steps[need].name for need in step.needs)) for step in self.steps)

    @property
    def levels(self) -> int:
        """Agents on the longest chain."""
        return max(self.depths()) + 1

    @property
    def width(self) -> int:
        """How many calls of one prompt can be under way at once."""
        return most_at_once(self.needs)

    def depths(self) -> list[int]:
        """For each step, the number of agents on the longest chain before it."""
        depths: list[int] = []
        for step in self.steps:
            depths.append(max((depths[need] + 1 for need in step.needs), default=0))
        return depths

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, {[step.name for step in self.steps]}, answer={self.answer!r})"


def _wire(pipeline: str, agents: Sequence[Agent]) -> tuple[Step, ...]:
    if not agents:
        raise PipelineError(f"pipeline {pipeline!r} has no agents; give at least one")
    by_name: dict[str, Agent] = {}
    for each in agents:
        key = canonical(each.name)
        if key in map(canonical, RESERVED):
            raise PipelineError(f"pipeline {pipeline!r}: an agent cannot be called {each.name!r}, which is reserved")
        if key in by_name:
            raise PipelineError(
                f"pipeline {pipeline!r}: two agents are called {by_name[key].name!r} and {each.name!r}, "
                "which are the same name (case and underscores do not count)"
            )
        by_name[key] = each
    for each in agents:
        for needed in each.inputs:
            if canonical(needed.parameter) not in by_name:
                names = {name: name for name in RESERVED} | {key: named.name for key, named in by_name.items()}
                close = difflib.get_close_matches(canonical(needed.parameter), names, 1)
                hint = f"; did you mean {names[close[0]]!r}?" if close else ""
                raise PipelineError(
                    f"pipeline {pipeline!r}: agent {each.name!r} needs {needed.parameter!r}, "
                    f"which is no agent of it{hint}"
                )
    order = _topological(pipeline, by_name)
    position = {key: index for index, key in enumerate(order)}
    needs = [tuple(position[canonical(i.parameter)] for i in by_name[key].inputs) for key in order]
    return tuple(
        Step(index, by_name[key], needs[index], tuple(j for j, other in enumerate(needs) if index in other))
        for index, key in enumerate(order)
    )


def _topological(pipeline: str, by_name: dict[str, Agent]) -> list[str]:
    """Declared order, each agent moved back only as far as its inputs ask."""
    waiting = list(by_name)
    order: list[str] = []
    while waiting:
        ready = next(
            (key for key in waiting if all(canonical(i.parameter) in order for i in by_name[key].inputs)), None
        )
        if ready is None:
            raise PipelineError(f"pipeline {pipeline!r}: agents need each other in a cycle: {_cycle(waiting, by_name)}")
        waiting.remove(ready)
        order.append(ready)
    return order


def _cycle(waiting: Sequence[str], by_name: dict[str, Agent]) -> str:
    """One cycle among the agents that could not be ordered, as `a -> b -> a`."""
    path = [waiting[0]]
    while path[-1] not in path[:-1]:
        needed = (canonical(i.parameter) for i in by_name[path[-1]].inputs)
        path.append(next(key for key in needed if key in waiting))
    loop = path[path.index(path[-1]) :]
    return " -> ".join(by_name[key].name for key in reversed(loop))


def _breakers(pipeline: str, agents: Iterable[Agent]) -> dict[str, Breaker]:
    found: dict[str, Breaker] = {}
    for each in (link for head in agents for link in head.chain()):
        breaker = each.policy.breaker
        if breaker is None:
            continue
        name = each.breaker_name
        if found.setdefault(name, breaker) != breaker:
            raise PipelineError(
                f"pipeline {pipeline!r}: agent {each.name!r} asks for a breaker {name!r} that {breaker}, but another "
                f"agent's {found[name]}; give both the same, or other names"
            )
    return found
