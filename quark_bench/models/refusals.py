"""Refusals: what a server answered with instead of an answer, as the error that tells why and what to do. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from quark_bench.errors import (
    MalformedReplyError,
    ModelError,
    ModelRateLimitedError,
    ModelRefusedError,
    ModelServerError,
    ModelTimeoutError,
)
from quark_bench.models.answers import parsed, told_error

LONGEST = 500
"""Characters kept of what a server says."""
QUOTA = "insufficient_quota"
"""What OpenAI calls a 429 that no waiting ends."""

Headers = Mapping[str, str]
"""By their names in lower case."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who was asked for what, as errors name it. `has_key` tells whether a key was sent."""

    model: str
    base_url: str
    variable: str
    has_key: bool

    def refusal(self, status: int, headers: Headers, body: bytes, wall_s: float) -> ModelError:
        """The error for a status other than 200; `wall_s` is the time of day, in seconds since the epoch."""
        said = _said(body)
        wait_s = retry_after_s(headers, wall_s)
        place = f"the server at {self.base_url} answers {status}"
        if status == 429 and QUOTA not in said:
            return ModelRateLimitedError(f"{place}, too many requests: {said}", retry_after_s=wait_s)
        if status == 408:
            return ModelTimeoutError(f"{place}, it waited too long for the request: {said}", retry_after_s=wait_s)
        if status >= 500:
            return ModelServerError(f"{place}: {said}; see the server's log", retry_after_s=wait_s)
        return ModelRefusedError(f"{place}: {said}; {self._remedy(status, headers)}", retry_after_s=wait_s)

    def _remedy(self, status: int, headers: Headers) -> str:
        if status in (401, 403):
            where = "where the processes that ask are started"
            if self.has_key:
                return f"set {self.variable} to a key that it accepts, {where}"
            return f"set {self.variable} to a key, {where}, or name another variable with --api-key-env"
        if 300 <= status < 400:
            return f"give --base-url the address that it points to: {headers.get('location', 'it names none')}"
        if status == 404:
            return f"see whether it has the model {self.model!r}, and whether --base-url is right: most end in /v1"
        if status == 429:
            return "see to the account that the key belongs to"
        return f"see what it wants of requests to {self.model!r}"


def retry_after_s(headers: Headers, wall_s: float) -> float | None:
    """How long the server asks to wait; None where it does not say.

    `retry-after-ms` is OpenAI's; Retry-After has seconds or a date (RFC 9110, section 10.2.3).
    """
    if (wait_ms := _number(headers.get("retry-after-ms"))) is not None:
        return wait_ms / 1_000
    told = headers.get("retry-after")
    if told is None or (wait_s := _number(told)) is not None:
        return None if told is None else wait_s
    try:
        until = parsedate_to_datetime(told)
        return max(0.0, until.timestamp() - wall_s)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def left(headers: Headers, what: str) -> int | None:
    """What the rate limit has left of `requests` or `tokens`."""
    count = _number(headers.get(f"x-ratelimit-remaining-{what}"))
    return None if count is None else int(count)


def _number(told: str | None) -> float | None:
    try:
        number = float(told or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _said(body: bytes) -> str:
    """One line."""
    text = body.decode("utf-8", "replace")
    try:
        page = parsed(text)
        code = page["error"].get("code") if isinstance(page.get("error"), dict) else None
        said = told_error(page, text)
        text = f"{said} ({code})" if code else said
    except MalformedReplyError:
        pass
    line = " ".join(text.split())
    return line[:LONGEST].rstrip(".") or "no reason given"
