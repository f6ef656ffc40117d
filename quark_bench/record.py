"""Span and Record: what was measured. Batch: how a chunk's measurements travel.

Named tuples rather than frozen dataclasses: both are immutable and slotted, but a tuple is made five times
as fast (0.3 against 1.6 µs), and a chunk makes thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

REFUSAL = "CircuitOpenError"
"""Begins the error of a call that an open circuit breaker refused."""
NOT_KEPT = "not kept: "
"""Begins what is told in the place of an output that could not be kept."""
ENGINE_FAULT = "EngineFaultError"
"""Begins the error of a record whose agents were called one after another because of a fault of the engine."""


class RecordStatus(StrEnum):
    """How a trial ended."""

    OK = "ok"
    DEGRADED = "degraded"
    """The answer is there, but an optional agent failed, a fallback answered, or the engine had a fault."""
    FAILED = "failed"
    """An agent that is not optional failed, or the answer is missing."""


class SpanStatus(StrEnum):
    """How one attempt of an agent's call ended."""

    OK = "ok"
    FAILED = "failed"
    FALLBACK = "fallback"
    """The agent's fallback gave the result in its place."""
    SKIPPED = "skipped"
    """Never called: an agent it needs has no result."""
    CACHED = "cached"
    """Never called: an equal call's result was given again."""


class Span(NamedTuple):
    """One attempt of one agent's call. Times are seconds on the measuring machine's monotonic clock until the
    client makes them offsets from the session's start."""

    prompt_id: str
    agent: str
    attempt: int
    """Counts from 1; 0 for an agent that was not called: skipped, or answered by an equal call."""
    status: str
    start_s: float
    end_s: float
    queue_s: float
    """From all inputs there (or the backoff over) to the start: waits for a thread, a slot, or an equal call to end."""
    error: str | None
    tokens_in: int
    tokens_out: int
    first_token_s: float | None
    simulated_s: float
    """The part of the duration that was a simulated latency."""
    waited_s: float
    """The part of the duration that was a wait for a rate limit."""
    worker: str
    """Process that made the call, as host:pid."""
    output: str | None = None
    """What the agent returned, as JSON, where a scorer of that agent asked for it: with the attempt that gave it. What
    could not be kept is told instead by a text that begins with NOT_KEPT, as no JSON does."""


class ModelCall(NamedTuple):
    """One question to a model, by one attempt of an agent's call. `start_s`, `sent_s` and `end_s` are on the clock of
    its span; other `_s` are durations, and those of tokens count from the sending."""

    prompt_id: str
    agent: str
    attempt: int
    number: int
    """Counts the attempt's questions from 1."""
    model: str
    status: str
    """`ok`, `failed` or `cancelled`."""
    start_s: float
    sent_s: float
    """When the request went out that the answer, or the last error, came of."""
    end_s: float
    waited_s: float
    """For a rate limit and between retries: what of start_s to sent_s was no request."""
    first_token_s: float | None
    inter_token_s: float | None
    tokens_in: int
    tokens_out: int
    estimated: bool
    """Whether the tokens were counted here and not by the server."""
    cost_usd: float
    finish_reason: str | None
    retries: int
    error: str | None
    requests_left: int | None
    tokens_left: int | None
    asked: str
    """A hash of the messages: equal questions have equal ones."""
    reply: str | None
    """The answer's text, in a run that records its models."""
    worker: str


class Record(NamedTuple):
    """One finished trial. `start_s` is its admission, on the same clock as its spans; other `_s` are durations."""

    prompt_id: str
    category: str | None
    status: str
    answer: str | None
    error: str | None
    error_agent: str | None
    due_s: float
    """When it should have started; equals `start_s` in a closed load."""
    start_s: float
    latency_s: float
    """From when it was due until its last agent ended."""
    answer_s: float | None
    """From when it was due until the answer was there."""
    service_s: float
    """Latency without waits for a slot or a retry's backoff."""
    work_s: float
    """Sum of all attempts' durations."""
    critical_path_s: float
    """Longest path through the DAG with those durations."""
    simulated_s: float
    attempts: int
    fallbacks: int
    """Agents in whose place a fallback answered."""
    executions: int
    """How often the trial was run in all; above 1 after a lost worker."""
    tokens_in: int
    tokens_out: int
    cost_usd: float
    worker: str
    """Process that gave the answer, as host:pid."""

    def due_at(self, due_s: float) -> Record:
        """The record in an open load: times to its end and to its answer count from when it was due."""
        late_s = self.start_s - due_s
        answer_s = None if self.answer_s is None else self.answer_s + late_s
        return self._replace(due_s=due_s, latency_s=self.latency_s + late_s, answer_s=answer_s)


CLOCKS = frozenset({"due_s", "start_s", "sent_s", "end_s"})
"""Columns that hold clock readings; all others ending in `_s` are durations."""

Columns = dict[str, Sequence[Any]]
"""Rows turned into columns, by name."""


def columns(
    kind: type[Record] | type[Span] | type[ModelCall], rows: Sequence[Record] | Sequence[Span] | Sequence[ModelCall]
) -> Columns:
    """The rows as columns of equal length."""
    turned = zip(*rows, strict=True) if rows else ([] for _ in kind._fields)
    return dict(zip(kind._fields, turned, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """The measurements of one chunk, as columns; what is equal in all its rows is held once.

    `clock_offset_s` is what the client adds to the columns in CLOCKS to make them offsets from the
    session's start.
    """

    arm: str
    repeat: int
    block: int
    chunk: int
    records: Columns
    spans: Columns
    calls: Columns = field(default_factory=dict)
    """Empty where no model was asked."""
    clock_offset_s: float = 0.0

    def __len__(self) -> int:
        return len(self.records["prompt_id"])


def merged(parts: Sequence[Batch]) -> Batch:
    """The parts of one chunk as one batch, on the clock of the first. Raises ValueError for no parts."""
    if not parts:
        raise ValueError("no parts to merge")
    first, *others = parts
    if not others:
        return first
    shifts_s = [part.clock_offset_s - first.clock_offset_s for part in parts]

    def table(tables: Sequence[Columns]) -> Columns:
        return {name: [*_moved(name, [each[name] for each in tables], shifts_s)] for name in tables[0]}

    return replace(
        first,
        records=table([part.records for part in parts]),
        spans=table([part.spans for part in parts]),
        calls=table([part.calls for part in parts]),
    )


def _moved(name: str, columns_of: Sequence[Sequence[Any]], shifts_s: Sequence[float]) -> Iterator[Any]:
    """The values of a column in all parts, clock readings on one clock."""
    for values, shift_s in zip(columns_of, shifts_s, strict=True):
        yield from (value + shift_s for value in values) if name in CLOCKS else values
