"""Policy: how long an agent may take and what happens when it fails."""

from __future__ import annotations

from dataclasses import dataclass

from quark_bench.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Policy:
    """An agent's limits.

    The defaults: a minute is beyond every patient person's patience yet longer than a slow model's answer;
    no retry, because a benchmark that repeats failed calls unasked hides the failure it should report.
    """

    timeout_s: float | None = 60.0
    """Longest duration of one attempt; None waits for ever."""
    retries: int = 0
    """Further attempts after the first one failed."""
    backoff_s: float = 0.5
    """Wait before the first retry, doubled before each further one, each drawn from [half, full]."""
    backoff_max_s: float = 30.0
    """No wait is longer than this."""

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise PipelineError(f"timeout_s={self.timeout_s}: give seconds above 0, or None for no limit")
        if self.retries < 0:
            raise PipelineError(f"retries={self.retries}: give 0 or more")
        if self.backoff_s < 0 or self.backoff_max_s < 0:
            raise PipelineError("backoff_s and backoff_max_s are seconds, 0 or more")
