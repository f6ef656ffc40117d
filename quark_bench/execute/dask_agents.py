"""Dask agents: agents' calls made as tasks of a Dask cluster, for trials of this process.

The client has a loop and a thread of its own, so that an agent which blocks ours does not cost us the cluster. A task
is pinned to the worker that we choose: Dask would otherwise make the call of a lost worker again on the next one,
unasked and uncounted.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from contextlib import AbstractContextManager, ExitStack

import cloudpickle
from distributed import Client, secede

from quark_bench.agent import Agent
from quark_bench.errors import ClusterError
from quark_bench.execute import travelling
from quark_bench.execute.cluster import Connection, joined_cluster, open_cluster
from quark_bench.execute.cluster_spec import ClusterSpec
from quark_bench.execute.members import Members
from quark_bench.execute.preflight import check_versions
from quark_bench.execute.process import MISSING, PipelineMissingError, Process, this_process
from quark_bench.execute.returns import TICK_S, bytes_of
from quark_bench.execute.step import Wired, open_branch
from quark_bench.execute.travelling import LostCallError, answered
from quark_bench.pipeline import Shipment

THREADS = 1
"""Of a worker that we start: a call that is made leaves the thread to the next one."""


class DaskAgents:
    """Makes calls of the agents of one pipeline on a cluster, from `open` until `close`.

    `place` says where, or is a client of the cluster, which is left as it is; `workers` is for local processes. Lives
    on one event loop.
    """

    def __init__(self, place: ClusterSpec | Client, shipment: Shipment, workers: int) -> None:
        self._place = place
        self._shipment = shipment
        self._workers = workers
        self._agents: dict[str, Agent] = {}
        self._calls: Counter[str] = Counter()
        self._label = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._members: Members | None = None

    def moved(self, agent: Agent) -> Agent:
        """The agent, called on the cluster."""
        self._agents[agent.name] = agent

        async def carry(parcel: bytes) -> bytes:
            return await self._carry(agent, parcel)

        return travelling.moved(agent, carry)

    async def open(self) -> None:
        """Connect, and have every worker load the pipeline.

        Raises ClusterError for a cluster that cannot be reached or used, ExecutionError for a pipeline that cannot be
        loaded there, UsageError for a place that is wrong.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Let go of the cluster; what we started of it ends."""
        await asyncio.to_thread(self._stack.close)

    def _open(self) -> None:
        with ExitStack() as stack:
            self._connection = stack.enter_context(self._connect())
            check_versions(self._connection.client)
            payload = cloudpickle.dumps([self._shipment])
            wanted = {name: agent.resources for name, agent in self._agents.items()}
            members = Members(self._connection.client, payload, wanted, self._connection.heal)
            self._members = stack.enter_context(members)
            self._stack = stack.pop_all()

    def _connect(self) -> AbstractContextManager[Connection]:
        if isinstance(self._place, ClusterSpec):
            return open_cluster(self._place, self._workers, THREADS)
        return joined_cluster(self._place)

    async def _carry(self, agent: Agent, parcel: bytes) -> bytes:
        """Make a call, once more where a worker turns out not to have the pipeline."""
        assert self._connection is not None, "open comes before calls"
        assert self._members is not None, "open comes before calls"
        client, members = self._connection.client, self._members
        while True:
            worker = await self._able_worker(client, members, agent)
            self._calls[worker] += 1
            try:
                answer = await self._made_on(worker, client, members, (agent, parcel))
            finally:
                self._calls[worker] -= 1
            if answer != MISSING:
                return answer
            members.forget(worker)

    async def _able_worker(self, client: Client, members: Members, agent: Agent) -> str:
        """The worker with the fewest calls, of those that offer what the agent needs."""
        _require_scheduler(client)
        while not (able := members.able(agent.resources)):
            members.check()
            await asyncio.sleep(TICK_S)
        return min(able, key=lambda address: self._calls[address])

    async def _made_on(self, worker: str, client: Client, members: Members, job: tuple[Agent, bytes]) -> bytes:
        """What comes of a call on one worker. Raises LostCallError, or ClusterError where all is lost."""
        submitted = self._submitted(worker, client, *job)
        made = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(submitted, client.loop.asyncio_loop))
        try:
            while not (await asyncio.wait({made}, timeout=TICK_S))[0]:
                _require_scheduler(client)
                members.check()
                if worker not in members.ready:
                    break
            else:
                if (answer := made.result()) is not None:
                    return answer
        finally:
            made.cancel()
        raise LostCallError(
            f"worker {worker} was lost while it made the call: an agent ended the process, used up its memory or "
            "blocked its event loop, or the machine is gone"
        )

    async def _submitted(self, worker: str, client: Client, agent: Agent, parcel: bytes) -> bytes | None:
        """On the client's loop: what the task returned, None where it was lost. Given up when this is cancelled."""
        future = client.submit(
            run_call,
            *(parcel, self._shipment.key),
            key=(agent.name, f"{self._label}-{next(self._numbers)}"),
            workers=[worker],
            resources=dict(agent.resources) or None,
            pure=False,
            retries=0,
            fifo_timeout=0,
        )
        try:
            result = await future
        except Exception as error:  # noqa: BLE001 - what a future tells of its task
            result = error
        finally:
            future.release()
        return bytes_of(future, result)


def _require_scheduler(client: Client) -> None:
    """Raise ClusterError while there is no connection."""
    if client.status != "running":
        raise ClusterError("the connection to the scheduler is lost; restart the cluster, and what uses it")


# -- what runs on the workers


def run_call(parcel: bytes, pipeline_key: str) -> bytes:
    """Task: make one call. Returns its packed answer, or MISSING."""
    secede()  # who made the call bounds how many there are; one that only waits must not take a slot from the others
    process = this_process()
    try:
        wired = process.wired(pipeline_key)
    except PipelineMissingError:
        return MISSING
    return process.submit(_call(parcel, wired, process)).result()


async def _call(parcel: bytes, wired: Wired, process: Process) -> bytes:
    branch = open_branch(process.bench)
    try:
        return await answered(parcel, wired, branch, process.bench.threads)
    finally:
        process.bench.deadlines.forget(branch)
