"""Cluster: opens the Dask cluster a run takes place on, and closes only what it opened.

What we start listens on loopback only and knows its memory limit. Reaching a scheduler's port means running
code there, and Dask's own default puts the dashboard on every interface.
"""

from __future__ import annotations

import functools
import logging
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from distributed.versions import VersionMismatchWarning

from quark_bench.errors import ClusterError, describe
from quark_bench.execute.addresses import is_encrypted
from quark_bench.execute.any_cluster import started_cluster, tls_security
from quark_bench.execute.cluster_spec import ClusterSpec

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
MEMORY_SHARE = 0.7
"""Of the machine's memory for all workers of all clusters of a run together; the client, its tables and the system
have the rest."""
CLOSE_S = 5.0
CONNECT_S = 10.0
FIRST_WORKER_S = 600.0
"""Longest wait for the first worker of a cluster that was asked to grow: a batch system may queue it."""

CLIENT_SETTINGS = {
    "optimization.fuse.delayed": False,  # breaks async agents, annotations and computing a list
    "distributed.admin.low-level-log-length": 16,  # recent messages are kept whole, and a chunk's holds its prompts
}
OWN_CLUSTER_SETTINGS = {
    "distributed.worker.profile.enabled": False,  # walks every thread's stack each 10 ms, on the worker's loop
    "distributed.scheduler.allowed-failures": 0,  # a task that lost its worker is not tried on three more of them
    "distributed.scheduler.work-stealing": False,  # chunks are handed to workers by us, evenly
    "distributed.scheduler.worker-ttl": "30s",  # a worker that froze is given up in time to run its prompts again
    "distributed.worker.memory.target": False,  # nothing of ours stays in Dask's memory: there is nothing to spill,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # and a paused worker would never go on; one over its limit is ended
    "distributed.deploy.lost-worker-timeout": "5s",  # then a worker whose nanny died too is replaced
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "500ms",  # 20 ms wakes every process 50 times a second, all run long
}
"""For clusters that we start; those of a team in this very process keep their own."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open cluster. `heal` asks a cluster that we started for workers in place of lost ones."""

    client: Client
    on: str
    heal: Callable[[], None] | None


@contextmanager
def open_cluster(spec: ClusterSpec, workers: int, threads: int, clusters: int = 1) -> Iterator[Connection]:
    """Connect to the spec's address, or start what it names; `workers` and `threads` are for local processes.

    Raises ClusterError when it cannot be started or reached, UsageError where that is the spec's fault.
    """
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CLIENT_SETTINGS))
        if spec.address is None:
            stack.enter_context(dask.config.set(OWN_CLUSTER_SETTINGS))
        place: Any = spec.address
        wanted: int | None = None
        if spec.cluster is not None:
            place, wanted = stack.enter_context(started_cluster(spec)), spec.scale
        elif spec.address is None:
            place, wanted = stack.enter_context(_local(workers, threads, clusters)), workers
        heal = None if wanted is None else functools.partial(place.scale, wanted)
        # A cluster's object brings its own certificates.
        security = tls_security(spec) if spec.address is not None else None
        yield Connection(stack.enter_context(_client(place, spec, security)), spec.on, heal)


@contextmanager
def joined_cluster(client: Client) -> Iterator[Connection]:
    """Connect to the scheduler of somebody's client, which may live on any event loop and stays as it is.

    Raises ClusterError where it cannot be reached.
    """
    spec = ClusterSpec(client.scheduler.address, address=client.scheduler.address)
    with dask.config.set(CLIENT_SETTINGS), _client(spec.address, spec, client.security) as own:
        yield Connection(own, spec.on, None)


@contextmanager
def _local(workers: int, threads: int, clusters: int) -> Iterator[LocalCluster]:
    try:
        with _deaf_to_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:{_free_dashboard_port()}",
                memory_limit=int(MEMORY_LIMIT * MEMORY_SHARE / workers / clusters),
                silence_logs=logging.CRITICAL + 1,  # critical to Dask is a client that leaves before its last news
            )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ClusterError(
            f"no local Dask cluster could be started ({describe(error, 300)}); in a script of your own put what "
            "starts it under `if __name__ == '__main__':`, because worker processes import the script; "
            "else try fewer workers, or inline"
        ) from error
    try:
        yield cluster
    finally:
        try:
            cluster.close(timeout=CLOSE_S)
        except TimeoutError:
            # A worker that hangs at its end takes nothing that was measured with it, and ends with this process.
            logging.getLogger(__name__).warning("the local cluster did not close within %g s", CLOSE_S)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Threads and processes started in here never see Ctrl-C: a terminal sends it to all of them, and it is ours to
    handle. One that is pressed meanwhile arrives afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_dashboard_port() -> int:
    """The port people expect the dashboard at, or any free one (0) when it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, DASHBOARD_PORT))
        except OSError:
            return 0
    return DASHBOARD_PORT


@contextmanager
def _client(place: Any, spec: ClusterSpec, security: Security | None) -> Iterator[Client]:
    """A client of an address or of a cluster's object, connected, with at least one worker there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # the preflight tells them, and refuses
            client = Client(place, timeout=CONNECT_S, set_as_default=False, security=security)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"--on {spec.on}: no Dask scheduler answers ({describe(error, 200)}); "
            "start one with `dask scheduler`, check the address, or use --on local" + _tls_hint(spec.address)
        ) from error
    try:
        _await_first_worker(client, spec)
        yield client
    finally:
        client.close(timeout=5)


def _tls_hint(address: str | None) -> str:
    if address is None:
        return ""
    if is_encrypted(address):
        return "; its certificates and ours must be signed by the CA that the other end names"
    return "; one that speaks TLS answers only at its tls:// address"


def _await_first_worker(client: Client, spec: ClusterSpec) -> None:
    """The run starts when one worker is there, and those that join later take part."""
    if client.scheduler_info(n_workers=-1)["workers"]:
        return
    grows = spec.scale is not None or spec.adapt is not None
    wait_s = FIRST_WORKER_S if grows else CONNECT_S
    try:
        client.wait_for_workers(1, timeout=wait_s)
    except TimeoutError as error:
        if client.scheduler_info(n_workers=-1)["workers"]:
            return
        start = (
            "look at its queue and at the workers' logs" if grows else f"start one with `dask worker {spec.address}`"
        )
        if spec.cluster is not None and not grows:
            start = f"give scale = N in {spec.on}"
        raise ClusterError(f"--on {spec.on}: the scheduler has no workers after {wait_s:.0f} s; {start}") from error
