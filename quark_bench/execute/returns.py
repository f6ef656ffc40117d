"""Returns: results of Dask futures as they come, waited for no longer than is asked.

`as_completed` alone waits without a bound, and then nobody looks whether the cluster is still there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from quark_bench.errors import ClusterError, ExecutionError, describe

TICK_S = 0.25
"""So often a run looks up from waiting: for Ctrl-C, and for what has become of its cluster."""


class Returns:
    """Futures under way, each with what it is for."""

    def __init__(self, client: Client) -> None:
        self._done = as_completed(loop=client.loop, with_results=True, raise_errors=False)
        self._about: dict[Future, Any] = {}
        self._news: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._about)

    def add(self, futures: Iterable[Future], about: Iterable[Any]) -> None:
        """Wait for these futures too; `about` tells what each is for."""
        fresh = dict(zip(futures, about, strict=True))
        self._about.update(fresh)
        self._done.update(fresh)

    def tell(self, news: Any) -> None:
        """Something to hear of before the next result; called on any thread."""
        with self._done.thread_condition:
            self._news.append(news)
            self._done.thread_condition.notify()

    def heard(self) -> Iterator[Any]:
        """What has been told since it was last asked."""
        while self._news:
            yield self._news.popleft()

    def take(self, within_s: float = TICK_S) -> list[tuple[Any, Future, Any]]:
        """What has come: what it is for, its future and its result; nothing if nothing comes within a tick or this
        time, or as soon as there are news."""
        with self._done.thread_condition:
            if not (self._done.has_ready() or self._news):
                self._done.thread_condition.wait(min(TICK_S, within_s))
        come = self._done.next_batch(block=False)
        return [(self._about.pop(future), future, result) for future, result in come if future in self._about]

    def drop(self, about: Any) -> None:
        """Wait no longer for the futures that are for this."""
        for future in [future for future, other in self._about.items() if other is about]:
            del self._about[future]
            future.cancel()

    def close(self) -> None:
        """Wait for nothing any more."""
        for future in list(self._about):
            future.cancel()
        self._about.clear()


def bytes_of(future: Future, result: Any) -> bytes | None:
    """The bytes that a task returned; None where it was lost with its worker. Raises what befell the run."""
    if future.status == "finished" and isinstance(result, bytes):
        return result
    error = result[1] if isinstance(result, tuple) else result  # an erred future comes as type, exception, traceback
    if getattr(error, "reason", None) == "scheduler-connection-lost":
        raise ClusterError("the scheduler was lost while the run was under way")
    if future.status in ("cancelled", "lost") or isinstance(error, KilledWorker):
        return None
    raise ExecutionError(f"a task could not be carried out: {describe(error, 500)}")
