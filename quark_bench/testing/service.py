"""The service behind the connections: requests in, scripts out, and the count of it all. Times come in as numbers."""

from __future__ import annotations

import hmac
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from quark_bench.testing import answers
from quark_bench.testing.answers import Completion, asked, completed
from quark_bench.testing.damage import damaged
from quark_bench.testing.faults import Fault, Occasion, met
from quark_bench.testing.limits import Limiter
from quark_bench.testing.parsing import BadRequestError, Request
from quark_bench.testing.scripts import NONE, Order, Pace, Script, plain, refused, told
from quark_bench.testing.settings import Settings

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PAGES = {"/v1/models": "GET", "/stats": "GET", CHAT: "POST", COMPLETIONS: "POST"}


@dataclass(slots=True)
class Counts:
    """What a server has seen since it began; requests are those of completions, whatever became of them.

    by_status      answers begun by status; 0 where the connection was dropped before any
    by_fault       how many attempts met each kind of fault
    abandoned      answers that the client did not wait for
    under_way      requests read and not yet answered to their end; most_under_way the most at once
    open_connections, most_connections, connections   now, the most at once, and in all
    tokens         of healthy answers begun
    most_late_s    the most that a part of an answer left after it was due: how exact the server was
    arrivals_s     when each request was read, by time.monotonic() of this machine, where they are kept
    """

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    abandoned: int = 0
    under_way: int = 0
    most_under_way: int = 0
    open_connections: int = 0
    most_connections: int = 0
    connections: int = 0
    tokens: int = 0
    most_late_s: float = 0.0
    arrivals_s: list[float] = field(default_factory=list)


class Service:
    """Answers requests by its settings, with scripts for connections to play."""

    def __init__(self, settings: Settings) -> None:
        self.counts = Counts()
        self._settings = settings
        self._attempts: Counter[str] = Counter()
        self._limiter = Limiter(settings.rate_limit) if settings.rate_limit else None
        self._draws = settings.first_token_s.is_drawn or settings.between_tokens_s.is_drawn

    def connected(self) -> None:
        """A connection was opened."""
        counts = self.counts
        counts.connections += 1
        counts.open_connections += 1
        counts.most_connections = max(counts.most_connections, counts.open_connections)

    def disconnected(self) -> None:
        """A connection was closed."""
        self.counts.open_connections -= 1

    def begin(self, request: Request, now_s: float, wall_s: float) -> Script:
        """The script for a request that was read now, which is under way until `end`.

        `now_s` is monotonic, `wall_s` the time of day, for dates in headers.
        """
        counts = self.counts
        counts.under_way += 1
        head = request.head
        if head.method == "GET":
            return self._page(request)
        counts.requests += 1
        counts.most_under_way = max(counts.most_under_way, counts.under_way)
        if self._settings.keep_arrivals:
            counts.arrivals_s.append(now_s)
        try:
            script = self._page(request) if head.path not in (CHAT, COMPLETIONS) else self._call(request, now_s, wall_s)
        except BadRequestError as error:
            script = refused(error.status, str(error), "invalid_request_error", None)
        except Exception as error:  # noqa: BLE001 - a function that was given as answer may raise anything
            script = refused(500, f"the answer's function failed: {error!r}", "server_error", None)
        counts.by_status[script.status] += 1
        return script

    def sent(self, late_s: float) -> None:
        """A part of an answer left so long after it was due."""
        self.counts.most_late_s = max(self.counts.most_late_s, late_s)

    def end(self, abandoned: bool) -> None:
        """A request is no longer under way; abandoned, when the client left before the answer's end."""
        self.counts.under_way -= 1
        self.counts.abandoned += abandoned

    def _page(self, request: Request) -> Script:
        path, method = request.head.path, request.head.method
        if path not in PAGES:
            return refused(404, f"no page {path}; there are {', '.join(PAGES)}", "invalid_request_error", None)
        if PAGES[path] != method:
            return refused(405, f"{path} is for {PAGES[path]}", "invalid_request_error", None)
        if path == "/stats":
            return plain(200, answers.encoded(self._told()))
        return self._refuse_stranger(request) or plain(200, answers.models_body(self._settings.model))

    def _told(self) -> dict[str, Any]:
        """The counts but for the request that asks for them, and the CPU seconds of the server's process."""
        counts = {each.name: getattr(self.counts, each.name) for each in fields(Counts)}
        return counts | {"under_way": self.counts.under_way - 1, "cpu_s": time.process_time()}

    def _refuse_stranger(self, request: Request) -> Script | None:
        key, given = self._settings.key, request.head.headers.get("authorization", "")
        if key is None or hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return None
        return refused(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")

    def _call(self, request: Request, now_s: float, wall_s: float) -> Script:
        if stranger := self._refuse_stranger(request):
            return stranger
        settings = self._settings
        ask = asked(request.body, request.head.path == CHAT)
        completion = completed(ask, settings.answer, settings.tokens)
        headers = NONE
        if self._limiter:
            if refusal := self._refuse_excess(completion, now_s):
                return refusal
            headers = self._limiter.headers(now_s)
        key = f"{settings.seed}\0{identity(request)}" if self._draws or settings.faults else ""
        under_way = self.counts.under_way
        pace = Pace(
            settings.first_token_s.draw_s(f"{key}\0first", under_way),
            settings.between_tokens_s.draw_s(f"{key}\0between", under_way),
        )
        order = Order(ask, completion, pace, settings.usage, headers)
        if settings.faults and (fault := self._fault(key, ask.prompt)):
            self.counts.by_fault[fault.kind] += 1
            return damaged(fault, order, wall_s)
        self.counts.tokens += len(completion.tokens)
        return told(order)

    def _fault(self, key: str, prompt: str) -> Fault | None:
        self._attempts[key] += 1
        return met(self._settings.faults, Occasion(key, self._attempts[key], self.counts.requests, prompt))

    def _refuse_excess(self, completion: Completion, now_s: float) -> Script | None:
        assert self._limiter is not None
        tokens = completion.usage["total_tokens"]
        refusal = self._limiter.refuse(tokens, self.counts.under_way - 1, now_s)
        if refusal is None:
            return None
        headers = self._limiter.headers(now_s) | refusal.headers
        message = f"Rate limit reached for {self._settings.model} on {refusal.limit}."
        return refused(429, message, refusal.limit, "rate_limit_exceeded", headers)


def identity(request: Request) -> str:
    """What tells a request from others: its idempotency-key or x-request-id header, or else its path and body."""
    headers = request.head.headers
    given = headers.get("idempotency-key") or headers.get("x-request-id")
    return given or blake2b(request.head.path.encode() + b"\0" + request.body, digest_size=16).hexdigest()
