"""Drain: how a run that is asked to stop ends what it has begun, within a bounded time."""

from __future__ import annotations

import math
from time import monotonic

DRAIN_S = 10.0
"""What is under way when a run is asked to stop has this long to end; its records are kept."""


class Drain:
    """Begun by the first Ctrl-C: nothing new is handed out, and what is under way is waited for until it is over."""

    def __init__(self) -> None:
        self._until_s = math.inf

    def begin(self) -> None:
        """Ask for the end; called again it changes nothing."""
        self._until_s = min(self._until_s, monotonic() + DRAIN_S)

    @property
    def begun(self) -> bool:
        return self._until_s < math.inf

    @property
    def over(self) -> bool:
        """Nothing is waited for any more."""
        return monotonic() > self._until_s
