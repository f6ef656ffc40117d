"""Mark: what `@pytest.mark.quark(...)` asks of a test's run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from quark_bench.errors import UsageError

INCONCLUSIVE = ("skip", "fail", "pass")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is held to, see `pytest_plugin.MARK`. What is None is left to whoever runs it."""

    slo: tuple[str, ...] = ()
    against: Any = None
    repeats: int | None = None
    on: str | None = None
    inconclusive: str = "skip"

    @property
    def options(self) -> dict[str, Any]:
        """Those that a run takes as they are."""
        given = {"repeats": self.repeats, "on": self.on}
        return {name: value for name, value in given.items() if value is not None}


def wanted(marks: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Wanted:
    """What marks ask together, given as their arguments, the outermost first; the innermost has the last word.

    Raises UsageError for what no mark can ask.
    """
    known = [field.name for field in fields(Wanted)]
    asked: dict[str, Any] = {}
    for arguments, named in marks:
        if arguments:
            raise UsageError(f"@pytest.mark.quark{arguments!r}: name what it asks, as in slo=['p95_latency_s<2']")
        for name in named.keys() - set(known):
            near = difflib.get_close_matches(name, known, 1, cutoff=0)[0]
            raise UsageError(f"@pytest.mark.quark({name}=...): no such option; did you mean {near}?")
        asked |= named
    if isinstance(slo := asked.get("slo", ()), str):
        slo = (slo,)
    found = Wanted(**{**asked, "slo": tuple(slo)})
    if found.inconclusive not in INCONCLUSIVE:
        raise UsageError(
            f"@pytest.mark.quark(inconclusive={found.inconclusive!r}): give one of {', '.join(INCONCLUSIVE)}"
        )
    return found
