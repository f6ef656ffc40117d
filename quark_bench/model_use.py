"""Model use: how a run may use its model, and what is kept of it."""

from __future__ import annotations

import math
import re
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
class Budget:
    """What a run may spend at models in all its sessions, in `usd` or in `tokens` in and out. Warm-ups do not count."""

    amount: float
    unit: str

    def spent(self, cost_usd: float, tokens: float) -> float:
        return cost_usd if self.unit == USD else tokens

    def told(self, amount: float) -> str:
        return f"{amount:,.2f} USD" if self.unit == USD else f"{amount:,.0f} tokens"

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"


USD, TOKENS = "usd", "tokens"


def parse_budget(text: str) -> Budget:
    """`5usd`, `0.50usd`, `200000tokens`. Raises UsageError, with an example, for anything else."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(usd|tokens)\s*", text.lower().replace("_", "").replace(",", ""))
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"--budget {text!r}: write an amount above 0 and its unit, as in 5usd or 200000tokens")
    return Budget(float(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class ModelUse:
    """`limits` hold over all workers; `record` keeps the text of every answer with the run, so that it can be
    replayed; what is under way when the `budget` is spent is ended, and the run can be continued with a larger one."""

    limits: Limits = field(default_factory=Limits)
    record: bool = False
    budget: Budget | None = None


AS_IT_COMES = ModelUse()
