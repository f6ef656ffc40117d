"""Faults of a server, pure: what there are, and which of them meets which request."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.errors import UsageError
from quark_bench.testing.laws import drawn

KINDS: Mapping[str, str] = {
    "400 to 599": "answers with that status at once: 429, 500, 502, 503",
    "drop": "closes the connection before the headers",
    "drop-in-headers": "closes it in the middle of the headers",
    "drop-in-stream": "closes it after after_tokens tokens, or half a plain answer",
    "stall": "sends as much as drop-in-stream, then nothing, and stays open",
    "slow-headers": "sends the headers in single bytes over lasts_s",
    "bad-json": "cuts an event, after_tokens in, or a plain answer in half",
    "no-data": "sends an event, after_tokens in, without its 'data:'",
    "error-event": "sends an error after after_tokens tokens, and ends",
    "no-done": "ends without [DONE]",
    "crlf": "ends lines by CR LF (allowed)",
    "comments": "sends comment lines between events (allowed)",
    "split-character": "splits an event within a character in UTF-8 (allowed)",
    "html": "answers with an HTML page, status 200",
    "huge": "answers with megabytes MB of text",
    "empty-choices": "answers with no choices",
    "length": "stops after after_tokens tokens with finish reason 'length'",
    "no-usage": "tells no usage",
}
"""Every kind of fault, and what the server does then. Those of events leave a plain answer as it is."""
RETRY_AFTER_FORMS = ("seconds", "date", "ms")
_STATUS = re.compile(r"[45]\d\d")
_NTH = re.compile(r"(\d+)(?:-(\d+))?")
EXAMPLE = "'429: share=0.1, attempts=1, retry_after_s=2'"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and the requests that it meets: those for which all that is given holds.

    kind           see KINDS; `Fault("429")`, `Fault("stall")`
    share          of the attempts, drawn anew for each from the server's seed, the request and the attempt's number
    nth            by arrival, counted from 1: "3", or "10-20" for a burst
    pattern        a regular expression that is found in the messages
    attempts       only the first so many attempts of a request, so that retries succeed
    after_tokens   tokens that are sent before a fault in the stream
    retry_after_s  seconds to wait, told as `retry_after_form` says: "seconds", "date" (an HTTP date), or "ms" (the
                   header retry-after-ms, beside the whole seconds)
    lasts_s        seconds that slow headers take
    megabytes      of a huge answer, in 1,000,000 bytes
    body           whether a status comes with an error object

    Attempts of a request are told by its idempotency-key or x-request-id header, or by its equal body.
    Raises UsageError for what is no fault.
    """

    kind: str
    share: float = 1.0
    nth: str = ""
    pattern: str = ""
    attempts: int | None = None
    after_tokens: int = 1
    retry_after_s: float | None = None
    retry_after_form: str = "seconds"
    lasts_s: float = 1.0
    megabytes: float = 1.0
    body: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not _STATUS.fullmatch(self.kind):
            raise UsageError(
                f"no fault {self.kind!r}{_nearest(self.kind, KINDS)} Known: a status from 400 to 599, "
                + ", ".join(sorted(KINDS.keys() - {"400 to 599"}))
            )
        if not 0 <= self.share <= 1:
            raise UsageError(f"{self.kind}: share={self.share!r}: give a share from 0 to 1, 0.05 for 5 %")
        if self.nth and not _NTH.fullmatch(self.nth):
            raise UsageError(f"{self.kind}: nth={self.nth!r}: write 3 for the third request, 10-20 for a burst")
        if self.retry_after_form not in RETRY_AFTER_FORMS:
            near = _nearest(self.retry_after_form, RETRY_AFTER_FORMS)
            raise UsageError(f"{self.kind}: retry_after_form={self.retry_after_form!r}:{near} seconds, date or ms")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UsageError(f"{self.kind}: pattern={self.pattern!r} is no regular expression: {error}") from None

    @property
    def status(self) -> int | None:
        """The status that is answered with; None for other kinds."""
        return int(self.kind) if self.kind.isdigit() else None

    def meets(self, occasion: Occasion, place: int = 0) -> bool:
        """Whether it befalls that attempt; `place` tells faults of one list apart where they draw."""
        if self.attempts is not None and occasion.attempt > self.attempts:
            return False
        if self.nth and not self._counts(occasion.number):
            return False
        if self.pattern and not re.search(self.pattern, occasion.prompt):
            return False
        return self.share == 1 or drawn(occasion.key, occasion.attempt, place, "fault") < self.share

    def _counts(self, number: int) -> bool:
        first, last = self.nth.partition("-")[::2]
        return int(first) <= number <= int(last or first)


@dataclass(frozen=True, slots=True)
class Occasion:
    """An attempt of a request: its key of draws, the attempt's number, its place by arrival, and its prompt."""

    key: str
    attempt: int
    number: int
    prompt: str


def met(faults: Sequence[Fault], occasion: Occasion) -> Fault | None:
    """The first of the faults that meets the attempt."""
    return next((fault for place, fault in enumerate(faults) if fault.meets(occasion, place)), None)


def parse_fault(text: str) -> Fault:
    """Read `KIND` or `KIND: name=value, ...` with the names of Fault. A pattern may hold anything but `, name=`.

    Raises UsageError saying how it is written.
    """
    kind, _, rest = (each.strip() for each in text.partition(":"))
    types = {field.name: str(field.type) for field in dataclasses.fields(Fault)[1:]}
    given: dict[str, Any] = {}
    for pair in re.split(r",\s*(?=\w+\s*=)", rest) if rest else []:
        name, equals, value = (each.strip() for each in pair.partition("="))
        if name not in types or not equals:
            raise UsageError(f"fault {text!r}: no {name!r}{_nearest(name, types)} Write it as in {EXAMPLE}")
        try:
            given[name] = _value(value, types[name])
        except (KeyError, ValueError):
            raise UsageError(f"fault {text!r}: {name} is {value!r}; write it as in {EXAMPLE}") from None
    return Fault(kind, **given)


def _value(text: str, kind: str) -> Any:
    if kind == "bool":
        return {"true": True, "yes": True, "false": False, "no": False}[text.lower()] if text else True
    if kind.startswith("int"):
        return int(text)
    return float(text) if kind.startswith("float") else text


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else "."
