"""Shared: what all workers of a cluster share, held beside its scheduler; so far the states of circuit breakers.

Messages are plain data. They travel on the connection that a worker has to its scheduler anyway, and are sent from
that connection's loop, while the calls that they are about wait, if at all, on ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, Worker

from quark_bench.errors import ClusterError, describe
from quark_bench.execute.breakers import Hub, Told, histories
from quark_bench.execute.process import Process, this_process

REACH_S = 1.0
"""A hub that has not answered by then counts as out of reach."""
ANSWER_S = 10.0
"""Longest wait of the client, which asks once a block."""


class SharedBreakers(SchedulerPlugin):  # type: ignore[misc]  # distributed is untyped here
    """The hub of a cluster's breakers: three more things that its scheduler can be asked."""

    name = "quark-bench-breakers"
    idempotent = True

    def __init__(self) -> None:
        self._hub = Hub()

    async def start(self, scheduler: Scheduler) -> None:
        scheduler.handlers["quark_bench_breakers_begin"] = self.begin
        scheduler.handlers["quark_bench_breakers_exchange"] = self.exchange
        scheduler.handlers["quark_bench_breakers_history"] = self.history

    def begin(self, run_key: str) -> str:
        self._hub.forget(run_key)
        return "begun"

    def exchange(self, rows: list[Told]) -> list[Told]:
        return self._hub.exchange(rows, time.monotonic())

    def history(self, run_key: str) -> list[Told]:
        return self._hub.history(run_key, time.monotonic())


def share_breakers(client: Client, run_key: str) -> None:
    """Put the hub beside the scheduler; a session begins with all breakers closed. Raises ClusterError."""
    try:
        client.register_plugin(SharedBreakers())
        begun = client.sync(client.scheduler.quark_bench_breakers_begin, run_key=run_key)
    except Exception as error:
        raise ClusterError(
            f"circuit breakers cannot be shared by this cluster's workers ({describe(error, 300)}); "
            "install the same quark-bench where its scheduler runs, or leave breaker= out"
        ) from error
    assert begun == "begun", "the plug-in answers once it has started"


def link_breakers(process: Process, worker: Worker) -> None:
    """Let this worker's process share the hub of its scheduler."""
    link = Link(worker, "quark_bench_breakers_exchange")
    process.bench.breakers.link(lambda rows: link(rows=rows))


class Link:
    """A worker's way to something that its scheduler can be asked, from the event loop on which agents run."""

    def __init__(self, worker: Worker, asked: str) -> None:
        self._worker = worker
        self._asked = asked

    async def __call__(self, **message: Any) -> list[Told]:
        sent = getattr(self._worker.scheduler, self._asked)(**message)
        answer = asyncio.run_coroutine_threadsafe(sent, self._worker.loop.asyncio_loop)
        answers: list[Told] = await asyncio.wait_for(asyncio.wrap_future(answer), REACH_S)
        return answers


def shared_histories(
    client: Client, run_key: str, breakers: Mapping[str, Iterable[str]], since_s: float
) -> list[dict[str, Any]]:
    """See `Executor.breakers`. Nothing where the scheduler has been lost, or does not answer."""

    async def asked() -> list[Told]:
        answer: list[Told] = await client.scheduler.quark_bench_breakers_history(run_key=run_key)
        return answer

    try:
        rows = client.sync(asked, callback_timeout=ANSWER_S)
    except (OSError, TimeoutError):
        return []
    return histories(run_key, breakers, rows, time.perf_counter() - since_s)


async def flush_breakers() -> None:
    """On a worker: tell the hub what it has not been told yet."""
    process = this_process()
    await asyncio.wrap_future(process.submit(process.bench.breakers.flush()))
