"""On Dask: a window of chunks, or of prompts' graphs, through a client.

Tasks take bytes, are guarded and return bytes: an object that does not unpickle would hang every neighbour in
the same gather. The client is the only one who hands out work and takes in records.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import cloudpickle
from distributed import Client

from quark_bench.errors import ClusterError
from quark_bench.execute import Consumption, Setting, Work
from quark_bench.execute.agent_graphs import AgentGraphs
from quark_bench.execute.caching import CacheCounts
from quark_bench.execute.chunk_tasks import ChunkTasks
from quark_bench.execute.cluster import Connection, open_cluster
from quark_bench.execute.cluster_spec import ClusterSpec
from quark_bench.execute.drain import Drain
from quark_bench.execute.granularity import Costs
from quark_bench.execute.members import Members
from quark_bench.execute.preflight import allowed_failures, check_versions
from quark_bench.execute.process import read_cache_counts, read_consumption, read_cores
from quark_bench.execute.round_trips import measure_hop, measure_task
from quark_bench.execute.shared import flush_breakers, share_breakers, shared_histories
from quark_bench.execute.shared_rations import share_rations, shared_rations
from quark_bench.execute.step import clock
from quark_bench.execute.timetable import timetable
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Block, Granularity, Strategy
from quark_bench.record import Batch


class OnDask:
    """Carries out blocks on a Dask cluster.

    `spec` says where; `workers` and `threads` are for local processes, which have a fair part of the memory where there
    are several `clusters` on this machine.
    """

    def __init__(self, spec: ClusterSpec, workers: int, threads: int, clusters: int = 1) -> None:
        self.drain = Drain()
        self._open = (spec, workers, threads, clusters)
        self._stack = ExitStack()
        self._pipelines: dict[str, Pipeline] = {}
        self._costs: Costs | None = None
        self._work: Work | None = None
        self._connection: Connection | None = None
        self._members: Members | None = None

    def __enter__(self) -> Self:
        self._connection = self._stack.enter_context(open_cluster(*self._open))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def spec(self) -> ClusterSpec:
        """Where this takes place, as it was asked for."""
        return self._open[0]

    @property
    def client(self) -> Client:
        assert self._connection is not None, "used as a context manager"
        return self._connection.client

    @property
    def members(self) -> Members:
        assert self._members is not None, "prepare comes first"
        return self._members

    @property
    def costs(self) -> Costs:
        assert self._costs is not None, "prepare comes first"
        return self._costs

    def prepare(self, work: Work) -> None:
        assert self._connection is not None, "used as a context manager"
        check_versions(self.client)
        self._work = work
        self._pipelines = {arm: shipment.outline() for arm, shipment in work.shipments.items()}
        if any(pipeline.breakers for pipeline in self._pipelines.values()):
            share_breakers(self.client, work.run_key)
        self._share_rations(work.run_key)
        payload = cloudpickle.dumps(list(work.shipments.values()))
        wanted = {agent.name: agent.resources for each in self._pipelines.values() for agent in each.agents}
        members = Members(self.client, payload, wanted, self._connection.heal)
        self._members = self._stack.enter_context(members)
        self._costs = self._measure_costs()

    def _share_rations(self, run_key: str) -> None:
        """For models: where there are no limits that must hold, each process may learn alone what its server bears."""
        pipelines = self._pipelines.values()
        if not any(pipeline.model is not None for pipeline in pipelines):
            return
        try:
            share_rations(self.client, run_key)
        except ClusterError:
            if any(pipeline.model_use.limits.is_set for pipeline in pipelines):
                raise

    def _measure_costs(self) -> Costs:
        """What a hop takes, and a task of graphs like ours; how many cores all workers have together."""
        machines = Counter(self.members.ask(read_cores).values())
        wiring = [pipeline.needs for pipeline in self._pipelines.values()] or [((),)]
        return Costs(
            hop_s=measure_hop(self.client),
            task_s=measure_task(self.client, max(wiring, key=len)),
            processes=self.members.expected,
            cores=max(1, sum(min(cores, workers) for (_, cores), workers in machines.items())),
        )

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        assert self._work is not None, "prepare comes before run"
        one_by_one = self._work.arms[block.arm].strategy is Strategy.SEQUENTIAL
        by_agent = setting.granularity is Granularity.AGENT and not one_by_one
        how = AgentGraphs if by_agent else ChunkTasks
        tasks = how(self.client, self._work, self._pipelines[block.arm], self.members, self.drain)
        times = timetable(self._work, block, setting, finished, clock())
        yield from tasks.run(block, setting.chunks(block, finished), times)

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        assert self._work is not None, "prepare comes before breakers"
        named = {arm: tuple(pipeline.breakers) for arm, pipeline in self._pipelines.items() if pipeline.breakers}
        if not named:
            return []
        self.members.ask(flush_breakers)
        return shared_histories(self.client, self._work.run_key, named, since_s)

    def rations(self, since_s: float) -> list[dict[str, Any]]:
        assert self._work is not None, "prepare comes before rations"
        if not any(pipeline.model is not None for pipeline in self._pipelines.values()):
            return []
        return shared_rations(self.client, self._work.run_key, since_s)

    def cache_counts(self) -> CacheCounts:
        assert self._work is not None, "prepare comes before cache_counts"
        question = functools.partial(read_cache_counts, self._work.pipeline_keys)
        return sum(self.members.ask(question).values(), CacheCounts())

    def consumption(self) -> Consumption:
        own, theirs = read_consumption(), self.members.ask(read_consumption)
        return Consumption(
            own.cpu_s + sum(reading.cpu_s for reading in theirs.values()),
            own.peak_memory_bytes + sum(reading.peak_memory_bytes for reading in theirs.values()),
            frozenset(self.members.ready[address].name for address in theirs if address in self.members.ready),
        )

    def describe(self) -> Mapping[str, Any]:
        info = self.client.scheduler_info(n_workers=-1)
        threads = [worker["nthreads"] for worker in info["workers"].values()]
        return {
            "on": self.spec.on,
            "address": info["address"],
            "dashboard": self.client.dashboard_link,
            "workers": len(threads),
            "cores": self.costs.cores,
            "threads": sum(threads),
            "memory_limit_bytes": sum(worker["memory_limit"] for worker in info["workers"].values()),
            "clock_offsets": "estimated by round trips" if self.members.far() else "one machine, one clock",
            "clock_uncertainty_s": max((each.clock.uncertainty_s for each in self.members.ready.values()), default=0.0),
            "allowed_failures": allowed_failures(self.client),
            "hop_s": self.costs.hop_s,
            "task_s": self.costs.task_s,
        }
