"""A server's rate limit, pure: buckets that refill, and the headers that tell of them. Time comes in as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quark_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a server grants: requests per second, tokens per minute (in and out), requests at once. None is unlimited.

    The buckets of requests and of tokens begin full, hold what comes in within `burst_s` seconds, at least one
    request, and refill all the time. Raises UsageError for a limit that is not above 0.
    """

    requests_per_s: float | None = None
    tokens_per_minute: float | None = None
    concurrent: int | None = None
    burst_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("requests_per_s", "tokens_per_minute", "concurrent", "burst_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}={value!r}: give a number above 0, or leave it out for no limit")


class Bucket:
    """Holds up to `capacity`, refills by `per_s` a second, begins full."""

    def __init__(self, capacity: float, per_s: float) -> None:
        self.capacity = capacity
        self._per_s = per_s
        self._level = capacity
        self._at_s = -math.inf

    def level(self, now_s: float) -> float:
        """What it holds now."""
        if now_s > self._at_s:
            self._level = min(self.capacity, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
        return self._level

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until it holds so much, or is full; 0 when it does now."""
        return max(0.0, (min(cost, self.capacity) - self.level(now_s)) / self._per_s)

    def take(self, cost: float, now_s: float) -> None:
        """Take so much; what costs more than a full bucket takes all of it."""
        self._level = self.level(now_s) - min(cost, self.capacity)

    def full_in_s(self, now_s: float) -> float:
        """Seconds until it is full."""
        return (self.capacity - self.level(now_s)) / self._per_s


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not admitted: the limit's name, and the seconds to wait where they are known."""

    limit: str
    wait_s: float | None

    @property
    def headers(self) -> dict[str, str]:
        """When to try again: in whole seconds, rounded up, and to the millisecond."""
        if self.wait_s is None:
            return {}
        return {"retry-after": str(math.ceil(self.wait_s)), "retry-after-ms": str(math.ceil(self.wait_s * 1_000))}


class Limiter:
    """Admits requests under a rate limit."""

    def __init__(self, limit: RateLimit) -> None:
        self._concurrent = limit.concurrent
        self._buckets: dict[str, Bucket] = {}
        if limit.requests_per_s is not None:
            per_s = limit.requests_per_s
            self._buckets["requests"] = Bucket(max(1.0, per_s * limit.burst_s), per_s)
        if limit.tokens_per_minute is not None:
            per_s = limit.tokens_per_minute / 60
            self._buckets["tokens"] = Bucket(max(1.0, per_s * limit.burst_s), per_s)

    def refuse(self, tokens: int, under_way: int, now_s: float) -> Refusal | None:
        """Admit a request of so many tokens beside those under way, or say what keeps it out."""
        if self._concurrent is not None and under_way >= self._concurrent:
            return Refusal("concurrent", None)
        costs = {"requests": 1, "tokens": tokens}
        waits = {name: bucket.wait_s(costs[name], now_s) for name, bucket in self._buckets.items()}
        if waits:
            longest = max(waits, key=lambda name: waits[name])
            if waits[longest] > 0:
                return Refusal(longest, waits[longest])
        for name, bucket in self._buckets.items():
            bucket.take(costs[name], now_s)
        return None

    def headers(self, now_s: float) -> dict[str, str]:
        """`x-ratelimit-limit-requests` and so on: a bucket's capacity, what is left, and in what time it is full."""
        told = {}
        for name, bucket in self._buckets.items():
            told[f"x-ratelimit-limit-{name}"] = str(math.floor(bucket.capacity))
            told[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(bucket.level(now_s))))
            told[f"x-ratelimit-reset-{name}"] = duration(bucket.full_in_s(now_s))
        return told


def duration(seconds: float) -> str:
    """As OpenAI writes it: `17ms`, `1.5s`, `6m0s`."""
    milliseconds = math.ceil(seconds * 1_000)
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1_000:g}s" if minutes else f"{rest / 1_000:g}s"
