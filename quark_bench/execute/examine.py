"""Examine: what a cluster is like, and what its owner should change before a run. Asking and advising stand apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.errors import QuarkBenchError
from quark_bench.execute import Work
from quark_bench.execute.addresses import host_of, is_encrypted, is_loopback, protocol_of
from quark_bench.execute.on_dask import OnDask
from quark_bench.execute.preflight import allowed_failures, ask, ask_versions, listening
from quark_bench.execute.round_trips import ClockOffset, RoundTrip, scheduler_round_trip
from quark_bench.execute.versions import Difference, Versions, differences, remedy

CLOCK_DOUBT_S = 0.005
SLOW_HOP_S = 0.1


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as the scheduler knows it; a memory limit of 0 is none."""

    address: str
    host: str
    threads: int
    memory_limit_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What can be asked of a cluster only where its versions are ours."""

    round_trip: RoundTrip
    hop_s: float
    clocks: Mapping[str, ClockOffset]
    allowed_failures: int
    listening: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. `address` is what we connect to, which may be a tunnel's end; `port` and `dashboard_port` are
    those at which the scheduler itself listens. `trouble` is why a run would not start; `code` the pipeline that was
    to be loaded.

    `clocks` go by host. `started` tells whether the cluster is one that each run starts for itself.
    """

    on: str
    address: str
    port: int | None
    dashboard: str
    dashboard_port: int | None
    started: bool
    versions: Versions
    differences: tuple[Difference, ...]
    workers: tuple[Worker, ...]
    code: str | None = None
    trouble: str | None = None
    measured: Measured | None = None

    @property
    def would_start(self) -> bool:
        """Whether a run would get to its first prompt."""
        return not self.differences and self.trouble is None

    @property
    def open_to(self) -> str:
        """Whether the dashboard can be reached from other machines: `others`, `this machine`, or empty: not known."""
        hosts = self.hosts_at(self.dashboard_port)
        return ("this machine" if all(map(_is_own, hosts)) else "others") if hosts else ""

    def hosts_at(self, port: int | None) -> tuple[str, ...]:
        """The addresses at which the scheduler's process listens on a port."""
        return tuple(ip for ip, at in self.measured.listening if at == port) if self.measured else ()

    def as_data(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        data = dataclasses.asdict(self)
        return data | {
            "encrypted": is_encrypted(self.address),
            "dashboard_open_to": self.open_to or None,
            "would_start": self.would_start,
            "advice": list(advice(self)),
        }


def examine(executor: OnDask, work: Work, code: str | None) -> Examination:
    """Ask an open cluster everything, and prepare it as a run would. Raises ClusterError where it does not answer."""
    client = executor.client
    versions = ask_versions(client)
    identity = ask(client, lambda: client.scheduler.identity(n_workers=-1))
    workers = tuple(
        Worker(address, host_of(address), about["nthreads"], about["memory_limit"] or 0)
        for address, about in identity["workers"].items()
    )
    found = Examination(
        on=executor.spec.on,
        address=client.scheduler.address,
        port=int(port) if (port := identity["address"].rpartition(":")[2]).isdigit() else None,
        dashboard=client.dashboard_link or "",
        dashboard_port=identity["services"].get("dashboard"),
        started=executor.spec.starts,
        versions=versions,
        differences=differences(versions),
        workers=workers,
        code=code,
    )
    if found.differences:
        return found
    try:
        executor.prepare(work)
    except QuarkBenchError as error:
        return dataclasses.replace(found, trouble=str(error))
    return dataclasses.replace(found, measured=_measure(executor))


def _measure(executor: OnDask) -> Measured:
    client, ready, hop_s = executor.client, executor.members.ready, executor.costs.hop_s
    clocks = {host_of(address): member.clock for address, member in ready.items()}
    return Measured(scheduler_round_trip(client), hop_s, clocks, allowed_failures(client), listening(client))


def advice(found: Examination) -> Iterator[str]:
    """What to change, the gravest first; nothing where a run would do well."""
    for difference in found.differences:
        yield remedy(difference)
    if found.trouble:
        yield found.trouble
    if found.measured is not None:
        yield from _about_access(found)
        yield from _about_faults(found, found.measured)
        yield from _about_speed(found.measured)
    elif not found.would_start:
        yield "run doctor again then: what was not measured is told by what works"


def _about_access(found: Examination) -> Iterator[str]:
    if not is_encrypted(found.address) and not all(map(_is_own, found.hosts_at(found.port))):
        yield (
            f"the scheduler's port {found.port} is open to other machines and {protocol_of(found.address)} is plain: "
            "whoever reaches it can run code; start it with --host 127.0.0.1, or with TLS"
        )
    if found.open_to == "others":
        covered = ", and TLS does not cover it" if is_encrypted(found.address) else ""
        yield (
            f"the dashboard is open to other machines{covered}: start the scheduler with --dashboard-address "
            '127.0.0.1:8787 (a class: dashboard_address = "127.0.0.1:8787"), and look at it through an ssh tunnel'
        )


def _about_faults(found: Examination, measured: Measured) -> Iterator[str]:
    if measured.allowed_failures:
        yield told_allowed_failures(measured.allowed_failures)
    unlimited = [worker.address for worker in found.workers if not worker.memory_limit_bytes]
    if unlimited:
        yield (
            f"{len(unlimited)} of {len(found.workers)} workers have no memory limit: one that eats all memory takes "
            "the others with it; start them with --memory-limit"
        )


def told_allowed_failures(allowed: int) -> str:
    """What the scheduler's allowed-failures mean for a prompt that crashes its worker, and how to change that."""
    return (
        f"a prompt that crashes its worker is tried by Dask itself on {allowed} more, which crash too; start the "
        "scheduler with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0"
    )


def _about_speed(measured: Measured) -> Iterator[str]:
    for host, clock in measured.clocks.items():
        if clock.uncertainty_s > CLOCK_DOUBT_S:
            yield (
                f"the clock of {host} is known to ± {clock.uncertainty_s * 1e3:.0f} ms only: do not read gaps between "
                "agents on different machines that are shorter"
            )
    if measured.hop_s > SLOW_HOP_S:
        yield (
            f"an empty task takes {measured.hop_s * 1e3:.0f} ms: use --granularity chunk, unless agents take seconds, "
            "or run quark-bench nearer to the scheduler"
        )


def _is_own(host: str) -> bool:
    return host not in ("", "0.0.0.0", "::") and is_loopback(host)  # noqa: S104 - asked about, not listened at
