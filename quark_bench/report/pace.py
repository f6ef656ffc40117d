"""Pace: how a run gets on, counted chunk by chunk and told in a line; for the terminal and the notebook."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict, deque

from quark_bench.plan import Plan
from quark_bench.record import Batch, RecordStatus
from quark_bench.units import SECONDS, significant

RECENT = 500
"""Latencies that the shown median is over."""


class Pace:
    """Counts and rates of the measured part. Blocks run one at a time, so time since the last chunk is its arm's."""

    def __init__(self, plan: Plan, now_s: float) -> None:
        self.planned = plan.planned
        self.done = 0
        self.failed = 0
        self._left = Counter({arm.name: plan.prompts * plan.repeats for arm in plan.arms})
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._finished: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._arm = ""
        self._last_s = now_s

    def skip(self, arm: str, trials: int) -> None:
        """Count what an earlier session finished."""
        self.done += trials
        self._left[arm] -= trials

    def take(self, batch: Batch, now_s: float) -> float:
        """Count a chunk; the seconds since the one before it."""
        count, took_s = len(batch), now_s - self._last_s
        self.done += count
        self.failed += sum(status == RecordStatus.FAILED for status in batch.records["status"])
        if batch.arm != self._arm:
            self._latencies.clear()  # the median is of the arm that it stands beside
        self._arm = batch.arm
        self._left[batch.arm] -= count
        self._finished[batch.arm] += count
        self._spent_s[batch.arm] += took_s
        self._latencies.extend(batch.records["latency_s"])
        self._last_s = now_s
        return took_s

    def told(self) -> str:
        """Arm, prompts a second in it, recent median latency, failures, time left."""
        spent_s = self._spent_s[self._arm]
        rate = self._finished[self._arm] / spent_s if spent_s else 0.0
        return (
            f"{self._arm} {significant(rate)}/s, p50 {SECONDS.format(statistics.median(self._latencies))}, "
            f"{self.failed} failed, {self._remaining()}"
        )

    def _remaining(self) -> str:
        """Each arm at its own pace; one that has not begun at that of the slowest so far."""
        paces = {arm: self._spent_s[arm] / n for arm, n in self._finished.items()}
        slowest = max(paces.values())
        left_s = sum(left * paces.get(arm, slowest) for arm, left in self._left.items())
        return f"{_rough(left_s)} left" if left_s >= 1 else "almost done" if self.done < self.planned else "done"


def _rough(left_s: float) -> str:
    """An estimate deserves no decimals."""
    return f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min"
