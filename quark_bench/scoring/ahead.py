"""Ahead: judges are asked about several answers at once, and what they say comes back in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

ENDING_S = 5.0


def ahead(items: Iterable[A], ask: Callable[[A], Awaitable[B]], at_once: int) -> Generator[B]:
    """What comes of asking about each item, in their order, `at_once` of them under way, in a loop of their own thread:
    whoever calls may have a loop already. Whoever stops listening cancels what is still asked."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="quark-bench-judges", daemon=True)
    thread.start()
    room = asyncio.Semaphore(at_once)

    async def asked(item: A) -> B:
        async with room:
            return await ask(item)

    # Twice as many are begun: one that takes long keeps the others from being handed out, not from being asked.
    under_way: deque[Future[B]] = deque()
    try:
        for item in items:
            under_way.append(asyncio.run_coroutine_threadsafe(asked(item), loop))
            if len(under_way) >= 2 * at_once:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        asyncio.run_coroutine_threadsafe(_end(), loop).result(ENDING_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDING_S)
        loop.close()


async def _end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()  # by which models let go of their connections
