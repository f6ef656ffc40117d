"""Routing: which agents a prompt needs, once one of them has found its category."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from quark_bench.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from quark_bench.pipeline import Pipeline  # which holds a Router

CATEGORY = "category"
"""An agent that finds the category returns it as text, or in a dict under this key."""


@dataclass(frozen=True, slots=True)
class Router:
    """Picks the agents for the category that agent `by` found.

    `routes` names, for a category, the agents that it needs; what those cannot do without, the agent that answers, and
    `by` with all that comes before it, are always among them. A category without a route gets the whole pipeline.
    """

    by: str = "nlu"
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        routes = {category: tuple(names) for category, names in self.routes.items()}
        object.__setattr__(self, "routes", MappingProxyType(routes))

    def __reduce__(self) -> tuple[Any, ...]:
        return Router, (self.by, dict(self.routes))

    def __str__(self) -> str:
        told = (f"{category} -> {', '.join(names)}" for category, names in self.routes.items())
        return f"by {self.by}: {'; '.join(told)}"

    def on(self, pipeline: Pipeline) -> Routing:
        """The routes on that pipeline. Raises PipelineError, naming the nearest, for an agent that it does not have."""
        finder = pipeline.position(self.by, "router, by")
        before = _behind(pipeline, [finder])
        kept = before | _behind(pipeline, [pipeline.answer_index], needed_only=True)
        unneeded: dict[str, frozenset[int]] = {}
        for category, names in self.routes.items():
            named = [pipeline.position(name, f"router, routes.{category}") for name in names]
            needed = kept | _behind(pipeline, named, needed_only=True)
            unneeded[category] = frozenset(range(len(pipeline.steps))) - needed
        left_out = frozenset[int]().union(*unneeded.values())
        late: set[int] = set()
        for step in pipeline.steps:
            if step.index not in before and (left_out | late).intersection(step.needs):
                late.add(step.index)
        return Routing(finder, unneeded, frozenset(late))


@dataclass(frozen=True, slots=True)
class Routing:
    """A router's routes on one pipeline, whose agents are positions in it.

    `by_category` holds, for each category with a route, the agents that it leaves out. Those in `late` begin when the
    category is known: they, or agents before them, take what a route leaves out, and must not get it just because it
    was there sooner.
    """

    finder: int
    by_category: Mapping[str, frozenset[int]]
    late: frozenset[int]

    def unneeded(self, category: str | None) -> frozenset[int]:
        """The agents that a category does not need; none for a category without a route."""
        return frozenset() if category is None else self.by_category.get(category, frozenset())


def _behind(pipeline: Pipeline, positions: Iterable[int], needed_only: bool = False) -> frozenset[int]:
    """The agents at these positions and all whose results they take, or cannot do without, however far back."""
    found: set[int] = set()
    waiting = list(positions)
    while waiting:
        position = waiting.pop()
        if position not in found:
            found.add(position)
            step = pipeline.steps[position]
            inputs = zip(step.agent.inputs, step.needs, strict=True)
            waiting.extend(need for wanted, need in inputs if not (needed_only and wanted.optional))
    return frozenset(found)


def category_of(value: object) -> str | None:
    """The category in what an agent found; None where there is none."""
    if isinstance(value, Mapping):
        value = value.get(CATEGORY)
    return value if isinstance(value, str) else None


def read_routes(path: str | Path) -> Router:
    """A Router from TOML: `by = "nlu"`, then a table `[routes]` with a list of agents for each category.

    Raises UsageError, naming the file, for one that cannot be read or says something else.
    """
    try:
        told = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the routes cannot be read: {error}") from error
    if unknown := sorted(told.keys() - {"by", "routes"}):
        raise UsageError(f"{path}: unknown {unknown[0]!r}; write by = NAME and a table [routes]")
    by, routes = told.get("by", "nlu"), told.get("routes")
    if not isinstance(by, str):
        raise UsageError(f'{path}: by = {by!r}; give the name of the agent that finds the category, as in by = "nlu"')
    if not isinstance(routes, dict) or not routes:
        raise UsageError(f'{path}: there are no routes; write [routes], then a line a category: fact = ["reasoning"]')
    for category, names in routes.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f'{path}: routes.{category} = {names!r}; give a list of agents, as in ["reasoning"]')
    return Router(by, {category: tuple(names) for category, names in routes.items()})


def routed(routes: Router | str | Path | None, pipeline: Pipeline) -> tuple[Router | None, Routing | None]:
    """The router that was given, in a file or not, or the pipeline's own, and its routes there.

    Raises as `read_routes` and `Router.on` do, naming the file.
    """
    if not isinstance(routes, str | Path):
        router = routes or pipeline.router
        return router, None if router is None else router.on(pipeline)
    router = read_routes(routes)
    try:
        return router, router.on(pipeline)
    except PipelineError as error:
        raise PipelineError(f"{routes}: {error}") from None
