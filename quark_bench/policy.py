"""Policy: how long an agent may take, what happens when it fails, and whether its output may be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from quark_bench.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker: it spares a provider that is down, and the run the waiting for it.

    The defaults: five failures in a row are no chance event even where a fifth of all calls fail (one in 3,000), and
    half a minute is what restarts and rate limits take. Its state is shared by all workers. Raises PipelineError.
    """

    failures: int = 5
    """Consecutive failed attempts, over all workers, that open it: calls are then refused."""
    reset_s: float = 30.0
    """Seconds it refuses before one probe is let through, whose end closes it or opens it again."""
    provider: str | None = None
    """Agents whose breakers name the same provider share one state; None: the agent's own."""

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int) or self.failures < 1:
            raise PipelineError(f"breaker failures={self.failures!r}: give a whole number, 1 or more")
        if not self.reset_s > 0:
            raise PipelineError(f"breaker reset_s={self.reset_s}: give seconds above 0")
        if self.provider is not None and (not isinstance(self.provider, str) or not self.provider):
            raise PipelineError(f"breaker provider={self.provider!r}: give a name, or None for the agent's own breaker")

    def __str__(self) -> str:
        whose = f", shared by {self.provider}" if self.provider else ""
        return f"opens after {self.failures} failures in a row, probes after {self.reset_s:g} s{whose}"


@dataclass(frozen=True, slots=True)
class Policy:
    """An agent's limits. What stands in for an agent that failed is its `fallback`, beside them.

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
    breaker: Breaker | None = None
    """Refuses calls while the agent, or its provider, keeps failing; None lets all calls through."""
    cache: bool = False
    """Its output may be kept and given again for equal inputs, where a cache is given. Equal are the values of its
    inputs, the prompt's text, category and metadata, `call.seed` and the `version` of what its set-up returned."""

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise PipelineError(f"timeout_s={self.timeout_s}: give seconds above 0, or None for no limit")
        if self.retries < 0:
            raise PipelineError(f"retries={self.retries}: give 0 or more")
        if self.backoff_s < 0 or self.backoff_max_s < 0:
            raise PipelineError("backoff_s and backoff_max_s are seconds, 0 or more")
        if self.breaker is not None and not isinstance(self.breaker, Breaker):
            raise PipelineError(f"breaker={self.breaker!r}: give Breaker(failures=..., reset_s=...), or None")


class Cache(Protocol):
    """Where outputs are kept: bytes by key, also between runs. May forget whatever it likes, whenever it likes."""

    def get(self, key: str) -> bytes | None:
        """What was put under the key, or None. Called on an event loop, which it must not keep waiting."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Keep the value, in place of an older one. Called in any thread."""
        ...
