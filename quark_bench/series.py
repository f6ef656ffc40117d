"""Series: which runs measured the same thing in the same way, and so may stand in one history. Pure.

The code of a pipeline may change within a series, as a history is there to follow it. What was asked, the shape of the
pipeline, how the run was laid out and the hardware may not: where any of them changes, a new series begins.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"
NONE = "none"
ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Series:
    """What runs of a series have in common, each part in words by its name; equal parts give an equal `id`."""

    id: str
    parts: Mapping[str, str]

    def differs_in(self, other: Series) -> tuple[str, ...]:
        """Names of the parts that are not the same in both."""
        names = dict.fromkeys((*self.parts, *other.parts))
        return tuple(name for name in names if self.parts.get(name) != other.parts.get(name))


def series_of(manifest: Mapping[str, Any]) -> Series:
    """The series that a run belongs to. What its manifest lacks is `unknown`, which is a part like any other."""
    pipeline, place, machine = (_within(manifest, name) for name in ("pipeline", "cluster", "provenance"))
    parts = {
        "pipeline": _shape(pipeline),
        "data set": _told(_within(manifest, "dataset"), "hash")[:ID_LENGTH],
        "scorers": ", ".join(sorted(_scorers(manifest))) or NONE,
        "model": _told(pipeline, "model", NONE),
        "arms": ", ".join(map(_arm, _listed(manifest, "arms"))) or UNKNOWN,
        "repeats": _told(_within(manifest, "gating") or manifest, "repeats"),  # an alarm doubles those of a gate
        "place": _told(place, "on"),
        "workers": _told(place, "workers"),
        "latency profile": _told(pipeline, "latency_profile", NONE),
        "chaos": _told(manifest, "chaos", NONE),
        "cache": "yes" if manifest.get("cache") else "no",
        "learning": "yes" if pipeline.get("learns_in") else "no",
        "processor": _told(machine, "cpu"),
        "cores": _told(machine, "cores"),
        "memory": _told(machine, "memory"),
        "Python": re.sub(r"(\d+\.\d+)\..*", r"\1", _told(machine, "python")),
    }
    return Series(hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:ID_LENGTH], parts)


def most_similar(series: Series, others: Iterable[Series]) -> Series | None:
    """The one that differs in the fewest parts, the first of several; None where there is no other."""
    return min(others, key=lambda other: len(series.differs_in(other)), default=None)


def _shape(pipeline: Mapping[str, Any]) -> str:
    """`support: retrieval, reasoning (retrieval); answer reasoning`."""
    agents = ", ".join(map(_agent, _listed(pipeline, "agents"))) or UNKNOWN
    return f"{_told(pipeline, 'name')}: {agents}; answer {_told(pipeline, 'answer')}"


def _scorers(manifest: Mapping[str, Any]) -> Iterator[str]:
    versions = _within(manifest, "score_versions")
    for name in map(str, _listed(manifest, "scorers")):
        version = versions.get(name, "1")
        yield name if version == "1" else f"{name} ({version})"


def _agent(agent: Any) -> str:
    needs = ", ".join(map(str, _listed(agent, "needs")))
    return f"{_told(agent, 'name')} ({needs})" if needs else _told(agent, "name")


def _arm(arm: Any) -> str:
    arrivals = _within(arm, "arrivals") if isinstance(arm, Mapping) else {}
    load = f", {_told(arrivals, 'shape')} at {_told(arrivals, 'rate')}/s" if arrivals else ""
    return f"{_told(arm, 'name')} ({_told(arm, 'strategy')}, {_told(arm, 'in_flight')} in flight{load})"


def _told(data: Any, name: str, absent: str = UNKNOWN) -> str:
    value = data.get(name) if isinstance(data, Mapping) else None
    return absent if value is None else str(value)


def _within(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(data: Any, name: str) -> Sequence[Any]:
    found = data.get(name) if isinstance(data, Mapping) else None
    return found if isinstance(found, list | tuple) else ()
