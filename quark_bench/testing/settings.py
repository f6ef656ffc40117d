"""What a server was asked to be, as a record that travels to another process as JSON."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.errors import UsageError
from quark_bench.testing.answers import Answering
from quark_bench.testing.faults import Fault
from quark_bench.testing.laws import Law
from quark_bench.testing.limits import RateLimit


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of ModelServer, which explains them, came to."""

    first_token_s: Law
    between_tokens_s: Law
    tokens: int
    seed: int
    answer: Answering
    usage: bool
    model: str
    key: str | None
    faults: Sequence[Fault]
    rate_limit: RateLimit | None
    keep_arrivals: bool

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise UsageError(f"tokens={self.tokens}: give 0 or more tokens an answer")
        if isinstance(self.answer, Mapping):
            for pattern in self.answer:
                _require_pattern(pattern)

    def as_data(self) -> dict[str, Any]:
        """For JSON. Raises UsageError for an answer that only this process can give."""
        if callable(self.answer):
            raise UsageError("a function answers in this process only: give apart=False, or texts by pattern")
        return dataclasses.asdict(self)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Settings:
        """What `as_data` wrote."""
        limit = data["rate_limit"]
        made = {
            "first_token_s": Law(**data["first_token_s"]),
            "between_tokens_s": Law(**data["between_tokens_s"]),
            "faults": tuple(Fault(**each) for each in data["faults"]),
            "rate_limit": None if limit is None else RateLimit(**limit),
        }
        return cls(**{**data, **made})


def _require_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"answer: {pattern!r} is no regular expression: {error}") from None
