"""Execute: several ways to carry out the blocks of a plan, all of them through the same `trial.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from quark_bench.dataset import Prompt
from quark_bench.execute.caching import CacheCounts
from quark_bench.execute.drain import Drain
from quark_bench.execute.granularity import Costs
from quark_bench.pipeline import Shipment
from quark_bench.plan import Arm, Block, Chunk, Granularity
from quark_bench.record import Batch

PromptRow = tuple[str, str, str | None, Mapping[str, Any]]
"""What travels of a prompt: id, text, category, metadata; never its reference or contexts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What stays the same during a run: the prompts, a pipeline for each arm, the run's identity.

    `run_key` makes idempotency keys and task keys unique; it is no secret and holds no prompt text.
    """

    run_key: str
    seed: int
    prompts: Sequence[Prompt]
    arms: Mapping[str, Arm]
    shipments: Mapping[str, Shipment]

    def arm(self, block: Block) -> Arm:
        """How a block is run; warm-ups have numbers below 0."""
        arm = self.arms[block.arm]
        return arm if block.index >= 0 else arm.at_first

    @property
    def pipeline_keys(self) -> frozenset[str]:
        return frozenset(shipment.key for shipment in self.shipments.values())

    def rows(self, start: int, stop: int) -> tuple[PromptRow, ...]:
        """Prompts `start` to `stop`; beyond the last one they begin again, as long warm-ups need."""
        there = len(self.prompts)
        chosen = self.prompts[start:stop] if stop <= there else [self.prompts[n % there] for n in range(start, stop)]
        return tuple((prompt.id, prompt.text, prompt.category, prompt.metadata) for prompt in chosen)


@dataclass(frozen=True, slots=True)
class Job:
    """One chunk for one worker: plain data, small enough to travel with every task.

    `due_s` is by prompt, on the worker's clock; empty in a closed load.
    """

    run_key: str
    seed: int
    pipeline_key: str
    arm: Arm
    lanes: int
    repeat: int
    block: int
    chunk: int
    prompts: tuple[PromptRow, ...]
    due_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """How the blocks of an arm are submitted and cut."""

    granularity: Granularity
    chunk_size: int

    def chunks(self, block: Block, finished: Collection[int] = ()) -> Iterator[Chunk]:
        """The block's chunks but for those of the given numbers."""
        return (chunk for chunk in block.chunks(self.chunk_size) if chunk.index not in finished)


@dataclass(frozen=True, slots=True)
class Consumption:
    """CPU seconds used since the processes began, and the most memory they held since the last reading.

    Two readings can be compared when they are of the same `processes`.
    """

    cpu_s: float
    peak_memory_bytes: int
    processes: frozenset[str] = frozenset()


class Executor(Protocol):
    """A way to carry out blocks. Used as a context manager: entered once a run, left at its end.

    Raises ClusterError where its machines cannot be reached or do not fit. `drain` ends a run early: once it is
    begun, `run` hands out nothing more and returns when what is under way has ended, or when the drain is over.
    """

    drain: Drain

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def prepare(self, work: Work) -> None:
        """Load every pipeline and run its agents' set-up in every process that will execute it."""
        ...

    def run(self, block: Block, setting: Setting, finished: Collection[int] = ()) -> Iterator[Batch]:
        """Carry out one block but for its `finished` chunks, with nothing beside it; batches come as chunks end, in
        any order."""
        ...

    def consumption(self) -> Consumption:
        """Sum over the processes of the run; peaks are reset by reading them."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Where the run takes place, for the manifest."""
        ...

    def breakers(self, since_s: float) -> list[dict[str, Any]]:
        """What befell every circuit breaker of every arm in this session, warm-ups left out: `arm, breaker, opened,
        probes, refused, state` and `transitions`, pairs of seconds after `since_s` and the phase entered.

        `since_s` is on this process's `time.perf_counter`.
        """
        ...

    def rations(self, since_s: float) -> list[dict[str, Any]]:
        """What befell the limits of every model in this session: `model, limits, granted, refused, ceiling` and
        `changes` of that, triples of seconds after `since_s`, the new ceiling and why. Models that were asked freely
        are missing.

        `since_s` is on this process's `time.perf_counter`.
        """
        ...

    def cache_counts(self) -> CacheCounts:
        """What came of the calls that a cache might have answered since `prepare`, warm-ups left out."""
        ...

    @property
    def costs(self) -> Costs:
        """What tasks cost here, measured by `prepare`."""
        ...


def job_of(work: Work, chunk: Chunk, lanes: int, due_s: tuple[float, ...] = ()) -> Job:
    """The job that carries out a chunk with `lanes` prompts under way at once; see Job for `due_s`."""
    block = chunk.block
    return Job(
        run_key=work.run_key,
        seed=work.seed,
        pipeline_key=work.shipments[block.arm].key,
        arm=lean(work.arms[block.arm]),
        lanes=lanes,
        repeat=block.repeat,
        block=block.index,
        chunk=chunk.index,
        prompts=work.rows(chunk.start, chunk.stop),
        due_s=due_s,
    )


def lean(arm: Arm) -> Arm:
    """The arm without its pipeline, which travels once and not with every chunk."""
    return Arm(arm.name, arm.strategy, arm.in_flight)
