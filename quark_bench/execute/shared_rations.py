"""Shared rations: what all workers of a cluster may ask a model together, held beside its scheduler; see `ration`."""

from __future__ import annotations

import time
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, Worker

from quark_bench.errors import ClusterError, describe
from quark_bench.execute.process import Process
from quark_bench.execute.ration import RationHub, Told, ration_histories
from quark_bench.execute.shared import ANSWER_S, Link


class SharedRations(SchedulerPlugin):  # type: ignore[misc]  # distributed is untyped here
    """The hub of a cluster's rations: three more things that its scheduler can be asked."""

    name = "quark-bench-rations"
    idempotent = True

    def __init__(self) -> None:
        self._hub = RationHub()

    async def start(self, scheduler: Scheduler) -> None:
        scheduler.handlers["quark_bench_rations_begin"] = self.begin
        scheduler.handlers["quark_bench_rations_exchange"] = self.exchange
        scheduler.handlers["quark_bench_rations_history"] = self.history

    def begin(self, run_key: str) -> str:
        self._hub.forget(run_key)
        return "begun"

    def exchange(self, process: str, rows: list[Told]) -> list[Told]:
        return self._hub.exchange(process, rows, time.monotonic())

    def history(self, run_key: str) -> list[Told]:
        return self._hub.history(run_key, time.monotonic())


def share_rations(client: Client, run_key: str) -> None:
    """Put the hub beside the scheduler. Raises ClusterError."""
    try:
        client.register_plugin(SharedRations())
        client.sync(client.scheduler.quark_bench_rations_begin, run_key=run_key)
    except Exception as error:
        raise ClusterError(
            f"limits of a model cannot be shared by this cluster's workers ({describe(error, 300)}); "
            "install the same quark-bench where its scheduler runs, or leave the limits out"
        ) from error


def link_rations(process: Process, worker: Worker) -> None:
    """Let this worker's process share the hub of its scheduler."""
    link = Link(worker, "quark_bench_rations_exchange")

    async def exchange(rows: list[Told]) -> list[Told]:
        return await link(process=process.bench.worker, rows=rows)

    process.bench.permits.link(exchange)


def shared_rations(client: Client, run_key: str, since_s: float) -> list[dict[str, Any]]:
    """See `Executor.rations`. Nothing where the scheduler has been lost, has no hub, or does not answer."""

    async def asked() -> list[Told]:
        answer: list[Told] = await client.scheduler.quark_bench_rations_history(run_key=run_key)
        return answer

    try:
        rows = client.sync(asked, callback_timeout=ANSWER_S)
    except Exception:  # noqa: BLE001 - a history is worth no run
        return []
    return ration_histories(rows, time.perf_counter() - since_s)
