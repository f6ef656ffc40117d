"""Lost: the record of a trial that took its process down, and was given up."""

from __future__ import annotations

from quark_bench.pipeline import Pipeline
from quark_bench.plan import Chunk
from quark_bench.record import Batch, Record, RecordStatus, Span, SpanStatus, columns

KILLED = (
    "WorkerKilled: killed its worker, and again when it was alone: an agent ended the process, used up its memory or "
    "blocked its event loop; `quark-bench run` with this prompt alone and --on inline shows how"
)


def lost_trial(
    pipeline: Pipeline, prompt: tuple[str, str | None], lifetime_s: tuple[float, float], executions: int
) -> tuple[Record, list[Span]]:
    """A failed record, and a skipped span for every agent: what they did died with the process.

    `prompt` is its id and category, `lifetime_s` when it was handed out and lost, on this process's clock.
    """
    (prompt_id, category), (admitted_s, lost_s) = prompt, lifetime_s
    never = (0, SpanStatus.SKIPPED, lost_s, lost_s, 0.0, "its worker was lost", 0, 0, None, 0.0, "")
    spans = [Span(prompt_id, step.name, *never) for step in pipeline.steps]
    latency_s = lost_s - admitted_s
    record = Record(
        prompt_id=prompt_id,
        category=category,
        status=RecordStatus.FAILED,
        answer=None,
        error=KILLED,
        error_agent=None,
        due_s=admitted_s,
        start_s=admitted_s,
        latency_s=latency_s,
        answer_s=None,
        service_s=latency_s,
        work_s=0.0,
        critical_path_s=0.0,
        simulated_s=0.0,
        attempts=0,
        fallbacks=0,
        executions=executions,
        tokens_in=0,
        tokens_out=0,
        cost_usd=0.0,
        worker="",
    )
    return record, spans


def lost_batch(chunk: Chunk, trial: tuple[Record, list[Span]]) -> Batch:
    """The part of a chunk's batch that such a trial is."""
    (record, spans), block = trial, chunk.block
    return Batch(block.arm, block.repeat, block.index, chunk.index, columns(Record, [record]), columns(Span, spans))
