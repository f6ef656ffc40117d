"""On Dask: a window of chunks, or of prompts' graphs, through a client.

Tasks take bytes, are guarded and return bytes: an object that does not unpickle would hang every neighbour in
the same gather. The client is the only one who hands out work and takes in records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import signal
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import cloudpickle
from distributed import Client, Future, as_completed, secede

from quark_bench.errors import ClusterError, ExecutionError, describe
from quark_bench.execute import Consumption, Setting, Work, job_of
from quark_bench.execute.agent_graphs import AgentGraphs
from quark_bench.execute.cluster import Connection, loss_of, open_cluster
from quark_bench.execute.cluster_spec import ClusterSpec
from quark_bench.execute.preflight import allowed_failures, check_versions
from quark_bench.execute.process import MISSING, PipelineMissingError, read_consumption, this_process
from quark_bench.execute.round_trips import clock_offset, measure_hop
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Block, Chunk, Granularity, Strategy
from quark_bench.record import Batch

PREPARE_S = 120.0
"""Longest set-up of a worker: loading an index may take a minute."""


class OnDask:
    """Carries out blocks on a Dask cluster.

    `spec` says where; `workers` and `threads` are for local processes.
    """

    def __init__(self, spec: ClusterSpec, workers: int, threads: int) -> None:
        self._open = (spec, workers, threads)
        self._stack = ExitStack()
        self._offsets: dict[str, float] = {}
        self._uncertainty_s = 0.0
        self._names: dict[str, str] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._hop_s = 0.0
        self._work: Work | None = None
        self._connection: Connection | None = None

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
    def hop_s(self) -> float:
        return self._hop_s

    def prepare(self, work: Work) -> None:
        self._work = work
        self._pipelines = {arm: shipment.load() for arm, shipment in work.shipments.items()}
        check_versions(self.client)
        self._load_everywhere()
        self._hop_s = measure_hop(self.client)

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        work = self._work
        assert work is not None, "prepare comes before run"
        arm = work.arms[block.arm]
        if setting.granularity is Granularity.AGENT and arm.strategy is not Strategy.SEQUENTIAL:
            graphs = AgentGraphs(self.client, work, self._pipelines[block.arm], self._offsets)
            yield from graphs.run(block, list(setting.chunks(block, finished)), self._load_everywhere)
        else:
            yield from self._run_chunks(work, block, deque(setting.chunks(block, finished)))

    def takers(self, in_flight: int) -> int:
        return len(self._lanes(in_flight))

    def consumption(self) -> Consumption:
        own = read_consumption()
        theirs = list(self.client.run(read_consumption).values())
        return Consumption(
            own.cpu_s + sum(reading.cpu_s for reading in theirs),
            own.peak_memory_bytes + sum(reading.peak_memory_bytes for reading in theirs),
        )

    def describe(self) -> Mapping[str, Any]:
        info = self.client.scheduler_info(n_workers=-1)
        threads = [worker["nthreads"] for worker in info["workers"].values()]
        return {
            "on": self.spec.on,
            "address": info["address"],
            "dashboard": self.client.dashboard_link,
            "workers": len(threads),
            "threads": sum(threads),
            "memory_limit_bytes": sum(worker["memory_limit"] for worker in info["workers"].values()),
            "clock_offsets": "one machine, one clock" if not self._clock_spread() else "estimated by round trips",
            "clock_uncertainty_s": self._uncertainty_s,
            "allowed_failures": allowed_failures(self.client),
            "hop_s": self._hop_s,
        }

    # -- preparing

    def _load_everywhere(self) -> None:
        """Load every pipeline on every worker; raise what went wrong on any of them."""
        assert self._work is not None
        payload = cloudpickle.dumps(list(self._work.shipments.values()))
        asked = time.perf_counter()
        try:
            answers = self.client.run(load_on_worker, payload, on_error="return")
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the workers could not be prepared: {describe(error, 300)}") from error
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                raise ClusterError(
                    f"worker {address} cannot take part: {describe(answer, 500)}; "
                    "install the same quark-bench, Dask and Python there"
                )
            name, failure = answer
            if failure is not None:
                raise ExecutionError(f"worker {address} could not load the pipeline: {failure}")
            if address not in self._names:
                self._names[address] = name
                clock = clock_offset(self.client, address)
                self._offsets[name] = clock.offset_s
                self._uncertainty_s = max(self._uncertainty_s, clock.uncertainty_s)
        if time.perf_counter() - asked > PREPARE_S:
            raise ClusterError(f"preparing the workers took longer than {PREPARE_S:.0f} s; make the set-ups shorter")

    def _clock_spread(self) -> bool:
        return any(self._offsets.values())

    # -- chunks

    def _run_chunks(self, work: Work, block: Block, waiting: deque[Chunk]) -> Iterator[Batch]:
        """Each worker has the chunks it needs to fill its lanes, and one more: we learn that a chunk's last
        prompt has begun only when all of them have ended."""
        lanes = self._lanes(work.arms[block.arm].in_flight)
        prompts: Counter[str] = Counter()
        chunks: Counter[str] = Counter()
        under_way: dict[Future, tuple[str, Chunk]] = {}
        done = as_completed(loop=self.client.loop, with_results=True, raise_errors=False)

        def hand_out() -> None:
            while waiting:
                hungry = [a for a in lanes if chunks[a] < 2 or prompts[a] <= lanes[a]]
                if not hungry:
                    break
                submit(min(hungry, key=lambda a: prompts[a] / lanes[a]), waiting.popleft())

        def submit(address: str, chunk: Chunk) -> None:
            job = pickle.dumps(job_of(work, chunk, lanes[address]))
            key = ("chunk", f"{work.run_key}-{block.index}-{chunk.index}-{time.monotonic_ns()}")
            future = self.client.submit(
                run_chunk, job, key=key, workers=[address], allow_other_workers=True, pure=False, fifo_timeout=0
            )
            under_way[future] = (address, chunk)
            prompts[address] += len(chunk)
            chunks[address] += 1
            done.add(future)

        hand_out()
        for future, result in done:
            address, chunk = under_way.pop(future)
            prompts[address] -= len(chunk)
            chunks[address] -= 1
            outcome = read_result(future, result, _told(work, chunk))
            future.release()
            if outcome is None:
                self._load_everywhere()
                submit(address, chunk)
                continue
            hand_out()
            yield self._in_our_time(outcome)

    def _lanes(self, in_flight: int) -> dict[str, int]:
        """Prompts under way by worker: shares that differ by at most one and add up to `in_flight`."""
        workers = sorted(self._names)
        used = workers[: min(in_flight, len(workers))]
        share, rest = divmod(in_flight, len(used))
        return {address: share + (index < rest) for index, address in enumerate(used)}

    def _in_our_time(self, batch: Batch) -> Batch:
        worker = batch.records["worker"][0]
        return dataclasses.replace(batch, clock_offset_s=self._offsets.get(worker, 0.0))


def read_result(future: Future, result: Any, prompts: str) -> Batch | None:
    """The batch of a finished chunk; None where its worker lacked the pipeline. Raises what befell it."""
    if future.status != "finished":
        raise loss_of(future, result, prompts)
    if result == MISSING:
        return None
    outcome = pickle.loads(result)
    if isinstance(outcome, str):
        raise ExecutionError(f"a worker could not carry out its chunk: {outcome}")
    assert isinstance(outcome, Batch), "a chunk returns its batch"
    return outcome


def _told(work: Work, chunk: Chunk) -> str:
    first, last = (work.rows(position, position + 1)[0][0] for position in (chunk.start, chunk.stop - 1))
    return f"prompt {first}" if first == last else f"prompts {first} to {last}"


# -- what runs on the workers


def run_chunk(job: bytes) -> bytes:
    """Task: carry out a chunk. Returns a pickled Batch, the text of what went wrong, or MISSING."""
    secede()  # the lanes bound the work; a thread that only waits must not take a slot from it
    process = this_process()
    try:
        return pickle.dumps(process.submit(process.carry_out(pickle.loads(job))).result(), 5)
    except PipelineMissingError:
        return MISSING
    except BaseException as error:  # noqa: BLE001 - whatever leaves a task as an exception may kill the worker
        return pickle.dumps(describe(error), 5)


def load_on_worker(payload: bytes) -> tuple[str, str | None]:
    """Load pipelines on this worker: its name, and what failed. Ctrl-C in a terminal is the client's to handle."""
    with contextlib.suppress(ValueError):  # not the main thread: the program around the worker has its own handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = this_process()
    try:
        for shipment in pickle.loads(payload):
            process.load(shipment)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a set-up must not end the worker
        return process.bench.worker, describe(error)
    return process.bench.worker, None
