"""Agent graphs: every agent's call a Dask task, prompts admitted by the client as slots free up.

A node returns what its agent did together with what all agents before it did, so that the client fetches only
the results of the agents at the end: no more transfers than a hand-written graph makes.
"""

from __future__ import annotations

import functools
import math
import pickle
import secrets
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import cloudpickle
from distributed import Client

from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError, describe
from quark_bench.execute import PromptRow, Work
from quark_bench.execute.dispatch import LOSSES_ALONE, is_hopeless
from quark_bench.execute.drain import Drain
from quark_bench.execute.graph import prompt_graph
from quark_bench.execute.lost import lost_trial
from quark_bench.execute.members import Members
from quark_bench.execute.outcome import Outcome, conclude
from quark_bench.execute.process import MISSING, PipelineMissingError, this_process
from quark_bench.execute.returns import Returns, bytes_of
from quark_bench.execute.step import Case, Course, clock, open_branch, run_step
from quark_bench.execute.timetable import Timetable
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Block, Chunk
from quark_bench.record import Batch, ModelCall, Record, Span, columns

Outcomes = dict[int, Outcome]


@dataclass(slots=True)
class _Trial:
    """A prompt on its way, and, since it was last admitted, what has come back of it."""

    row: PromptRow
    chunk: int
    due_s: float | None = None
    losses: int = 0
    admissions: int = 0
    label: str = ""
    admitted_s: float = 0.0
    ends: int = 0
    outcomes: Outcomes = field(default_factory=dict)
    lost: bool = False
    lacking: bool = False
    able: Collection[str] | None = None
    """The workers that its tasks may run on; None: all."""


@dataclass(slots=True)
class _Gathering:
    """The rows of a chunk until all its prompts have ended."""

    missing: int
    records: list[Record] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)


class AgentGraphs:
    """Runs one block at agent granularity."""

    def __init__(self, client: Client, work: Work, pipeline: Pipeline, members: Members, drain: Drain) -> None:
        self._client = client
        self._work = work
        self._pipeline = pipeline
        self._members = members
        self._drain = drain
        self._layout = [(step.name, step.needs) for step in pipeline.steps]
        self._resources = [step.agent.resources for step in pipeline.steps]
        self._label = f"{work.run_key}-{secrets.token_hex(4)}"  # each arm's warm-up is block -1 of the same run
        self._admissions = 0
        self._returns = Returns(client)
        self._gathering: dict[int, _Gathering] = {}
        self._under_way: dict[str, _Trial] = {}
        self._waiting: Iterator[_Trial] = iter(())
        self._next: _Trial | None = None
        self._again: deque[_Trial] = deque()
        self._suspects: deque[_Trial] = deque()

    def run(self, block: Block, chunks: Iterator[Chunk], times: Timetable | None) -> Iterator[Batch]:
        """Keep the arm's number of prompts under way, or in an open load begin what is due; a batch comes when the last
        prompt of a chunk has ended."""
        self._waiting, in_flight = self._trials(chunks, times), self._work.arm(block).in_flight
        try:
            while not self._drain.over:
                self._members.check()
                for trial in self._withdrawn():
                    yield from self._settle(block, trial, clock())
                self._admit(block, self._following(in_flight))
                if not (self._under_way or self._again or self._suspects or self._next) and self._members.ready:
                    break
                arrived = self._returns.take(self._until_next_s(in_flight))
                returned_s = clock()
                for trial, future, result in arrived:
                    self._take(trial, bytes_of(future, result))
                    future.release()
                    if trial.ends == 0:
                        del self._under_way[trial.label]
                        yield from self._settle(block, trial, returned_s)
        finally:
            self._returns.close()

    def _withdrawn(self) -> list[_Trial]:
        """Trials that Dask no longer gets to run; they count as lost."""
        ready, upsets = self._members.ready.keys(), self._members.upsets
        hopeless = [trial for trial in self._under_way.values() if is_hopeless(upsets(trial.label), trial.able, ready)]
        for trial in hopeless:
            self._returns.drop(trial)
            del self._under_way[trial.label]
            trial.ends, trial.lost = 0, True
        return hopeless

    def _trials(self, chunks: Iterator[Chunk], times: Timetable | None) -> Iterator[_Trial]:
        """The prompts of one chunk after another; a chunk that was begun is finished also when draining."""
        for chunk in chunks:
            if self._drain.begun:
                return
            self._gathering[chunk.index] = _Gathering(len(chunk))
            due_s = (None,) * len(chunk) if times is None else times.due_s(chunk.start, chunk.stop)
            for row, due in zip(self._work.rows(chunk.start, chunk.stop), due_s, strict=True):
                yield _Trial(row, chunk.index, due)

    def _due(self, most: int) -> Iterator[_Trial]:
        """The next trials, no more than that many, and in an open load none before it is due."""
        for _ in range(most):
            self._next = self._next or next(self._waiting, None)
            if self._next is None or (self._next.due_s or 0.0) > clock():
                return
            following, self._next = self._next, None
            yield following

    def _until_next_s(self, in_flight: int) -> float:
        """How long to wait for the next trial to be due; without a bound where it waits for something else."""
        held_up = self._suspects or not self._members.ready or len(self._under_way) >= in_flight
        if self._next is None or held_up:
            return math.inf
        return max(0.0, (self._next.due_s or 0.0) - clock())

    def _following(self, in_flight: int) -> list[_Trial]:
        """Who is admitted now. A suspect has the whole cluster to itself: its tasks may run anywhere."""
        if not self._members.ready:
            return []
        if self._suspects:
            return [] if self._under_way else [self._suspects.popleft()]
        slots = in_flight - len(self._under_way)
        again = [self._again.popleft() for _ in range(min(slots, len(self._again)))]
        return [*again, *self._due(slots - len(again))]

    def _admit(self, block: Block, trials: Sequence[_Trial]) -> None:
        """Submit the trials' graphs in one message."""
        if not trials:
            return
        work, ends, owners = self._work, [], []
        # A restriction takes tasks out of the scheduler's own queue: only while someone there cannot take part, and for
        # a suspect. Dask gives a killer to a worker the moment it joins, and a nanny never restarts a worker that dies
        # while it is still starting.
        suspected = any(trial.losses for trial in trials)
        able = list(self._members.ready) if suspected or not self._members.settled else None
        for trial in trials:
            self._admissions += 1
            trial.label = f"{self._label}-{block.index}-{self._admissions}"
            head = pickle.dumps(
                (work.shipments[block.arm].key, block.arm, block.repeat, work.seed, work.run_key, trial.row), 5
            )
            graph = prompt_graph(self._layout, functools.partial(run_node, head), trial.label, self._resources)
            trial.admissions += 1
            trial.ends, trial.outcomes, trial.lost, trial.lacking, trial.able = len(graph), {}, False, False, able
            ends.extend(graph)
            owners.extend([trial] * len(graph))
        admitted_s = clock()
        futures = self._client.compute(ends, optimize_graph=False, fifo_timeout=0, workers=able)
        for trial in trials:
            trial.admitted_s = admitted_s
        self._under_way.update((trial.label, trial) for trial in trials)
        self._returns.add(futures, owners)

    def _take(self, trial: _Trial, brought: bytes | None) -> None:
        """Add what an end of the graph brought back."""
        trial.ends -= 1
        if brought is None:
            trial.lost = True
        elif brought == MISSING:
            trial.lacking = True
        else:
            outcomes = pickle.loads(brought)
            if isinstance(outcomes, str):
                raise ExecutionError(f"a worker could not call an agent: {outcomes}")
            trial.outcomes.update(outcomes)

    def _settle(self, block: Block, trial: _Trial, returned_s: float) -> Iterator[Batch]:
        """A trial whose last end is here has its record, or is admitted again; see `dispatch` for what a loss costs.

        The record ends when its last result is here, so that hops count as overhead.
        """
        identity, text, category, metadata = trial.row
        upsets = self._members.upsets(trial.label)
        if trial.lost or (trial.lacking and upsets):
            trial.losses += 1
            if trial.losses <= LOSSES_ALONE:
                self._suspects.append(trial)
                return
            lifetime_s = (trial.admitted_s, returned_s)
            ended = lost_trial(self._pipeline, (identity, category), lifetime_s, trial.admissions)
        elif trial.lacking:
            self._again.append(trial)
            return
        else:
            prompt = Prompt(identity, text, category, metadata=metadata)
            outcomes = [self._in_our_time(trial.outcomes[index]) for index in range(len(self._layout))]
            ended = conclude(self._pipeline, prompt, outcomes, trial.admitted_s, returned_s)
            ended = ended._replace(record=ended.record._replace(executions=trial.admissions + upsets))
        if trial.due_s is not None:
            ended = ended._replace(record=ended.record.due_at(trial.due_s))
        chunk = self._gathering[trial.chunk]
        chunk.missing -= 1
        chunk.records.append(ended.record)
        chunk.spans.extend(ended.spans)
        chunk.calls.extend(ended.calls)
        if chunk.missing == 0:
            del self._gathering[trial.chunk]
            yield self._batch(block, trial.chunk, chunk)

    def _in_our_time(self, outcome: Outcome) -> Outcome:
        offset_s = self._members.offset_s(outcome.spans[0].worker)
        if offset_s == 0.0:
            return outcome
        spans = (span._replace(start_s=span.start_s + offset_s, end_s=span.end_s + offset_s) for span in outcome.spans)
        calls = (
            call._replace(start_s=call.start_s + offset_s, sent_s=call.sent_s + offset_s, end_s=call.end_s + offset_s)
            for call in outcome.calls
        )
        return outcome._replace(spans=tuple(spans), calls=tuple(calls))

    def _batch(self, block: Block, chunk: int, gathered: _Gathering) -> Batch:
        records, spans = columns(Record, gathered.records), columns(Span, gathered.spans)
        return Batch(block.arm, block.repeat, block.index, chunk, records, spans, columns(ModelCall, gathered.calls))


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
    bench = process.bench_of(pipeline_key)
    branch = open_branch(bench)
    try:
        outcome = await run_step(Course(wired, case, bench, outcomes), step, branch)
    finally:
        bench.deadlines.forget(branch)
    reached = {position: done._replace(value=None) for position, done in before.items()}
    reached[index] = outcome if step.feeds else outcome._replace(value=None)
    try:
        return pickle.dumps(reached, 5)
    except Exception:  # noqa: BLE001 - what pickle cannot do for classes of __main__, cloudpickle can
        return bytes(cloudpickle.dumps(reached))
