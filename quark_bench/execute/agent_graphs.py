"""Agent graphs: every agent's call a Dask task, prompts admitted by the client as slots free up.

A node returns what its agent did together with what all agents before it did, so that the client fetches only
the results of the agents at the end: no more transfers than a hand-written graph makes.
"""

from __future__ import annotations

import functools
import pickle
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
from distributed import Client, as_completed

from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError, describe
from quark_bench.execute import PromptRow, Work
from quark_bench.execute.cluster import loss_of
from quark_bench.execute.graph import prompt_graph
from quark_bench.execute.outcome import Outcome, conclude
from quark_bench.execute.process import MISSING, PipelineMissingError, this_process
from quark_bench.execute.trial import Case, clock, open_branch, run_step
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Block, Chunk
from quark_bench.record import Batch, Record, Span, columns

Outcomes = dict[int, Outcome]


@dataclass(slots=True)
class _Admitted:
    """A prompt under way: when it was admitted, and what has come back of it."""

    row: PromptRow
    position: int
    admitted_s: float
    ends: int
    outcomes: Outcomes = field(default_factory=dict)
    lacking: bool = False


@dataclass(slots=True)
class _Gathering:
    """The rows of a chunk until all its prompts have ended."""

    missing: int
    records: list[Record] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


class AgentGraphs:
    """Runs blocks of one arm at agent granularity."""

    def __init__(self, client: Client, work: Work, pipeline: Pipeline, offsets: Mapping[str, float]) -> None:
        self._client = client
        self._work = work
        self._pipeline = pipeline
        self._offsets = offsets
        self._layout = [(step.name, step.needs) for step in pipeline.steps]
        self._resources = [step.agent.resources for step in pipeline.steps]
        self._label = f"{work.run_key}-{secrets.token_hex(4)}"  # each arm's warm-up is block -1 of the same run
        self._admissions = 0

    def run(self, block: Block, chunks: Sequence[Chunk], load_everywhere: Callable[[], None]) -> Iterator[Batch]:
        """Keep the arm's number of prompts under way; a batch comes when the last prompt of a chunk has ended."""
        gathering = {chunk.index: _Gathering(len(chunk)) for chunk in chunks}
        home = [chunk.index for chunk in chunks for _ in range(len(chunk))]
        waiting = enumerate(row for chunk in chunks for row in self._work.rows(chunk.start, chunk.stop))
        under_way: dict[Any, _Admitted] = {}
        done = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)
        self._admit(block, waiting, self._work.arms[block.arm].in_flight, under_way, done)
        for finished in done.batches():
            returned_s = clock()
            freed = 0
            for future, result in finished:
                trial = under_way.pop(future)
                self._take(trial, future, result)
                future.release()
                if trial.ends:
                    continue
                freed += 1
                if trial.lacking:
                    load_everywhere()
                    self._admit(block, iter([(trial.position, trial.row)]), 1, under_way, done)
                    freed -= 1
                    continue
                number = home[trial.position]
                chunk = gathering[number]
                self._conclude(trial, returned_s, chunk)
                if chunk.missing == 0:
                    yield self._batch(block, number, chunk)
                    del gathering[number]
            self._admit(block, waiting, freed, under_way, done)

    def _admit(
        self,
        block: Block,
        waiting: Iterator[tuple[int, PromptRow]],
        slots: int,
        under_way: dict[Any, _Admitted],
        done: as_completed,
    ) -> None:
        """Submit the next prompts' graphs in one message."""
        ends: list[Any] = []
        owners: list[_Admitted] = []
        for _ in range(slots):
            following = next(waiting, None)
            if following is None:
                break
            position, row = following
            self._admissions += 1
            work = self._work
            head = pickle.dumps(
                (work.shipments[block.arm].key, block.arm, block.repeat, work.seed, work.run_key, row), 5
            )
            label = f"{self._label}-{block.index}-{self._admissions}"
            graph = prompt_graph(self._layout, functools.partial(run_node, head), label, self._resources)
            trial = _Admitted(row, position, 0.0, len(graph))
            ends.extend(graph)
            owners.extend([trial] * len(graph))
        if not ends:
            return
        admitted_s = clock()
        futures = self._client.compute(ends, optimize_graph=False, fifo_timeout=0)
        for future, trial in zip(futures, owners, strict=True):
            trial.admitted_s = admitted_s
            under_way[future] = trial
        done.update(futures)

    def _take(self, trial: _Admitted, future: Any, result: Any) -> None:
        """Add what an end of the graph brought back. Raises what befell it."""
        trial.ends -= 1
        if future.status != "finished":
            raise loss_of(future, result, f"prompt {trial.row[0]}")
        if result == MISSING:
            trial.lacking = True
            return
        brought = pickle.loads(result)
        if isinstance(brought, str):
            raise ExecutionError(f"a worker could not call an agent: {brought}")
        trial.outcomes.update(brought)

    def _conclude(self, trial: _Admitted, returned_s: float, chunk: _Gathering) -> None:
        """The record ends when its last result is here, so that hops count as overhead."""
        identity, text, category, metadata = trial.row
        prompt = Prompt(identity, text, category, metadata=metadata)
        outcomes = [self._in_our_time(trial.outcomes[index]) for index in range(len(self._layout))]
        record, spans = conclude(self._pipeline, prompt, outcomes, trial.admitted_s, returned_s)
        chunk.missing -= 1
        chunk.records.append(record)
        chunk.spans.extend(spans)

    def _in_our_time(self, outcome: Outcome) -> Outcome:
        offset_s = self._offsets.get(outcome.spans[0].worker, 0.0)
        if offset_s == 0.0:
            return outcome
        moved = (span._replace(start_s=span.start_s + offset_s, end_s=span.end_s + offset_s) for span in outcome.spans)
        return outcome._replace(spans=tuple(moved))

    def _batch(self, block: Block, chunk: int, gathered: _Gathering) -> Batch:
        records, spans = columns(Record, gathered.records), columns(Span, gathered.spans)
        return Batch(block.arm, block.repeat, block.index, chunk, records, spans)


# -- what runs on the workers


def run_node(head: bytes, index: int, *inputs: bytes) -> bytes:
    """Task: call one agent. Returns the pickled outcomes of it and all agents before it, an error text, or MISSING."""
    if MISSING in inputs:
        return MISSING
    process = this_process()
    try:
        return process.submit(_node(head, index, inputs)).result()
    except PipelineMissingError:
        return MISSING
    except BaseException as error:  # noqa: BLE001 - whatever leaves a task as an exception may kill the worker
        return pickle.dumps(describe(error), 5)


async def _node(head: bytes, index: int, inputs: tuple[bytes, ...]) -> bytes:
    process = this_process()
    pipeline_key, arm, repeat, run_seed, run_key, (identity, text, category, metadata) = pickle.loads(head)
    wired = process.wired(pipeline_key)
    step = wired.steps[index]
    before: Outcomes = {}
    outcomes: list[Outcome | None] = [None] * len(wired.steps)
    for need, result in zip(step.needs, inputs, strict=True):
        brought = pickle.loads(result)
        if isinstance(brought, str):
            return result
        outcomes[need] = brought[need]
        before.update(brought)
    case = Case.of(Prompt(identity, text, category, metadata=metadata), arm, repeat, run_seed, run_key)
    branch = open_branch(process.bench)
    try:
        outcome = await run_step(wired, step, case, outcomes, branch, process.bench)
    finally:
        process.bench.deadlines.forget(branch)
    reached = {position: done._replace(value=None) for position, done in before.items()}
    reached[index] = outcome if step.feeds else outcome._replace(value=None)
    try:
        return pickle.dumps(reached, 5)
    except Exception:  # noqa: BLE001 - what pickle cannot do for classes of __main__, cloudpickle can
        return bytes(cloudpickle.dumps(reached))
