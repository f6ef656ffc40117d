"""Number: the answer's number is the reference's."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass

from quark_bench.scoring.score import ReferenceScorer, Score

TOLERANCE = 1e-6
"""Relative: wide enough for a rounding in the last of seven digits, too narrow for another result."""

FINAL = "####"
"""What GSM8K's worked solutions put before their result (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168)."""

_NUMBER = re.compile(
    r"""(?<!\w)(?<!\d\.)                          # neither the 2 of H2O nor the 3 of 1.2.3 is a number
        (?P<sign>[-+]?) (?:[$€£¥]\s?)?
        (?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d) | \d+)(?:\.\d+)? | \.\d+)
        (?P<exponent>e[-+]?\d+\b)?
        (?P<percent>\s?%)?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: `value` is 50 for `50 %`."""

    value: float
    is_percent: bool

    def meets(self, wanted: Number, tolerance: float = TOLERANCE) -> bool:
        """No further from the wanted one than that share of it. Where one alone has a percent sign, 50 % is both 50
        and 0.5."""
        if _close(self.value, wanted.value, tolerance):
            return True
        return self.is_percent != wanted.is_percent and _close(self._share(), wanted._share(), tolerance)

    def _share(self) -> float:
        return self.value / 100 if self.is_percent else self.value

    def __str__(self) -> str:
        return f"{self.value:.12g}{' %' if self.is_percent else ''}"


def _close(given: float, wanted: float, tolerance: float) -> bool:
    return abs(given - wanted) <= tolerance * abs(wanted)


def judge_number(answer: str, reference: str, tolerance: float = TOLERANCE) -> Score | None:
    """1 where the answer's number equals the reference's up to that share of it, else 0; None for a reference that is
    not a number.

    A reference is a number where it is nothing else, or gives one after `####`. The answer's is the one after
    its `####`, or else its last: a result ends the explanation.
    """
    wanted = reference_number(reference)
    if wanted is None:
        return None
    given = answer_number(answer)
    if given is None:
        return Score(0.0, f"no number in the answer; the reference is {wanted}")
    same = given.meets(wanted, tolerance)
    return Score(float(same), f"{given} {'equals' if same else 'is not'} {wanted}")


def reference_number(reference: str) -> Number | None:
    """The number that a reference stands for; None where it is a text, even one with numbers in it."""
    if FINAL in reference:
        return next(iter(_numbers(reference.rpartition(FINAL)[2])), None)
    bare = _NUMBER.fullmatch(_plain(reference).strip().rstrip("."))
    return _read(bare) if bare else None


def answer_number(answer: str) -> Number | None:
    """The number that an answer comes to: the first after `####`, else the last of all."""
    final = _numbers(answer.rpartition(FINAL)[2]) if FINAL in answer else []
    return final[0] if final else next(reversed(_numbers(answer)), None)


def _numbers(text: str) -> list[Number]:
    found = (_read(match) for match in _NUMBER.finditer(_plain(text)))
    return [number for number in found if number is not None]


def _plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def _read(match: re.Match[str]) -> Number | None:
    value = float(match["sign"] + match["digits"].replace(",", "") + (match["exponent"] or ""))
    # Beyond the largest float all numbers are infinity, hence "equal".
    return Number(value, match["percent"] is not None) if math.isfinite(value) else None


def number(tolerance: float = TOLERANCE) -> ReferenceScorer:
    """The scorer with that relative tolerance: 0.01 is 1 % of the reference."""
    version = "1" if tolerance == TOLERANCE else f"1 tolerance={tolerance:g}"
    return ReferenceScorer("number", version, functools.partial(judge_number, tolerance=tolerance))
