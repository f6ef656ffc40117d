"""Model use: how a run may use its model, and what is kept of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from quark_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """What all workers together may ask of one model; None: as much as they like. Raises UsageError for less than 1
    call or a rate that is not above 0."""

    requests_per_s: float | None = None
    """Sent in any stretch of t seconds: at most t times this, and a tenth of a second's worth, 1 or more, on top."""
    tokens_per_min: float | None = None
    """In and out, estimated when a request is sent and set right when its answer tells; a second's worth on top."""
    calls: int | None = None
    """Under way at once."""

    def __post_init__(self) -> None:
        for name in ("requests_per_s", "tokens_per_min"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} {rate:g}: give a number above 0")
        if self.calls is not None and self.calls < 1:
            raise UsageError(f"--model-calls {self.calls}: give 1 or more")

    @property
    def is_set(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class ModelUse:
    """`record` keeps the text of every answer with the run, so that it can be replayed."""

    limits: Limits = field(default_factory=Limits)
    record: bool = False


AS_IT_COMES = ModelUse()
