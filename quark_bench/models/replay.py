"""Replay: a model that answers as another one did in a recorded run, in the time that it took then."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quark_bench import errors
from quark_bench.agent import Call, canonical
from quark_bench.errors import ModelError, ReplayMissingError, UsageError
from quark_bench.model import Message, Reply, question_hash
from quark_bench.parts import list_tables
from quark_bench.store import find_run, read_manifest

COLUMNS = [
    *("arm", "repeat", "prompt_id", "agent", "attempt", "number", "status", "sent_s", "end_s", "first_token_s"),
    *("inter_token_s", "tokens_in", "tokens_out", "estimated", "cost_usd", "finish_reason", "error", "asked", "reply"),
]


class Recorded(NamedTuple):
    """What came of one question: a reply, or an error."""

    took_s: float
    reply: Reply
    error: str | None


Attempts = dict[int, dict[str, list[Recorded]]]
"""By attempt and question, in the order in which they were sent."""


class Replay:
    """The model of a recorded run. `speed` divides all times: 10 answers ten times as fast.

    Where several arms were recorded, all arms are answered as the first of them was, and so meet equal answers and
    times. A repeat beyond those recorded is answered like the first again, an attempt beyond them like the last. What
    failed then fails again. Raises ReplayMissingError, naming prompt and agent, for a question that was not asked.
    """

    def __init__(self, run_id: str, calls: Mapping[tuple[str, str], Mapping[int, Attempts]], speed: float) -> None:
        self.name = f"replay:{run_id}" + (f" at {speed:g}x its speed" if speed != 1 else "")
        self._run_id = run_id
        self._calls = calls
        self._speed = speed

    @classmethod
    def of(cls, named: str, out: str | Path = "reports", speed: float = 1.0) -> Replay:
        """The model of a run by path, by id below `out`, or `last`. Raises RunNotFoundError, and UsageError for a run
        that was not recorded and a speed that is not above 0."""
        if not speed > 0:
            raise UsageError(f"--speed {speed:g}: give a number above 0, as 10 for ten times as fast")
        path = find_run(named, out)
        manifest = read_manifest(path)
        if not manifest.get("recorded"):
            raise UsageError(f"{path}: its model was not recorded; make the run again with --record")
        arms = [arm["name"] for arm in manifest["arms"]]
        table = list_tables(path).calls.read(COLUMNS).sort_values("number", kind="stable")
        table = table.astype(object).where(table.notna(), None)
        rows = (dict(zip(COLUMNS, row, strict=True)) for row in table.itertuples(index=False))
        return cls(path.name, by_place(rows, arms), speed)

    async def reply(self, messages: Sequence[Message], call: Call) -> Reply:
        recorded = self._found(messages, call)
        await asyncio.sleep(recorded.took_s / self._speed)
        return self._answer(recorded)

    def reply_blocking(self, messages: Sequence[Message], call: Call) -> Reply:
        recorded = self._found(messages, call)
        time.sleep(recorded.took_s / self._speed)
        return self._answer(recorded)

    def _answer(self, recorded: Recorded) -> Reply:
        if recorded.error is not None:
            raise replayed_error(recorded.error)
        reply = recorded.reply
        return Reply(
            text=reply.text,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            cost_usd=reply.cost_usd,
            first_token_s=None if reply.first_token_s is None else reply.first_token_s / self._speed,
            inter_token_s=None if reply.inter_token_s is None else reply.inter_token_s / self._speed,
            estimated=reply.estimated,
            finish_reason=reply.finish_reason,
        )

    def _found(self, messages: Sequence[Message], call: Call) -> Recorded:
        asked = question_hash(messages)
        repeats = self._calls.get((canonical(call.agent), call.prompt_id))
        if repeats is None:
            raise self._missing(call, "was not recorded for this prompt")
        attempts = repeats[sorted(repeats)[call.repeat % len(repeats)]]
        attempt = max((each for each in attempts if each <= call.attempt), default=min(attempts))
        equal = attempts[attempt].get(asked)
        if equal is None:
            raise self._missing(call, "asks something else than was recorded: its code or the data has changed")
        return equal[min(max(1, call.usage.questions.count(asked)), len(equal)) - 1]

    def _missing(self, call: Call, why: str) -> ReplayMissingError:
        return ReplayMissingError(
            f"prompt {call.prompt_id!r}: agent {call.agent!r} {why} in {self._run_id}; record it again with --record",
            final=True,
        )


def by_place(rows: Iterable[Mapping[str, Any]], arms: Sequence[str]) -> dict[tuple[str, str], dict[int, Attempts]]:
    """Recorded questions by agent and prompt, then by repeat: of every prompt those of the first arm that has any."""
    of_arm: defaultdict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(dict)
    for row in rows:
        of_arm[canonical(row["agent"]), row["prompt_id"]].setdefault(row["arm"], []).append(row)
    return {place: _by_repeat(next(found[arm] for arm in arms if arm in found)) for place, found in of_arm.items()}


def _by_repeat(rows: Iterable[Mapping[str, Any]]) -> dict[int, Attempts]:
    repeats: defaultdict[int, Attempts] = defaultdict(dict)
    for row in rows:
        repeats[row["repeat"]].setdefault(row["attempt"], {}).setdefault(row["asked"], []).append(_recorded(row))
    return dict(repeats)


def _recorded(row: Mapping[str, Any]) -> Recorded:
    took_s = row["end_s"] - row["sent_s"]
    if row["status"] == "cancelled":
        return Recorded(took_s, Reply(""), f"ModelTimeoutError: given up after {took_s:.3g} s when it was recorded")
    if row["status"] == "failed":
        return Recorded(took_s, Reply(""), row["error"] or "ModelError")
    reply = Reply(
        text=row["reply"] or "",
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        cost_usd=row["cost_usd"],
        first_token_s=row["first_token_s"],
        inter_token_s=row["inter_token_s"],
        estimated=row["estimated"],
        finish_reason=row["finish_reason"],
    )
    return Recorded(took_s, reply, None)


def replayed_error(told: str) -> ModelError:
    """The error of that class and message; of another class than ours, a ModelError that tells it."""
    name, _, message = told.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, ModelError):
        return kind(message, final=True)
    return ModelError(told, final=True)
