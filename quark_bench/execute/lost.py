"""Lost: the record of a trial that took its process down, and was given up."""

from __future__ import annotations

from quark_bench.dataset import Prompt
from quark_bench.execute.outcome import Finished, Outcome, conclude
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Chunk
from quark_bench.record import Batch, ModelCall, Record, Span, SpanStatus, columns

KILLED = (
    "WorkerKilled: killed its worker, and again when it was alone: an agent ended the process, used up its memory or "
    "blocked its event loop; `quark-bench run` with this prompt alone and --on inline shows how"
)


def lost_trial(
    pipeline: Pipeline, prompt: tuple[str, str | None], lifetime_s: tuple[float, float], executions: int
) -> Finished:
    """A failed record, and a skipped span for every agent: what they did died with the process.

    `prompt` is its id and category, `lifetime_s` when it was handed out and lost, on this process's clock.
    """
    (prompt_id, category), (admitted_s, lost_s) = prompt, lifetime_s
    never = (0, SpanStatus.SKIPPED, lost_s, lost_s, 0.0, "its worker was lost", 0, 0, None, 0.0, 0.0, "")
    spans = [Span(prompt_id, step.name, *never) for step in pipeline.steps]
    outcomes = [Outcome(SpanStatus.SKIPPED, None, (span,), None, span.error, 0.0) for span in spans]
    ended = conclude(pipeline, Prompt(prompt_id, "", category), outcomes, admitted_s, lost_s)
    return ended._replace(record=ended.record._replace(error=KILLED, executions=executions))


def lost_batch(chunk: Chunk, trial: Finished) -> Batch:
    """The part of a chunk's batch that such a trial is."""
    block = chunk.block
    rows = (columns(Record, [trial.record]), columns(Span, trial.spans), columns(ModelCall, trial.calls))
    return Batch(block.arm, block.repeat, block.index, chunk.index, *rows)
