"""Live trial: one prompt on its way through an orchestrator, who waits for it, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import stable_hash
from quark_bench.dataset import Prompt
from quark_bench.errors import UsageError, describe
from quark_bench.execute.outcome import Outcome, judge
from quark_bench.execute.steering import Steering
from quark_bench.execute.step import Case, clock
from quark_bench.execute.strategy import Choice
from quark_bench.live_stats import Handled
from quark_bench.pipeline import Pipeline, Step
from quark_bench.plan import Strategy
from quark_bench.record import Record, RecordStatus, Span, SpanStatus

CONVERSATION = "conversation"
"""Key of a prompt's metadata that names its conversation."""
LOG = logging.getLogger("quark_bench.live")
LOG.addHandler(logging.NullHandler())  # quiet until somebody asks for it


@dataclass(frozen=True, slots=True)
class Progress:
    """An agent has begun (`status` None), or ended as `status` tells after `took_s` seconds."""

    prompt_id: str
    agent: str
    status: str | None = None
    took_s: float = 0.0
    error: str | None = None


Watch = Callable[[Progress], None]
"""Is told how a prompt gets on, on the event loop, which it must not keep waiting."""


def live_case(prompt: str | Prompt, conversation: str | None, number: int, run_key: str) -> Case:
    """The prompt as agents see it; `number` counts what was asked. Raises UsageError for what is no prompt.

    Equal prompts have equal seeds. Each asking counts as a repeat, so that idempotency keys differ also where a caller
    gives one id twice.
    """
    given = Prompt(f"p-{number:06d}", prompt) if isinstance(prompt, str) else prompt
    if not isinstance(given, Prompt):
        raise UsageError(f"a prompt is a text or a Prompt, not a {type(prompt).__name__}")
    if not given.text.strip():
        raise UsageError("the prompt's text is empty; ask something")
    metadata = given.metadata if conversation is None else {**given.metadata, CONVERSATION: conversation}
    blind = Prompt(given.id, given.text, given.category, metadata=metadata)
    return Case(blind, number, stable_hash(given.text), run_key)


@dataclass(frozen=True, slots=True)
class Answer:
    """What `handle` gives as soon as the answering agent has ended; agents that the answer does not need go on.

    `status` is `failed` where there is no answer, and `degraded` where an agent had failed by then or a fallback stood
    in; `error` and `error_agent` say why. How agents that ended later did is told by the record, see `finished`.
    `latency_s` is from asking to answer. `shared` says that the execution of an equal prompt answered. `reason` is why
    the agents ran side by side or one after another.
    """

    text: str | None
    status: str
    prompt_id: str
    latency_s: float
    conversation: str | None
    category: str | None
    strategy: str
    reason: str
    error: str | None
    error_agent: str | None
    trial: asyncio.Task[Handled]
    shared: bool = False

    def __str__(self) -> str:
        return self.text or ""

    @property
    def success(self) -> bool:
        """Whether there is an answer."""
        return self.status != RecordStatus.FAILED

    @property
    def handled(self) -> Handled | None:
        """The whole record and its spans, where the last agent has ended."""
        return self.trial.result() if self.trial.done() and not self.trial.cancelled() else None

    async def finished(self) -> Handled:
        """The whole record and its spans, once the last agent has ended."""
        return await asyncio.shield(self.trial)


class LiveTrial:
    """A prompt under way: looks on while its agents run, tells the log and whoever watches, and has the answer first.

    `outcomes` holds how the agents that have ended did, by position; `waiting` counts the callers that wait for the
    answer. `steering`, `trial` and `answer` are given by whoever begins it.
    """

    steering: Steering
    trial: asyncio.Task[Handled]
    answer: asyncio.Task[Answer]

    def __init__(
        self,
        case: Case,
        pipeline: Pipeline,
        choice: Choice,
        watch: Watch | None = None,
    ) -> None:
        self.case = case
        self.choice = choice
        named = case.prompt.metadata.get(CONVERSATION)
        self.conversation = named if isinstance(named, str) else None
        self.asked_s = clock()
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.outcomes: dict[int, Outcome] = {}
        self.waiting = 0
        self._pipeline = pipeline
        self._watch = watch
        self._answer_s: float | None = None

    # -- as it goes on

    def began(self, step: Step) -> None:
        self._tell(Progress(self.case.prompt.id, step.name))

    def ended(self, step: Step, outcome: Outcome) -> None:
        self.outcomes[step.index] = outcome
        if step.index == self._pipeline.answer_index and not self.answered.done():
            self._answer_s = clock() - self.asked_s
            self.answered.set_result(None)
        took_s = sum(span.end_s - span.start_s for span in outcome.spans)
        self._tell(Progress(self.case.prompt.id, step.name, outcome.status, took_s, outcome.spans[-1].error))

    def _tell(self, progress: Progress) -> None:
        about = {"agent": progress.agent, "status": progress.status, "took_s": progress.took_s, "error": progress.error}
        level = logging.WARNING if progress.status == SpanStatus.FAILED else logging.INFO
        self.log(level, f"agent {progress.agent} {progress.status or 'began'}", **about)
        if self._watch is not None:
            try:
                self._watch(progress)
            except Exception as error:  # noqa: BLE001 - a display that breaks must not cost the prompt its answer
                self._watch = None
                self.log(logging.WARNING, f"a watch failed and is told no more: {describe(error)}", error=str(error))

    def log(self, level: int, text: str, **about: Any) -> None:
        """A line of the log that names prompt and trial."""
        if LOG.isEnabledFor(level):
            trial_id = f"{self.case.run_key}-{self.case.prompt.id}"
            LOG.log(level, text, extra={"prompt_id": self.case.prompt.id, "trial_id": trial_id, **about})

    def log_end(self, record: Record) -> None:
        """The whole prompt's line of the log."""
        told = {"status": record.status, "took_s": record.latency_s, "error": record.error}
        self.log(logging.INFO, f"prompt {record.status}", **told)

    # -- what came of it

    def handled(self, record: Record, spans: list[Span]) -> Handled:
        """The whole trial, once it has ended."""
        unneeded = (self._pipeline.steps[index].name for index in self.steering.unneeded)
        record = record._replace(due_s=self.asked_s)
        answered_s = clock() - self.asked_s if self._answer_s is None else self._answer_s
        parallel = self.choice.strategy is Strategy.PARALLEL
        return Handled(record, spans, parallel, answered_s, self.steering.route, frozenset(unneeded))

    async def answer_it(self) -> Answer:
        """The answer, or why there is none, as soon as the answering agent has ended.

        Raises what a fault of ours raised in the trial.
        """
        either: list[asyncio.Future[Any]] = [self.trial, self.answered]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self.answered.done():
            await self.trial
        judged, error, culprit = judge(self._pipeline, self._so_far())
        answer = self.outcomes[self._pipeline.answer_index]
        status = RecordStatus.DEGRADED if answer.gave_result and judged is RecordStatus.FAILED else judged
        return Answer(
            text=answer.answer,
            status=status if answer.gave_result else RecordStatus.FAILED,
            prompt_id=self.case.prompt.id,
            latency_s=clock() - self.asked_s,
            conversation=self.conversation,
            category=self.steering.category,
            strategy=self.choice.strategy.value,
            reason=self.choice.reason,
            error=error,
            error_agent=culprit,
            trial=self.trial,
        )

    def _so_far(self) -> list[Outcome | None]:
        """How each agent has ended, by position; what those did that are not needed counts for nothing."""
        ended = (self.outcomes.get(step.index) for step in self._pipeline.steps)
        unneeded = self.steering.unneeded
        return [each and each.unneeded() if index in unneeded else each for index, each in enumerate(ended)]
