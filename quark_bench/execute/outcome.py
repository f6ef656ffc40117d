"""Outcome: how one agent's call ended; and the record that a prompt's outcomes add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from quark_bench.dataset import Prompt
from quark_bench.pipeline import Pipeline
from quark_bench.record import ModelCall, Record, RecordStatus, Span, SpanStatus
from quark_bench.schedule import longest_path

OK, FALLBACK, FAILED = SpanStatus.OK, SpanStatus.FALLBACK, SpanStatus.FAILED
CACHED, SKIPPED = SpanStatus.CACHED, SpanStatus.SKIPPED
"""Looked up once: as an Enum's attribute, each would cost every call as much as building a dict."""
AS_ASKED = (OK, CACHED)
"""Tuples, which are searched by identity: to hash a status takes longer."""
GAVE_RESULT = (*AS_ASKED, FALLBACK)
AT_ONCE_S = 1e-3
"""A call that waited for less than this began at once."""


class Outcome(NamedTuple):
    """How one agent's call ended, after all attempts, its fallback's included.

    `error` is why the agent failed, also where its fallback answered; `fault` what kept the engine from making the
    call as it should have.
    """

    status: SpanStatus
    value: Any
    spans: tuple[Span, ...]
    answer: str | None
    error: str | None
    cost_usd: float
    fault: str | None = None
    calls: tuple[ModelCall, ...] = ()

    @property
    def gave_result(self) -> bool:
        return self.status in GAVE_RESULT

    @property
    def is_left_out(self) -> bool:
        """Whether the trial did not need the agent: what it had begun counts as work, and for nothing else."""
        return self.status is SKIPPED and self.error is None

    def unneeded(self) -> Outcome:
        """What the agent did, though it turned out that nobody needs it."""
        return self._replace(status=SKIPPED, value=None, answer=None, error=None, fault=None)


def not_called(whose: tuple[str, str], reason: str, at_s: float, worker: str) -> Outcome:
    """Of an agent (of a prompt) that is skipped."""
    span = Span(*whose, 0, SKIPPED, at_s, at_s, 0.0, reason, 0, 0, None, 0.0, 0.0, worker)
    return Outcome(SKIPPED, None, (span,), None, reason, 0.0)


class Finished(NamedTuple):
    """What is kept of a trial."""

    record: Record
    spans: list[Span]
    calls: list[ModelCall]


class Totals(NamedTuple):
    """What the calls of a trial add up to; `durations_s` is agent by agent, all attempts together."""

    spans: list[Span]
    calls: list[ModelCall]
    durations_s: list[float]
    attempts: int
    tokens_in: int
    tokens_out: int
    simulated_s: float
    cost_usd: float


def conclude(
    pipeline: Pipeline, prompt: Prompt, outcomes: list[Outcome], admitted_s: float, ended_s: float
) -> Finished:
    """The record of a trial from what its agents did, in the pipeline's order."""
    total = _add_up(outcomes)
    answer = outcomes[pipeline.answer_index]
    status, error, culprit = judge(pipeline, outcomes)
    latency_s = ended_s - admitted_s
    record = Record(
        prompt_id=prompt.id,
        category=prompt.category,
        status=status,
        answer=answer.answer,
        error=error,
        error_agent=culprit,
        due_s=admitted_s,
        start_s=admitted_s,
        latency_s=latency_s,
        answer_s=answer.spans[-1].end_s - admitted_s if answer.gave_result else None,
        service_s=max(0.0, latency_s - _waits(pipeline, outcomes)),
        work_s=sum(total.durations_s),
        critical_path_s=longest_path(total.durations_s, _waited_for(pipeline, outcomes)),
        simulated_s=total.simulated_s,
        attempts=total.attempts,
        fallbacks=0 if status is RecordStatus.OK else sum(o.status is FALLBACK for o in outcomes),
        executions=1,
        tokens_in=total.tokens_in,
        tokens_out=total.tokens_out,
        cost_usd=total.cost_usd,
        worker=answer.spans[-1].worker,
    )
    return Finished(record, total.spans, total.calls)


def _add_up(outcomes: list[Outcome]) -> Totals:
    spans: list[Span] = []
    calls: list[ModelCall] = []
    durations_s: list[float] = []
    attempts = tokens_in = tokens_out = 0
    simulated_s = cost_usd = 0.0
    for outcome in outcomes:  # one plain loop: a sum() for each total takes three times as long
        busy_s = 0.0
        for span in outcome.spans:
            busy_s += span.end_s - span.start_s
            attempts += span.attempt > 0
            tokens_in += span.tokens_in
            tokens_out += span.tokens_out
            simulated_s += span.simulated_s
        spans += outcome.spans
        calls += outcome.calls
        durations_s.append(busy_s)
        cost_usd += outcome.cost_usd
    return Totals(spans, calls, durations_s, attempts, tokens_in, tokens_out, simulated_s, cost_usd)


def judge(pipeline: Pipeline, outcomes: Sequence[Outcome | None]) -> tuple[RecordStatus, str | None, str | None]:
    """Status, error and the agent at fault: the first failure that is not optional; else a fault of the engine,
    which no agent is to blame for; else the first failure that was borne. None stands for an agent that has not ended:
    it has done nothing wrong yet."""
    ended = [outcome for outcome in outcomes if outcome is not None]
    if len(ended) == len(outcomes) and all(each.status in AS_ASKED and each.fault is None for each in ended):
        return RecordStatus.OK, None, None
    steps = [(s, o) for s, o in zip(pipeline.steps, outcomes, strict=True) if o is not None and not o.is_left_out]
    answer = outcomes[pipeline.answer_index]
    answered = answer is not None and (answer.gave_result or answer.is_left_out)
    fatal = next(((s.name, o) for s, o in steps if o.status is FAILED and not s.agent.optional), None)
    borne = next(((s.name, o) for s, o in steps if o.status in (FAILED, FALLBACK)), None)
    fault = next((outcome.fault for outcome in ended if outcome.fault is not None), None)
    if answered and fault is None and all(o.status in AS_ASKED for _, o in steps):
        return RecordStatus.OK, None, None
    status = RecordStatus.DEGRADED if fatal is None and answered else RecordStatus.FAILED
    if fault is not None and status is RecordStatus.DEGRADED:
        return status, fault, None
    culprit = fatal or borne
    return (status, culprit[1].error, culprit[0]) if culprit else (status, fault, None)


def _waited_for(pipeline: Pipeline, outcomes: list[Outcome]) -> Sequence[tuple[int, ...]]:
    """For each step the steps that it waited for: for none that the trial did not need."""
    if not any(outcome.is_left_out for outcome in outcomes):
        return pipeline.needs
    return [tuple(need for need in needs if not outcomes[need].is_left_out) for needs in pipeline.needs]


def _waits(pipeline: Pipeline, outcomes: list[Outcome]) -> float:
    """Seconds of waiting for a slot, a thread, a rate limit or a retry on the chain of agents that ended last."""
    first = [outcome.spans[0] for outcome in outcomes if len(outcome.spans) == 1]
    if len(first) == len(outcomes) and all(span.queue_s + span.waited_s < AT_ONCE_S for span in first):
        return 0.0
    needs = _waited_for(pipeline, outcomes)
    index: int | None = max(range(len(outcomes)), key=lambda i: outcomes[i].spans[-1].end_s)
    waited_s = 0.0
    while index is not None:
        spans = outcomes[index].spans
        busy_s = sum(span.end_s - span.start_s - span.waited_s for span in spans)
        waited_s += spans[0].queue_s + spans[-1].end_s - spans[0].start_s - busy_s
        index = max(needs[index], key=lambda i: outcomes[i].spans[-1].end_s, default=None)
    return waited_s
