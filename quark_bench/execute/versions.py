"""Versions: what must be equal on both ends of a cluster, and how differences are told. Pure.

Dask only warns. Yet a worker with another Dask may hand an agent a reference in place of its input, and one with
another cloudpickle or Python may fail in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COMPARED = ("python", "dask", "distributed", "cloudpickle", "msgpack", "quark-bench")
NAMED = 2
"""Workers named in a message before it says how many more there are."""

Installed = Mapping[str, str | None]
"""A version by name; None where it is missing."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What is installed here, on the scheduler, and on each worker by its address."""

    client: Installed
    scheduler: Installed
    workers: Mapping[str, Installed]


@dataclass(frozen=True, slots=True)
class Difference:
    """What places have that differs from here in the same way: `(name, theirs, ours)` each."""

    places: tuple[str, ...]
    wrong: tuple[tuple[str, str | None, str], ...]


SCHEDULER = "the scheduler"


def compared(packages: Installed) -> dict[str, str | None]:
    """The compared versions among those that Dask tells; of Python's only 3.11 of 3.11.9."""
    python = packages.get("python")
    found = {name: packages.get(name.replace("-", "_"), packages.get(name)) for name in COMPARED}
    return found | {"python": ".".join(python.split(".")[:2]) if python else None}


def differences(versions: Versions) -> tuple[Difference, ...]:
    """Every difference from here; places with the same ones together. What is not known here is not compared."""
    groups: dict[tuple[tuple[str, str | None, str], ...], list[str]] = {}
    on_scheduler = _wrong(versions.client, versions.scheduler)
    for address in sorted(versions.workers):
        groups.setdefault(_wrong(versions.client, versions.workers[address]), []).append(address)
    found = [Difference((SCHEDULER,), on_scheduler)] if on_scheduler else []
    return (*found, *(Difference(tuple(places), wrong) for wrong, places in groups.items() if wrong))


def _wrong(ours: Installed, theirs: Installed) -> tuple[tuple[str, str | None, str], ...]:
    return tuple(
        (name, theirs.get(name), mine)
        for name in COMPARED
        if (mine := ours.get(name)) is not None and theirs.get(name) != mine
    )


def told(found: Sequence[Difference]) -> str:
    """All differences in one message, a line for those that are alike, and what to do about them."""
    lines = [f"  {told_places(each.places)}: {_told_wrong(each)}" for each in found]
    advice = "; ".join(dict.fromkeys(remedy(each) for each in found))
    return "\n".join(["versions on the cluster differ from those here:", *lines, advice])


def told_places(places: Sequence[str]) -> str:
    """`the scheduler`, `worker tcp://…`, or `100 workers (tcp://…, tcp://… and 98 more)`."""
    if len(places) == 1:
        return places[0] if places[0] == SCHEDULER else f"worker {places[0]}"
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{len(places)} workers ({', '.join(places[:NAMED])}{more})"


def _told_wrong(found: Difference) -> str:
    return ", ".join(f"{name} {theirs or 'missing'} (here {ours})" for name, theirs, ours in found.wrong)


def remedy(found: Difference) -> str:
    """What to install there, and which Python to start."""
    packages = " ".join(f"{name}=={ours}" for name, _, ours in found.wrong if name != "python")
    python = next((ours for name, _, ours in found.wrong if name == "python"), None)
    where = told_places(found.places)
    steps = ([f"start with Python {python}"] if python else []) + ([f"pip install {packages}"] if packages else [])
    return f"for {where}: {', and '.join(steps)}"
