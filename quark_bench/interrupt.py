"""Interrupt: what Ctrl-C does to a run. The first one asks it to end, the second one ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def first_interrupt(ask_to_end: Callable[[], None]) -> Iterator[None]:
    """Inside, the first SIGINT calls `ask_to_end`, and any further one raises KeyboardInterrupt.

    Outside the main thread nothing changes: only the main thread is told of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ask_to_end()

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
