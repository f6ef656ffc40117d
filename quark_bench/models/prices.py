"""Prices: what a model's tokens cost, from a file that the user gives."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError, UsageError

FIELDS = ("usd_per_million_in", "usd_per_million_out")
EXAMPLE = '["gpt-5-mini"], then usd_per_million_in = 0.25 and usd_per_million_out = 2.0'


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, of prompts and of answers."""

    usd_per_million_in: float
    usd_per_million_out: float

    def cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6


def price_of(model: str, path: str | Path) -> Price:
    """The price of a model in a TOML file that has a table for each model's name.

    Raises DataError, naming the file and the table, for what is no price, UsageError where the model has none.
    """
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"--prices {path}: cannot be read: {error.strerror}; name a TOML file with {EXAMPLE}"
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: is no TOML: {error}; write {EXAMPLE}") from None
    if model not in tables:
        near = difflib.get_close_matches(model, tables, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"--prices {path}: no table for {model!r}; {hint}Write {EXAMPLE}")
    return _price(tables[model], f"{path}, [{model}]")


def _price(table: Any, place: str) -> Price:
    if not isinstance(table, dict) or set(table) != set(FIELDS):
        raise DataError(f"{place}: give {' and '.join(FIELDS)}, in dollars, and nothing else")
    for name, value in table.items():
        if type(value) not in (int, float) or not (math.isfinite(value) and value >= 0):
            raise DataError(f"{place}: {name} is {value!r}; give dollars per million tokens, 0 or more")
    return Price(*(float(table[name]) for name in FIELDS))
