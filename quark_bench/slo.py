"""Objectives: what a measure, or a field of so many trials, must be, and whether it was."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quark_bench.agent import canonical
from quark_bench.errors import UsageError
from quark_bench.measures import Measure, unit_of
from quark_bench.stats import ALL_EQUAL, BEYOND_FAILURES, Interval, fewest_for_share
from quark_bench.trials import SCORE_PREFIX
from quark_bench.units import COUNT, DOLLARS, SCORE, SECONDS, SHARE, TOKENS, Unit

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
RECORD_FIELDS: Mapping[str, Unit] = {
    **dict.fromkeys(("latency_s", "answer_s", "service_s", "work_s", "critical_path_s"), SECONDS),
    "cost_usd": DOLLARS,
    "tokens_in": TOKENS,
    "tokens_out": TOKENS,
    "attempts": COUNT,
    "fallbacks": COUNT,
}
"""What a whole trial can be judged by, beside its scores."""
AGENT_FIELDS: Mapping[str, Unit] = {
    "duration_s": SECONDS,
    "queue_s": SECONDS,
    "first_token_s": SECONDS,
    "tokens_in": TOKENS,
    "tokens_out": TOKENS,
    "attempts": COUNT,
}
"""What an agent's part of a trial can be judged by: all its attempts together, `first_token_s` that of the last."""

_AGENT_SCORE = rf"score_\w+\.(?!(?:{'|'.join(AGENT_FIELDS)})\b)\w+(?:@\d+\w*)?"
"""As in score_retrieval.recall@5, which is no field of an agent called score_retrieval."""
_SLO = re.compile(
    rf"\s*(?:(?P<prefix>.+?)\.)??(?P<name>{_AGENT_SCORE}|[A-Za-z]\w*)\s*(?P<op><=|>=|<|>)\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<suffix>%|ms|s|)\s*"
    r"(?:@\s*(?P<percent>\d+\.?\d*|\.\d+)\s*%\s*)?"
)
ROUNDING = 1e-12
_FACTORS = {"": 1.0, "%": 0.01, "s": 1.0, "ms": 0.001}
_SUFFIXES = {"%": (SHARE, SCORE), "s": (SECONDS,), "ms": (SECONDS,)}


@dataclass(frozen=True, slots=True)
class Slo:
    """A limit, in the unit of what it limits: `name` is a measure; with a `share`, a field that at least this share of
    the trials must have within the limit.

    `prefix` says of which arm, of which agent, or `ARM.AGENT`: see `scope_of`. `given` is false for a default. `suffix`
    is the unit that the limit was written in: `%`, `s`, `ms` or none.
    """

    text: str
    prefix: str | None
    name: str
    op: str
    limit: float
    suffix: str = ""
    given: bool = True
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose objective it is: that of an arm, None for the last one, and of an agent, None for whole trials."""

    arm: str | None
    agent: str | None


@dataclass(frozen=True, slots=True)
class SloResult:
    """What became of an objective in an arm: the measure's value, or the share of trials that kept to it, with its 95 %
    interval. `met` is None where it could not be judged, and `note` says why."""

    slo: Slo
    arm: str
    value: float | None
    met: bool | None
    unit: Unit
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def given(self) -> bool:
        """Whether a person asked for it: a missed default changes no exit code."""
        return self.slo.given

    @property
    def clear(self) -> bool | None:
        """Whether it is met or missed by the whole interval, not only by the value; None where neither."""
        if self.low is None or self.high is None:
            return None if self.value is not None and self.note and not self.note.endswith(ALL_EQUAL) else self.met
        if self.slo.share is not None:
            return True if self.low >= self.slo.share else False if self.high < self.slo.share else None
        within = {OPERATORS[self.slo.op](bound, self.slo.limit) for bound in (self.low, self.high)}
        return within.pop() if len(within) == 1 else None


def parse_slo(text: str) -> Slo:
    """`[ARM.]MEASURE OP LIMIT` or `[ARM.][AGENT.]FIELD OP LIMIT@SHARE`: `sync.p95_latency_s<200ms`,
    `parallel_rate>60%`, `latency_s<2@99%`, `async.Reasoning.first_token_s<0.5@95%`.

    Raises UsageError, with an example, for anything else.
    """
    found = _SLO.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--slo {text!r} is not a name, one of < <= > >=, and a number; write --slo 'p95_latency_s<2' or, for one "
            "arm, --slo 'sync.p95_latency_s<200ms', or, of each trial, --slo 'latency_s<2@99%'"
        )
    limit = float(found["number"]) * _FACTORS[found["suffix"]]
    share = None if found["percent"] is None else float(found["percent"]) / 100
    if share is not None and not 0 < share < 1:
        raise UsageError(
            f"--slo {text!r}: give a share above 0 % and below 100 %, as in @99%; no number of trials shows 100 %"
        )
    return Slo(text.strip(), found["prefix"], found["name"], found["op"], limit, found["suffix"], share=share)


DEFAULT_SLOS: tuple[Slo, ...] = tuple(
    replace(parse_slo(text), given=False)
    for text in ("throughput_per_s>10", "mean_latency_s<2", "concurrent_agents>=3", "parallel_rate>0.6")
)
"""The targets of the orchestrator's design document: shown with every run, never a reason to fail one."""


def require_known(
    slos: Iterable[Slo], arms: Sequence[str], measures: Collection[str], agents: Sequence[str] = ()
) -> None:
    """Raise UsageError for an arm, an agent, a measure or a field that the run will not have, with the nearest name,
    and for a limit in another unit than theirs."""
    for slo in slos:
        agent = scope_of(slo, arms, agents).agent
        unit = _unit_of_measure(slo, measures) if slo.share is None else _unit_of_field(slo, agent, measures)
        if slo.suffix and unit not in _SUFFIXES[slo.suffix]:
            raise UsageError(f"--slo {slo.text!r}: {slo.name} is in {unit.name}; give its limit without a unit")


def scope_of(slo: Slo, arms: Sequence[str], agents: Sequence[str]) -> Scope:
    """What the prefix names: an arm, as it is spelled, before an agent, whose names compare without case and
    underscores; an agent that is called as an arm is needs the arm too. Raises UsageError with the nearest name."""
    if slo.prefix is None or slo.prefix in arms:
        return Scope(slo.prefix, None)
    if slo.share is None:
        kind = "an agent has fields, as in Reasoning.duration_s<2@95%; " if _named(slo.prefix, agents) else ""
        raise UsageError(f"--slo {slo.text!r}: {kind}no arm {slo.prefix!r} here{nearest(slo.prefix, arms)}")
    if (agent := _named(slo.prefix, agents)) is not None:
        return Scope(None, agent)
    for arm in arms:
        if slo.prefix.startswith(f"{arm}.") and (agent := _named(slo.prefix[len(arm) + 1 :], agents)) is not None:
            return Scope(arm, agent)
    known = [*arms, *agents, *(f"{arm}.{agent}" for arm in arms for agent in agents)]
    raise UsageError(f"--slo {slo.text!r}: no arm or agent {slo.prefix!r} here{nearest(slo.prefix, known)}")


def _named(name: str, agents: Sequence[str]) -> str | None:
    return next((agent for agent in agents if canonical(agent) == canonical(name)), None)


def _unit_of_measure(slo: Slo, measures: Collection[str]) -> Unit:
    if slo.name in measures:
        return unit_of(slo.name)
    if slo.name in RECORD_FIELDS or slo.name in AGENT_FIELDS:
        raise UsageError(f"--slo {slo.text!r}: {slo.name} is a trial's; say of how many: --slo '{slo.text}@95%'")
    raise UsageError(f"--slo {slo.text!r}: no measure {slo.name!r}{nearest(slo.name, measures)}")


def _unit_of_field(slo: Slo, agent: str | None, measures: Collection[str]) -> Unit:
    if agent is not None:
        fields, whose = dict(AGENT_FIELDS), "an agent"
    else:
        scores = (name for name in measures if name.startswith(SCORE_PREFIX) and not name.endswith("_answered"))
        fields, whose = {**RECORD_FIELDS, **dict.fromkeys(scores, SCORE)}, "a trial"
    if slo.name not in fields:
        raise UsageError(f"--slo {slo.text!r}: {whose} has no field {slo.name!r}{nearest(slo.name, fields)}")
    return fields[slo.name]


def check(
    slos: Iterable[Slo],
    measures_by_arm: Mapping[str, Mapping[str, Measure]],
    last_arm: str,
    attained: Mapping[Slo, SloResult] | None = None,
) -> list[SloResult]:
    """Judge every objective by its arm's measure, the last arm's unless it names one. What became of those with a share
    is `attained`: it takes the trials to know.

    Raises UsageError for an unknown arm or measure, with the nearest name, and for a limit in another unit
    than the measure's.
    """
    known = attained or {}
    return [known[slo] if slo in known else _judged(slo, measures_by_arm, last_arm) for slo in slos]


def judged_share(slo: Slo, arm: str, found: Interval) -> SloResult:
    """Missed where fewer than the share kept to it, as measured. More are met only of so many prompts that the interval
    could lie above the share; of fewer, not even all would show it."""
    assert slo.share is not None, "asked of objectives with a share only"
    note, met = found.note, None
    if found.value is not None:
        needed = fewest_for_share(slo.share)
        met = False if found.value < slo.share - ROUNDING else True if found.n >= needed else None
        note = f"n too small: {needed:,} prompts needed" if met is None else note
    return SloResult(slo, arm, found.value, met, SHARE, found.low, found.high, note)


def _judged(slo: Slo, measures_by_arm: Mapping[str, Mapping[str, Measure]], last_arm: str) -> SloResult:
    arm = slo.prefix or last_arm
    require_known([slo], list(measures_by_arm), measures_by_arm.get(arm, {}))
    measure = measures_by_arm[arm][slo.name]
    met = None if measure.value is None else OPERATORS[slo.op](measure.value, slo.limit)
    if measure.value is None and measure.note.startswith(BEYOND_FAILURES):
        # The percentile lies among failures, which count as slower than everything: it misses any upper limit.
        met = slo.op.startswith(">")
    return SloResult(slo, arm, measure.value, met, measure.unit, measure.low, measure.high, measure.note)


def slo_as_data(result: SloResult) -> dict[str, Any]:
    """What became of an objective as JSON-able data."""
    told = {name: getattr(result, name) for name in ("arm", "value", "low", "high", "met", "given", "note")}
    return {"text": result.slo.text, "unit": result.unit.name, **told}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: which of the known ones may have been meant."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, cutoff=0)
    return f"; did you mean {close[0]!r}?" if close else "; there is none"
