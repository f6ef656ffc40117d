"""Live places: where an orchestrator's agents are called: here, in processes of their own, or on a Dask cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from quark_bench.agent import Agent
from quark_bench.execute.cluster_spec import read_spec
from quark_bench.execute.processes import Processes
from quark_bench.pipeline import Pipeline, Shipment


class Place(Protocol):
    """Somewhere to call agents."""

    def moved(self, agent: Agent) -> Agent:
        """The agent, called there."""
        ...

    async def open(self) -> None:
        """Make ready for calls. Raises ClusterError, ExecutionError or UsageError where that cannot be."""
        ...

    async def close(self) -> None:
        """Let go of everything there."""
        ...


class Here:
    """This process, and processes of their own for agents that burn CPU, which would hold up all others."""

    def __init__(self, pack: Callable[[], Shipment], most: int) -> None:
        self._pack = pack
        self._most = most
        self._processes: Processes | None = None

    def moved(self, agent: Agent) -> Agent:
        if not agent.cpu:
            return agent
        if self._processes is None:
            self._processes = Processes(self._pack(), self._most)
        return self._processes.moved(agent)

    async def open(self) -> None:
        """Processes are started when they are needed."""

    async def close(self) -> None:
        if self._processes is not None:
            await self._processes.close()


def place_of(executor: Any, pack: Callable[[], Shipment], max_workers: int) -> Place:
    """`local`; `dask` for a cluster of local processes; what `--on` takes; or a Dask client.

    `pack` makes the pipeline ready to travel, where it has to. Raises UsageError.
    """
    if executor == "local":
        return Here(pack, max_workers)
    from quark_bench.execute.dask_agents import DaskAgents
    from quark_bench.execute.process import check_can_spawn, cores

    if isinstance(executor, str):
        executor = read_spec("local" if executor == "dask" else executor)
        if executor.starts:
            check_can_spawn()
    return DaskAgents(executor, pack(), min(max_workers, cores()))


def moved_pipeline(pipeline: Pipeline, place: Place) -> Pipeline:
    """The pipeline with its agents called there.

    What an agent's set-up returned stays there too, and with it the version by which a cache would know that an output
    is out of date: agents that were moved and have a set-up are not answered from a cache.
    """

    def moved(agent: Agent) -> Agent:
        there = place.moved(agent)
        if there is agent or agent.setup is None or not agent.policy.cache:
            return there
        return dataclasses.replace(there, policy=dataclasses.replace(there.policy, cache=False))

    return pipeline.with_agents(moved)
