"""Decide: what a failure costs, and whom a breaker lets through. Pure: time comes in as a number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from quark_bench.policy import Breaker, Policy


class Failure(Enum):
    """Kinds of failure of one attempt."""

    ERROR = "error"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """By an open breaker: the agent was never called."""
    ENGINE = "engine"
    """No thread or task could be started: the agent was never called, and is not to blame."""


class Next(Enum):
    """What follows a failed attempt."""

    RETRY = "retry"
    FALL_BACK = "fall back"
    GIVE_UP = "give up"
    GO_ON_SEQUENTIALLY = "go on sequentially"


AFTER_FAILURE: Mapping[tuple[Failure, bool, bool], Next] = {
    # failure, retries left, fallback given
    (Failure.ERROR, True, True): Next.RETRY,
    (Failure.ERROR, True, False): Next.RETRY,
    (Failure.ERROR, False, True): Next.FALL_BACK,
    (Failure.ERROR, False, False): Next.GIVE_UP,
    (Failure.TIMEOUT, True, True): Next.RETRY,
    (Failure.TIMEOUT, True, False): Next.RETRY,
    (Failure.TIMEOUT, False, True): Next.FALL_BACK,
    (Failure.TIMEOUT, False, False): Next.GIVE_UP,
    # A retry against an open breaker would only be refused again.
    (Failure.REFUSED, True, True): Next.FALL_BACK,
    (Failure.REFUSED, True, False): Next.GIVE_UP,
    (Failure.REFUSED, False, True): Next.FALL_BACK,
    (Failure.REFUSED, False, False): Next.GIVE_UP,
    # The same call is made, in another way: it spends neither a retry nor the fallback.
    (Failure.ENGINE, True, True): Next.GO_ON_SEQUENTIALLY,
    (Failure.ENGINE, True, False): Next.GO_ON_SEQUENTIALLY,
    (Failure.ENGINE, False, True): Next.GO_ON_SEQUENTIALLY,
    (Failure.ENGINE, False, False): Next.GO_ON_SEQUENTIALLY,
}


def after_failure(policy: Policy, failure: Failure, attempt: int, fallback: bool) -> Next:
    """What follows the failure of attempt number `attempt` (from 1) of an agent with or without a fallback."""
    return AFTER_FAILURE[failure, attempt <= policy.retries, fallback]


def backoff_s(policy: Policy, attempt: int, seed: int) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    Waits double and are drawn from [half, full] by `seed`: AWS's "equal jitter", which keeps callers that
    failed together from coming back together, yet never retries at once.
    """
    full_s: float = min(policy.backoff_max_s, policy.backoff_s * 2 ** (attempt - 1))
    return full_s * (0.5 + 0.5 * random.Random(seed * 31 + attempt).random())


class Complaint(Enum):
    """Why a model did not answer, as far as it matters for asking again."""

    BUSY = "busy"
    """429, or 5xx with a time to come back."""
    FAULT = "fault"
    """5xx, or a connection that was lost."""
    FINAL = "final"
    """A timeout, a refusal of the request as it is, or no answer at all in what came: the same would come again, or
    has cost its time already."""


MOST_ASKED: Mapping[Complaint, int] = {Complaint.BUSY: 8, Complaint.FAULT: 3, Complaint.FINAL: 1}
"""How often a question is sent at most, before its agent's own policy decides."""
LONGEST_RETRY_AFTER_S = 300.0
"""A server that asks for more is not waited for."""


def ask_again_after_s(complaint: Complaint, asked: int, retry_after_s: float | None, seed: int) -> float | None:
    """Seconds to wait before a question that was asked so often is asked again; None: it is not.

    As long as the server says, a little longer by `seed`, so that not all come back at once; else half a second,
    doubled each time, drawn as in `backoff_s`.
    """
    if asked >= MOST_ASKED[complaint] or (retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S:
        return None
    draw = random.Random(seed * 31 + asked).random()
    if retry_after_s is not None:
        return retry_after_s * (1.0 + 0.1 * draw)
    return float(min(30.0, 0.5 * 2 ** (asked - 1)) * (0.5 + 0.5 * draw))


class Phase(StrEnum):
    """Of a circuit breaker."""

    CLOSED = "closed"
    """Lets every call through."""
    OPEN = "open"
    """Refuses every call, for a time."""
    HALF_OPEN = "half-open"
    """Has let one call through, the probe, and refuses all others until that has ended."""


class Event(Enum):
    """What befalls a circuit breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    LAST_FAILURE = "the failure that makes as many in a row as it bears"
    PROBE_SUCCESS = "success of the probe"
    PROBE_FAILURE = "failure of the probe"
    TIME_OVER = "a call when the time to refuse, or to wait for the probe, is over"


TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = {
    (Phase.CLOSED, Event.SUCCESS): Phase.CLOSED,
    (Phase.CLOSED, Event.FAILURE): Phase.CLOSED,
    (Phase.CLOSED, Event.LAST_FAILURE): Phase.OPEN,
    # Calls that were under way when it opened tell of the past, and change nothing.
    (Phase.OPEN, Event.SUCCESS): Phase.OPEN,
    (Phase.OPEN, Event.FAILURE): Phase.OPEN,
    (Phase.OPEN, Event.TIME_OVER): Phase.HALF_OPEN,
    (Phase.HALF_OPEN, Event.SUCCESS): Phase.HALF_OPEN,
    (Phase.HALF_OPEN, Event.FAILURE): Phase.HALF_OPEN,
    (Phase.HALF_OPEN, Event.PROBE_SUCCESS): Phase.CLOSED,
    (Phase.HALF_OPEN, Event.PROBE_FAILURE): Phase.OPEN,
    # The probe's worker has died, or it would have ended: another call becomes the probe.
    (Phase.HALF_OPEN, Event.TIME_OVER): Phase.HALF_OPEN,
}
"""Every event that can befall a phase: only a closed breaker counts failures, only a half-open one has a probe."""


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A circuit breaker at one moment. `until_s` is when an open one probes, or a half-open one stops waiting for
    its probe, on the clock of whoever decides; `probe` numbers the probes made so far."""

    phase: Phase = Phase.CLOSED
    failures: int = 0
    until_s: float = 0.0
    probe: int = 0


class Verdict(Enum):
    """On a call that asks to be let through."""

    PASS = "pass"  # noqa: S105 - no password
    PROBE = "probe"
    REFUSE = "refuse"


def admit(state: BreakerState, now_s: float, lease_s: float) -> tuple[BreakerState, Verdict]:
    """Whether a call may be made. A probe that has not ended after `lease_s` is given up on."""
    if state.phase is Phase.CLOSED:
        return state, Verdict.PASS
    if now_s < state.until_s:
        return state, Verdict.REFUSE
    phase = TRANSITIONS[state.phase, Event.TIME_OVER]
    return BreakerState(phase, state.failures, now_s + lease_s, state.probe + 1), Verdict.PROBE


def settle(state: BreakerState, breaker: Breaker, succeeded: bool, probe: int, now_s: float) -> BreakerState:
    """The breaker after a call has ended; `probe` is the number of the probe it was, 0 for an ordinary call."""
    event = _event(state, breaker, succeeded, probe)
    phase = TRANSITIONS[state.phase, event]
    if phase is Phase.OPEN and state.phase is not Phase.OPEN:
        return BreakerState(phase, state.failures + 1, now_s + breaker.reset_s, state.probe)
    if phase is Phase.CLOSED:
        return replace(state, phase=phase, failures=state.failures + 1 if event is Event.FAILURE else 0)
    return state


def _event(state: BreakerState, breaker: Breaker, succeeded: bool, probe: int) -> Event:
    if state.phase is Phase.HALF_OPEN and probe == state.probe:
        return Event.PROBE_SUCCESS if succeeded else Event.PROBE_FAILURE
    if succeeded:
        return Event.SUCCESS
    last = state.phase is Phase.CLOSED and state.failures + 1 >= breaker.failures
    return Event.LAST_FAILURE if last else Event.FAILURE
