"""Objectives: what a measure must be, and whether it was."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quark_bench.errors import UsageError
from quark_bench.measures import Measure, unit_of
from quark_bench.stats import BEYOND_FAILURES
from quark_bench.units import SCORE, SECONDS, SHARE

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_SLO = re.compile(
    r"\s*(?:(?P<arm>.+?)\.)??(?P<measure>score_\w+\.\w+(?:@\d+\w*)?|[A-Za-z]\w*)\s*(?P<op><=|>=|<|>)\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<suffix>%|ms|s|)\s*"
)
_FACTORS = {"": 1.0, "%": 0.01, "s": 1.0, "ms": 0.001}
_SUFFIXES = {"%": (SHARE, SCORE), "s": (SECONDS,), "ms": (SECONDS,)}


@dataclass(frozen=True, slots=True)
class Slo:
    """A measure's limit, in the measure's unit. `arm` None is the last arm; `given` is false for a default.

    `suffix` is the unit that the limit was written in: `%`, `s`, `ms` or none.
    """

    text: str
    arm: str | None
    measure: str
    op: str
    limit: float
    suffix: str = ""
    given: bool = True


@dataclass(frozen=True, slots=True)
class SloResult:
    """What became of an objective: `met` is None where the measure has no value."""

    slo: Slo
    value: float | None
    met: bool | None

    @property
    def given(self) -> bool:
        """Whether a person asked for it: a missed default changes no exit code."""
        return self.slo.given


def parse_slo(text: str) -> Slo:
    """`[ARM.]MEASURE OP LIMIT`: `p95_latency_s<2`, `sync.p95_latency_s<200ms`, `parallel_rate>60%`.

    Raises UsageError, with an example, for anything else.
    """
    found = _SLO.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--slo {text!r} is not MEASURE, one of < <= > >=, and a number; write --slo 'p95_latency_s<2' "
            "or, for one arm, --slo 'sync.p95_latency_s<200ms'"
        )
    limit = float(found["number"]) * _FACTORS[found["suffix"]]
    return Slo(text.strip(), found["arm"], found["measure"], found["op"], limit, found["suffix"])


DEFAULT_SLOS: tuple[Slo, ...] = tuple(
    replace(parse_slo(text), given=False)
    for text in ("throughput_per_s>10", "mean_latency_s<2", "concurrent_agents>=3", "parallel_rate>0.6")
)
"""The targets of the orchestrator's design document: shown with every run, never a reason to fail one."""


def require_known(slos: Iterable[Slo], arms: Sequence[str], measures: Collection[str]) -> None:
    """Raise UsageError for an arm or a measure that the run will not have, with the nearest name, and for a limit
    in another unit than the measure's."""
    for slo in slos:
        if slo.arm is not None and slo.arm not in arms:
            raise UsageError(f"--slo {slo.text!r}: no arm {slo.arm!r} here{nearest(slo.arm, arms)}")
        if slo.measure not in measures:
            raise UsageError(f"--slo {slo.text!r}: no measure {slo.measure!r}{nearest(slo.measure, measures)}")
        unit = unit_of(slo.measure)
        if slo.suffix and unit not in _SUFFIXES[slo.suffix]:
            raise UsageError(f"--slo {slo.text!r}: {slo.measure} is in {unit.name}; give its limit without a unit")


def check(slos: Iterable[Slo], measures_by_arm: Mapping[str, Mapping[str, Measure]], last_arm: str) -> list[SloResult]:
    """Judge every objective by its arm's measure, the last arm's unless it names one.

    Raises UsageError for an unknown arm or measure, with the nearest name, and for a limit in another unit
    than the measure's.
    """
    return [_judged(slo, measures_by_arm, last_arm) for slo in slos]


def _judged(slo: Slo, measures_by_arm: Mapping[str, Mapping[str, Measure]], last_arm: str) -> SloResult:
    arm = last_arm if slo.arm is None else slo.arm
    require_known([slo], list(measures_by_arm), measures_by_arm.get(arm, {}))
    measure = measures_by_arm[arm][slo.measure]
    if measure.value is None and measure.note.startswith(BEYOND_FAILURES):
        # The percentile lies among failures, which count as slower than everything: it misses any upper limit.
        return SloResult(slo, None, slo.op.startswith(">"))
    if measure.value is None:
        return SloResult(slo, None, None)
    return SloResult(slo, measure.value, OPERATORS[slo.op](measure.value, slo.limit))


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: which of the known ones may have been meant."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else "; there is none"
