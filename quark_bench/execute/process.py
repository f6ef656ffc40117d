"""Process: what one operating-system process holds while it carries out trials.

An event loop of its own in a background thread (a Dask worker's loop carries heartbeats and must never wait
for an agent), threads for sync agents, the pipelines loaded so far, and each arm's gate: lanes, or the admission of an
open load.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import gc
import logging
import multiprocessing
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from quark_bench.errors import UsageError
from quark_bench.execute import Consumption, Job
from quark_bench.execute.admission import Admission
from quark_bench.execute.caching import CacheCounts, CachedShipment, Caching
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.event_loop import LoopThread
from quark_bench.execute.lanes import ChunkRun, Lanes
from quark_bench.execute.step import Bench, Wired
from quark_bench.execute.threads import Threads
from quark_bench.pipeline import Shipment
from quark_bench.record import Batch

T = TypeVar("T")


GUARD_EVERY_S = 1.0
EXIT_STUCK = 70
"""EX_SOFTWARE of sysexits.h."""

MISSING = b""
"""A task's result where its worker was never given the pipeline: the client loads it there and asks again."""


class PipelineMissingError(LookupError):
    """This process was never given the pipeline a job names: it joined late or was restarted."""


class Process:
    """One per process; see `this_process`."""

    def __init__(self) -> None:
        self._loop = LoopThread("quark-bench-loop")
        self._wired: dict[str, Wired] = {}
        self._caching: dict[str, Caching] = {}
        self._gates: dict[tuple[str, str, type], Lanes | Admission] = {}
        self._loading = threading.Lock()
        self._guarded = False
        self.bench = Bench(f"{socket.gethostname()}:{os.getpid()}", Threads(), Deadlines())

    def guard(self) -> None:
        """From now on, end this process when an agent blocks its event loop for good: only for a process that will be
        replaced. The trials that are lost with it run again, alone, and so the one at fault is found."""
        with self._loading:
            if not self._guarded:
                self._guarded = True
                threading.Thread(target=self._watch_loop, name="quark-bench-guard", daemon=True).start()

    def _watch_loop(self) -> None:
        while (stuck := self.bench.deadlines.stuck()) is None:
            time.sleep(GUARD_EVERY_S)
        logging.getLogger(__name__).error("%s blocks the event loop beyond its time limit: ending the process", stuck)
        os._exit(EXIT_STUCK)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on this process's loop; called from any other thread."""
        return self._loop.submit(coroutine)

    def load(self, shipment: Shipment) -> Wired:
        """The pipeline, loaded and set up once. Raises PipelineError, or ExecutionError for a set-up that fails."""
        with self._loading:
            if isinstance(shipment, CachedShipment):
                self._caching[shipment.key] = Caching(shipment.cache, shipment.hashes)
            if shipment.key not in self._wired:
                wired = Wired(shipment.load())
                self.bench.deadlines.refine(wired.shortest_limit_s)
                self._wired[shipment.key] = wired
            return self._wired[shipment.key]

    def wired(self, key: str) -> Wired:
        """A pipeline loaded before. Raises PipelineMissingError."""
        try:
            return self._wired[key]
        except KeyError:
            raise PipelineMissingError(key) from None

    def bench_of(self, key: str) -> Bench:
        """What trials of that pipeline are offered: a cache only where it came with one."""
        caching = self._caching.get(key)
        return self.bench if caching is None else dataclasses.replace(self.bench, caching=caching)

    def cache_counts(self, keys: Iterable[str]) -> CacheCounts:
        """What came of calls that a cache might have answered, for pipelines by key, since each was last loaded."""
        return sum((self._caching[key].counts for key in keys if key in self._caching), CacheCounts())

    async def carry_out(self, job: Job, begun: Callable[[], None]) -> Batch:
        """Run a chunk through the gate of its arm; `begun` is called when its last prompt has begun."""
        chunk = ChunkRun(job, self.wired(job.pipeline_key), self.bench_of(job.pipeline_key), begun)
        gate = Admission if job.due_s else Lanes
        return await self._gates.setdefault((job.run_key, job.arm.name, gate), gate()).add(chunk)

    def forget(self, run_key: str) -> None:
        """Let go of a run's gates."""
        for key in [key for key in self._gates if key[0] == run_key]:
            del self._gates[key]


_held: tuple[int, Process] | None = None
_holding = threading.Lock()


def this_process() -> Process:
    """The Process of this process, made when first asked for; a forked child gets its own."""
    global _held  # noqa: PLW0603 - one per process is the point
    with _holding:
        if _held is None or _held[0] != os.getpid():
            _held = (os.getpid(), Process())
        return _held[1]


def read_cache_counts(keys: Iterable[str]) -> CacheCounts:
    """Of this process, see `Process.cache_counts`."""
    return this_process().cache_counts(keys)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_can_spawn() -> None:
    """Worker processes import the main script again: stop where that cannot work, instead of in each of them.

    Raises UsageError in a script without a file; ends a worker that came here by importing an unguarded script.
    """
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise SystemExit(1)
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None and not Path(file).exists():
        raise UsageError(
            "a script from standard input cannot start worker processes: save it as a file, or use on='inline'"
        )


def read_cores() -> tuple[str, int]:
    """Which machine this is, and the cores that this process may use of it."""
    return socket.gethostname(), cores()


def read_consumption() -> Consumption:
    """CPU used by this process so far, and its peak memory since the last call."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Consumption(used.ru_utime + used.ru_stime, _peak_memory() or used.ru_maxrss * _MAXRSS_UNIT)


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _peak_memory() -> int | None:
    """Linux: the high-water mark of resident memory, which is reset. Elsewhere None: `ru_maxrss` never falls."""
    try:
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def spare_the_collector() -> None:
    """Let the garbage collector pass over all that is here by now: Dask's modules, an index that a set-up loaded.

    It would walk through it again for every few thousand prompts (seen: a quarter of a worker's CPU time). What an
    earlier call spared is looked through once more, so that no garbage is kept for longer than a run.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
