"""Model calls: what a run's questions to its models add up to, by arm and model, read a part at a time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quark_bench.stats import Floats, Groups, Interval, quantile_interval

COLUMNS = [
    *("arm", "prompt_id", "model", "status", "start_s", "sent_s", "end_s", "waited_s", "first_token_s"),
    *("inter_token_s", "tokens_in", "tokens_out", "estimated", "cost_usd", "finish_reason", "retries"),
]
QUANTILES = (0.50, 0.95)


@dataclass(slots=True)
class ModelCalls:
    """Of one arm and one model. Of times there is one a call: those of answers only, but for the waits.

    Tokens are `estimated` where any were counted here and not by the server. `finishes` counts the reasons that the
    server gave for ending an answer.
    """

    arm: str
    model: str
    statuses: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    cost_usd: float = 0.0
    waited_s: array[float] = field(default_factory=lambda: array("f"))
    took_s: array[float] = field(default_factory=lambda: array("f"))
    first_token_s: array[float] = field(default_factory=lambda: array("f"))
    inter_token_s: array[float] = field(default_factory=lambda: array("f"))
    prompts: array[int] = field(default_factory=lambda: array("q"))
    """Of each answer the prompt it was asked for, by a number."""

    @property
    def calls(self) -> int:
        return self.statuses.total()

    def quantile_s(self, name: str, q: float) -> Interval:
        """A quantile of `took_s`, `first_token_s` or `inter_token_s` over the answers, prompts as groups."""
        values: Floats = np.array(getattr(self, name), np.float64)
        groups: Groups = np.unique(np.array(self.prompts, np.int64), return_inverse=True)[1]
        known = ~np.isnan(values)
        return quantile_interval(values[known], q, groups=groups[known])

    def add(self, calls: pd.DataFrame) -> None:
        answered = calls[calls["status"] == "ok"]
        self.statuses.update(calls["status"])
        self.finishes.update(answered["finish_reason"].dropna())
        self.retries += int(calls["retries"].sum())
        self.tokens_in += int(calls["tokens_in"].sum())
        self.tokens_out += int(calls["tokens_out"].sum())
        self.estimated |= bool(answered["estimated"].any())
        self.cost_usd += float(calls["cost_usd"].sum())
        self.prompts.extend(pd.util.hash_array(answered["prompt_id"].to_numpy(object)).astype(np.int64).tolist())
        took_s = answered["end_s"] - answered["sent_s"]
        for held, values in (
            (self.waited_s, calls["waited_s"]),
            (self.took_s, took_s),
            (self.first_token_s, answered["first_token_s"]),
            (self.inter_token_s, answered["inter_token_s"]),
        ):
            held.frombytes(values.to_numpy(np.float32).tobytes())


def sum_calls(parts: Iterable[pd.DataFrame], arms: Iterable[str]) -> list[ModelCalls]:
    """Arms in the order given, of each its models by name."""
    found: dict[tuple[str, str], ModelCalls] = {}
    for part in parts:
        for (arm, model), calls in part.groupby(["arm", "model"]):
            place = (str(arm), str(model))
            found.setdefault(place, ModelCalls(*place)).add(calls)
    order = {arm: position for position, arm in enumerate(arms)}
    return sorted(found.values(), key=lambda each: (order[each.arm], each.model))
