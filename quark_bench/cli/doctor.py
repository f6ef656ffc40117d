"""`quark-bench doctor`: what a cluster is like, whether a run would start on it, and what to change."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from quark_bench.bench import local_workers, resolve_pipelines
from quark_bench.cli.run import WIDTH
from quark_bench.errors import UsageError
from quark_bench.execute import Work
from quark_bench.execute.addresses import is_encrypted, is_exposed
from quark_bench.execute.cluster_spec import ClusterSpec, read_spec
from quark_bench.execute.versions import COMPARED, Installed
from quark_bench.plain import plain
from quark_bench.plan import built_in_arm, make_plan
from quark_bench.report.sentences import plural
from quark_bench.units import BYTES, SECONDS

if TYPE_CHECKING:
    from quark_bench.execute.examine import Examination, Worker

EXIT_UNFIT = 4
THREADS = 8


def doctor(on: str, pipeline: str | None, *, insecure: bool, as_json: bool) -> int:
    """Open the cluster, examine it, tell, and give the exit code."""
    if on == "inline":
        raise UsageError("--on inline: there is no cluster to examine; name one, or use --on local")
    spec = read_spec(on, insecure=insecure)
    work = _work(pipeline)
    found = _examined(spec, work, pipeline)
    if as_json:
        print(json.dumps(found.as_data(), indent=1))
    else:
        _tell(found, Console(width=WIDTH))
    return 0 if found.would_start else EXIT_UNFIT


def _work(pipeline: str | None) -> Work:
    """A run without prompts: what is loaded before the first one."""
    arm = built_in_arm("sync", 1)
    shipments = {} if pipeline is None else resolve_pipelines(pipeline, make_plan([arm], 1))[1]
    return Work(f"doctor-{secrets.token_hex(4)}", 0, (), {arm.name: arm}, shipments)


def _examined(spec: ClusterSpec, work: Work, pipeline: str | None) -> Examination:
    from quark_bench.execute.examine import examine
    from quark_bench.execute.on_dask import OnDask

    with OnDask(spec, local_workers(), THREADS) as executor:
        return examine(executor, work, pipeline)


def _tell(found: Examination, console: Console) -> None:
    from quark_bench.execute.examine import advice

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, text in _facts(found):
        facts.add_row(label, plain(text))
    changes = list(advice(found))
    for part in (facts, _versions(found), _workers(found)):
        console.print(part, "", highlight=False, markup=False)
    console.print("What to change" if changes else "Nothing to change", style="bold")
    for change in changes:
        console.print(f"- {plain(change)}", highlight=False, markup=False)
    verdict = "A run would start here" if found.would_start else "A run would not start here"
    console.print(f"{verdict}, on {plural(len(found.workers), 'worker')}", highlight=False, markup=False)


def _facts(found: Examination) -> Iterator[tuple[str, str]]:
    unsafe = "plain, beyond this machine" if is_exposed(found.address) else "plain, within this machine"
    yield "Scheduler", f"{found.address} ({'encrypted' if is_encrypted(found.address) else unsafe})"
    if found.dashboard:
        yield "Dashboard", found.dashboard + (f" (open to {found.open_to})" if found.open_to else "")
    measured = found.measured
    if measured is None:
        yield "Not measured", "round trips, clocks and who listens, because a run would not start"
    else:
        trip = measured.round_trip
        bounds = f"{SECONDS.format(trip.least_s)} to {SECONDS.format(trip.most_s)}"
        yield "Round trip", f"{SECONDS.format(trip.median_s)} to the scheduler and back ({bounds})"
        yield "Task hop", f"{SECONDS.format(measured.hop_s)} from submitting an empty task to its result"
        yield "Lost worker", f"its tasks are tried on {measured.allowed_failures} more by Dask (allowed-failures)"
    if found.code is not None and not found.differences:
        yield "User code", f"{found.code} {'loads on every worker' if found.trouble is None else 'does not load'}"


def _versions(found: Examination) -> Table:
    table = _table("package", "here", "scheduler", "workers")
    versions = found.versions
    for name in COMPARED:
        here = versions.client.get(name) or "missing"
        theirs = _distinct(name, list(versions.workers.values()), here)
        table.add_row(name, here, _marked(versions.scheduler.get(name), here), theirs)
    return table


def _distinct(name: str, workers: list[Installed], here: str) -> str:
    """Each version that workers have, marked where it is not ours, with its number of workers where there are many."""
    counts: dict[str | None, int] = {}
    for worker in workers:
        counts[worker.get(name)] = counts.get(worker.get(name), 0) + 1
    if len(counts) == 1:
        return _marked(next(iter(counts)), here)
    return ", ".join(f"{_marked(version, here)} on {number}" for version, number in counts.items())


def _marked(version: str | None, here: str) -> str:
    text = version or "missing"
    return text if text == here else f"{text} DIFFERS"


def _workers(found: Examination) -> Table:
    """A row per host."""
    table = _table("host", "workers", "threads each", "memory limit each", "clock")
    hosts: dict[str, list[Worker]] = {}
    for worker in found.workers:
        hosts.setdefault(worker.host, []).append(worker)
    for host, there in sorted(hosts.items()):
        threads = _range([worker.threads for worker in there])
        limits = ", ".join(sorted({_limit(worker.memory_limit_bytes) for worker in there}))
        table.add_row(plain(host), str(len(there)), threads, limits, _clock(found, host))
    return table


def _limit(limit_bytes: int) -> str:
    return BYTES.format(limit_bytes) if limit_bytes else "none"


def _clock(found: Examination, host: str) -> str:
    clock = found.measured.clocks.get(host) if found.measured else None
    if clock is None:
        return "not measured"
    if clock.uncertainty_s == 0:
        return "this machine's"
    return f"± {SECONDS.format(clock.uncertainty_s)} after an offset of {SECONDS.format(clock.offset_s)}"


def _range(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
