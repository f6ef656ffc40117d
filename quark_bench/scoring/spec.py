"""Spec: how scorers are written, as in `--score number:tolerance=0.01,weight=2`. Pure: text in, its parts out.

    NAME[:OPTION=VALUE,...]                 a built-in scorer
    FILE.py:NAME[:OPTION=VALUE,...]         a function; package.module:NAME too
    latency<2[:OPTION=VALUE,...]            a bound: latency or cost, < or <=, a number, s or ms for latency
    AGENT.MEASURE[@K][:OPTION=VALUE,...]    what an agent returned, or the first K of it: retrieval.recall@5

A comma ends a value where OPTION= follows it, so that a pattern may have others.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from quark_bench.errors import UsageError
from quark_bench.scoring.bounds import BOUNDED, Bound

ADJUSTMENTS = ("weight", "threshold", "name")
"""Options that every scorer has."""
REPEATABLE = ("model",)
"""Options that may be given several times."""

_BOUND = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<op><=?)\s*(?P<number>\d+\.?\d*|\.\d+)\s*(?P<unit>ms|s)?\s*(?::(?P<options>.*))?", re.DOTALL
)
_FUNCTION = re.compile(r"(?P<place>[^:=]+:[A-Za-z_]\w*)(?::(?P<options>.*))?", re.DOTALL)
_AGENT = re.compile(r"(?P<agent>[A-Za-z_]\w*)\.(?P<measure>[A-Za-z]\w*)(?:@(?P<k>\d+))?")
_BETWEEN = re.compile(r",(?=[A-Za-z_]+=)")
_NAME = re.compile(r"[A-Za-z]\w*")


class OfAgent(NamedTuple):
    """An agent, as it was written, how it is judged, and how much of its output."""

    agent: str
    measure: str
    k: int | None


@dataclass(frozen=True, slots=True)
class Spec:
    """A scorer as it was written: `kind` is a built-in's name, a function's place, or empty where `bound` or `of_agent`
    says all."""

    text: str
    kind: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bound: Bound | None = None
    of_agent: OfAgent | None = None

    def one(self, option: str) -> str | None:
        """The option's value; None where it was not given."""
        return self.options.get(option, (None,))[0]

    def number(self, option: str, most: float = float("inf")) -> float | None:
        """The option's value as a number from 0 to `most`. Raises UsageError for anything else."""
        text = self.one(option)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most or value == float("inf"):
            self.fail(f"{option}={text} is no number from 0" + (f" to {most:g}" if most < float("inf") else " up"))
        return value

    def flag(self, option: str) -> bool:
        """Whether `OPTION=yes` was given. Raises UsageError for what is neither yes nor no."""
        text = self.one(option) or "no"
        if text not in ("yes", "no"):
            self.fail(f"{option}={text}: write yes or no")
        return text == "yes"

    @property
    def name(self) -> str | None:
        """What the score is to be called. Raises UsageError for what is no name."""
        text = self.one("name")
        if text is not None and not _NAME.fullmatch(text):
            self.fail(f"name={text}: a letter, then letters, digits and _, as in name=close")
        return text

    def allow(self, options: Collection[str]) -> None:
        """Raise UsageError, with the nearest, for an option that is neither one of these nor an adjustment."""
        known = (*options, *ADJUSTMENTS)
        for option, values in self.options.items():
            if option not in known:
                near = difflib.get_close_matches(option, known, 1, cutoff=0)[0]
                self.fail(f"it has no option {option!r}; did you mean {near!r}? options: {', '.join(known)}")
            if len(values) > 1 and option not in REPEATABLE:
                self.fail(f"{option} is given twice; leave one out")

    def fail(self, why: str) -> NoReturn:
        """Raise UsageError about this scorer."""
        raise UsageError(f"--score {self.text}: {why}")


def parse_spec(text: str, built_in: Collection[str]) -> Spec:
    """The parts of a scorer as it is written. Raises UsageError, with the nearest, for what is none."""
    if (found := _BOUND.fullmatch(text)) and found["name"] in BOUNDED:
        name, unit = found["name"], found["unit"]
        if unit and name != "latency":
            raise UsageError(f"--score {text}: {name} is in dollars; give its limit without a unit")
        bound = Bound(name, found["op"], float(found["number"]) * (0.001 if unit == "ms" else 1.0))
        return Spec(text, "", _options(text, found["options"]), bound)
    name, _, options = text.partition(":")
    if name in built_in:
        return Spec(text, name, _options(text, options))
    if (found := _AGENT.fullmatch(name)) and (not options or "=" in options):
        of_agent = OfAgent(found["agent"], found["measure"], int(found["k"]) if found["k"] else None)
        return Spec(text, "", _options(text, options), of_agent=of_agent)
    if found := _FUNCTION.fullmatch(text):
        return Spec(text, found["place"], _options(text, found["options"]))
    if name in BOUNDED:
        raise UsageError(f"--score {text}: write {name} with its limit, as in: --score '{name}<2'")
    close = difflib.get_close_matches(name.lower(), built_in, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(
        f"--score {text}: no such scorer; {hint}scorers: {', '.join(built_in)}, 'latency<2', 'cost<0.01', "
        "FILE.py:NAME, AGENT.MEASURE"
    )


def _options(text: str, options: str | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for pair in _BETWEEN.split(options) if options else ():
        option, separator, value = pair.partition("=")
        if not separator or not value:
            raise UsageError(f"--score {text}: {pair!r} is no OPTION=VALUE, as in: --score number:tolerance=0.01")
        found[option.strip()] = (*found.get(option.strip(), ()), value)
    return found
