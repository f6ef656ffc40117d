"""Members: the workers of a cluster, as a watch on the client's own loop sees them.

It learns who joins, who leaves and who hangs, has every newcomer load the pipelines before it gets work, and never
waits without a bound: a frozen worker or a silent scheduler must not hold up the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from distributed import Client, Worker

from quark_bench.errors import ClusterError, ExecutionError, describe
from quark_bench.execute.liveness import SILENT_S, View, fault_of
from quark_bench.execute.process import spare_the_collector, this_process
from quark_bench.execute.round_trips import SAME_CLOCK, TRIED, ClockOffset, best_offset, read_clock
from quark_bench.execute.shared import link_breakers
from quark_bench.execute.shared_rations import link_rations

Resources = Mapping[str, float]

PREPARE_S = 120.0
"""Longest set-up of a worker: loading an index may take a minute."""
LOOK_EVERY_S = 1.0
ASK_S = 15.0
"""Longest wait for a worker's answer to a small question."""
HEAL_AFTER_S = 5.0
"""A cluster of ours that has been short of workers for this long is asked to replace them."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that can take part. `name` is its process, as host:pid; `clock` is how its clock compares with ours."""

    address: str
    name: str
    clock: ClockOffset


class Members:
    """Used as a context manager, in the client's main thread; the watch itself lives on the client's loop.

    `payload` is the pickled shipments that every worker loads, `wanted` the resources that agents need, by their
    names; `heal` asks a cluster of ours for lost workers.
    """

    def __init__(
        self, client: Client, payload: bytes, wanted: Mapping[str, Resources], heal: Callable[[], None] | None = None
    ) -> None:
        self._client = client
        self._payload = payload
        self._wanted = wanted
        self._heal = heal
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._ready: dict[str, Member] = {}
        self._unfit: dict[str, str] = {}
        self._upsets: Counter[str] = Counter()
        self._offsets: dict[str, float] = {}
        self._present: Set[str] = frozenset()
        self._offered: dict[str, Resources] = {}
        self._expected = 0
        self._answered_s = self._able_s = self._awake_s = self._whole_s = time.monotonic()
        self._watching: Future[None] | None = None

    def __enter__(self) -> Self:
        """Load the pipelines on all workers that are there. Raises ExecutionError or ClusterError if one cannot."""
        self._client.subscribe_topic("all", self._hear)
        try:
            self._client.sync(self._gather, callback_timeout=PREPARE_S + ASK_S)
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the workers could not be prepared: {describe(error, 300)}") from error
        for reason in self._unfit.values():
            raise ExecutionError(reason)
        for lack in self._lacks():
            raise ClusterError(lack)
        self._expected = len(self._ready)
        self._watching = asyncio.run_coroutine_threadsafe(self._watch(), self._client.loop.asyncio_loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.unsubscribe_topic("all")
        if self._watching is not None:
            self._watching.cancel()

    # -- what the run asks

    @property
    def expected(self) -> int:
        """Workers that could take part when the run began; some may be lost and not back yet."""
        return self._expected

    @property
    def ready(self) -> Mapping[str, Member]:
        """The workers that can take part, by address."""
        return self._ready

    def able(self, resources: Resources) -> list[str]:
        """The workers that can take part and offer at least these resources."""
        offered = {address: self._offered.get(address, {}) for address in self._ready}
        return [
            address for address, each in offered.items() if all(each.get(name, 0) >= n for name, n in resources.items())
        ]

    @property
    def settled(self) -> bool:
        """Every worker that is there can take part."""
        return self._ready.keys() == self._present

    def upsets(self, label: str) -> int:
        """How often a worker was lost while it worked on, or held results of, tasks with this label."""
        return self._upsets[label]

    def offset_s(self, name: str) -> float:
        """The clock offset of a process that was a member at any time."""
        return self._offsets.get(name, 0.0)

    def far(self) -> bool:
        """Whether any worker is on another machine, with a clock of its own."""
        return any(self._offsets.values())

    def forget(self, address: str) -> None:
        """This worker turned out not to have the pipelines: its process was restarted. It loads them anew."""
        self._client.loop.add_callback(self._leave, address)
        self._ready = {other: member for other, member in self._ready.items() if other != address}

    def check(self) -> None:
        """Raise ClusterError when there is no sense in waiting any longer."""
        now_s = time.monotonic()
        view = View(
            silent_s=now_s - self._answered_s,
            workerless_s=0.0 if self._loads else now_s - self._able_s,
            paused_s=now_s - self._awake_s,
            unfit=(*self._unfit.values(), *(self._lacks() if self._ready else ())),
        )
        fault = fault_of(view)
        if fault is not None:
            raise ClusterError(fault)
        if self._heal is not None and now_s - self._whole_s > HEAL_AFTER_S:
            self._whole_s = now_s
            self._heal()

    def ask(self, question: Callable[[], Any]) -> dict[str, Any]:
        """The answers of the members to a small question, by address; those that do not answer are left out."""

        async def asked(address: str) -> tuple[str, Any]:
            try:
                return address, await self._run_on(address, question, ASK_S)
            except Exception as error:  # noqa: BLE001 - a worker that dies while it is asked has no answer
                return address, error

        async def all_asked() -> list[tuple[str, Any]]:
            return await asyncio.gather(*map(asked, self._ready))

        try:
            answers = self._client.sync(all_asked, callback_timeout=ASK_S + 5)
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the scheduler does not answer: {describe(error, 300)}") from error
        return {address: answer for address, answer in answers if not isinstance(answer, BaseException)}

    # -- the watch, on the client's loop

    async def _gather(self) -> None:
        await self._look()
        await asyncio.gather(*self._loads.values())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with contextlib.suppress(OSError, TimeoutError):  # it stays silent: `check` tells when it is enough
                await self._look()

    async def _look(self) -> None:
        """See who is there; have newcomers load."""
        identity: Awaitable[Mapping[str, Any]] = self._client.scheduler.identity(n_workers=-1)
        workers = (await asyncio.wait_for(identity, SILENT_S))["workers"]
        now_s = self._answered_s = time.monotonic()
        self._present = workers.keys()
        for address in [*self._ready, *self._loads, *self._unfit]:
            if address not in workers:
                self._leave(address)
        for address in workers:
            self._meet(address)
        self._offered = {address: worker.get("resources", {}) for address, worker in workers.items()}
        if self._ready and not any(self._lacks()):
            self._able_s = now_s
        if not workers or any(worker.get("status") != "paused" for worker in workers.values()):
            self._awake_s = now_s
        if len(workers) >= self._expected:
            self._whole_s = now_s

    def _lacks(self) -> Iterator[str]:
        """What agents need and no member offers: Dask would wait for a worker that does."""
        for agent, resources in self._wanted.items():
            if resources and not self.able(resources):
                told = " ".join(f"{name}={n:g}" for name, n in resources.items())
                yield (
                    f"agent {agent!r} needs {told}, which no worker offers; "
                    f'start workers with `dask worker ADDRESS --resources "{told}"`, or leave resources= out'
                )

    def _meet(self, address: str) -> None:
        if not (address in self._ready or address in self._loads or address in self._unfit):
            self._loads[address] = asyncio.create_task(self._load(address))

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """The scheduler tells of a worker that joined, before tasks are placed on it for nothing; or of one that left,
        and of the tasks that were lost with it."""
        _, told = event
        if told.get("action") == "add-worker":
            self._present = frozenset(self._present) | {told["worker"]}
            self._meet(told["worker"])
        if told.get("action") != "remove-worker":
            return
        self._leave(told["worker"])
        self._present = frozenset(self._present) - {told["worker"]}
        keys = (*told.get("processing-tasks", ()), *told.get("lost-computed-tasks", ()))
        self._upsets.update({str(key[-1]) for key in keys if isinstance(key, tuple)})

    def _leave(self, address: str) -> None:
        load = self._loads.pop(address, None)
        if load is not None:
            load.cancel()
        self._unfit.pop(address, None)
        self._ready = {other: member for other, member in self._ready.items() if other != address}

    async def _load(self, address: str) -> None:
        """Make a worker a member, or note why it cannot be one; after a fault on the way it is tried again."""
        try:
            name, failure = await self._run_on(address, functools.partial(load_on_worker, self._payload), PREPARE_S)
            if failure is None:
                member = Member(address, name, await self._clock_offset(address))
                self._offsets[name] = member.clock.offset_s
                self._ready = self._ready | {address: member}
            else:
                self._unfit[address] = f"worker {address} could not get ready: {failure}"
        except TimeoutError:
            self._unfit[address] = (
                f"worker {address} took longer than {PREPARE_S:.0f} s to get ready; make the agents' set-ups shorter"
            )
        except Exception as error:
            if self._watching is None:
                raise ClusterError(
                    f"worker {address} cannot take part: {describe(error, 500)}; "
                    "install the same quark-bench, Dask and Python there"
                ) from error
        finally:
            if self._loads.get(address) is asyncio.current_task():
                del self._loads[address]

    async def _run_on(self, address: str, function: Callable[..., Any], within_s: float) -> Any:
        """What a function returns on one worker. Raises what it raised, OSError, or TimeoutError."""
        run = self._client.run(function, workers=[address], on_error="return")
        answers = await asyncio.wait_for(run, within_s)
        if address not in answers:
            raise OSError(f"worker {address} has left")
        if isinstance(answers[address], BaseException):
            raise answers[address]
        return answers[address]

    async def _clock_offset(self, address: str) -> ClockOffset:
        """How that worker's clock compares with this process's, by a few round trips; the same on one machine."""
        own_boot = read_clock()[0]
        readings = []
        for _ in range(TRIED):
            before = time.perf_counter()
            boot, theirs = await self._run_on(address, read_clock, ASK_S)
            readings.append((before, theirs, time.perf_counter()))
            if boot is not None and boot == own_boot:
                return SAME_CLOCK
        return best_offset(readings)


# -- what runs on the workers


async def load_on_worker(payload: bytes, dask_worker: Worker) -> tuple[str, str | None]:
    """Load pipelines on this worker: its name, and what failed.

    In a thread: the worker's loop carries the heartbeats, and a set-up may take a minute. Ctrl-C in a terminal is
    the client's to handle.
    """
    with contextlib.suppress(ValueError):  # not the main thread: the program around the worker has its own handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return await asyncio.to_thread(_load_here, payload, dask_worker)


def _load_here(payload: bytes, worker: Worker) -> tuple[str, str | None]:
    process = this_process()
    process.guard()
    try:
        loaded = [process.load(shipment) for shipment in pickle.loads(payload)]
        if any(wired.pipeline.breakers for wired in loaded):
            link_breakers(process, worker)
        if any(wired.pipeline.model is not None for wired in loaded):
            link_rations(process, worker)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a set-up must not end the worker
        return process.bench.worker, describe(error)
    spare_the_collector()
    return process.bench.worker, None
