"""Liveness: when to stop waiting for a cluster. Pure; Dask by itself waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SILENT_S = 20.0
"""A scheduler that has not answered for this long is gone, or the network to it is."""
WORKERLESS_S = 30.0
"""A nanny restarts a worker in 2 to 5 s; after this long nobody is coming back: no worker at all, or none that offers a
resource that an agent needs."""
PAUSED_S = 60.0
"""Workers that hold this long above Dask's memory limits will not go on by themselves."""


@dataclass(frozen=True, slots=True)
class View:
    """What the client sees of its cluster: for how long the scheduler has been silent, how long no worker could
    take part, how long all workers have been paused, and why workers could not take part."""

    silent_s: float
    workerless_s: float
    paused_s: float
    unfit: Sequence[str] = ()


def fault_of(view: View) -> str | None:
    """Why the run cannot go on, and what to do about it; None while it can."""
    if view.silent_s > SILENT_S:
        return f"the scheduler has not answered for {view.silent_s:.0f} s: it hangs, or the network to it is down"
    if view.workerless_s > WORKERLESS_S:
        if view.unfit:
            return f"no worker can take part: {view.unfit[0]}"
        return (
            f"the cluster has had no workers for {view.workerless_s:.0f} s: they died and nothing restarts them; "
            "start workers (`dask worker ADDRESS`, or --on local starts its own)"
        )
    if view.paused_s > PAUSED_S:
        return (
            f"all workers have been paused for {view.paused_s:.0f} s, as they are above Dask's memory limit; "
            "give them more memory, or fewer prompts in flight"
        )
    return None
