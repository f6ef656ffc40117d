"""Chaos: seeded faults at agents, injected by wrapping their functions before a pipeline is used.

The executors know nothing of it: an injected fault is what any agent may do. It is drawn from the trial's seed, the
agent and the attempt, so that equal seeds meet equal faults in every arm, executor, granularity and session.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import hashlib
import math
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from quark_bench.agent import Agent, Call, canonical, stable_hash
from quark_bench.errors import UsageError
from quark_bench.pipeline import Pipeline, Shipment

EVERY_OTHER = "*"
"""Stands for each agent that is not named."""
KEYS = ("error", "delay")
EXAMPLE = "--chaos 'reasoning: error=0.05, delay=0.5s@0.1'"
DRAWS = 2**64
"""Number of values of `stable_hash`."""

_DURATION = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(ms|s)?")


class ChaosError(Exception):
    """The error that chaos injects into an agent's call."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What befalls one agent: shares of its attempts that fail at once and that are delayed, and by how long."""

    error_share: float = 0.0
    delay_s: float = 0.0
    delay_share: float = 0.0

    def told(self) -> str:
        """`error 5 %, delay 500 ms in 10 %`."""
        parts = []
        if self.error_share:
            parts.append(f"error {self.error_share * 100:g} %")
        if self.delay_s and self.delay_share:
            often = "" if self.delay_share == 1 else f" in {self.delay_share * 100:g} %"
            length = f"{self.delay_s:g} s" if self.delay_s >= 1 else f"{self.delay_s * 1000:g} ms"
            parts.append(f"delay {length}{often}")
        return ", ".join(parts) or "nothing"

    def __str__(self) -> str:
        parts = [f"error={self.error_share!r}"] if self.error_share else []
        if self.delay_s and self.delay_share:
            parts.append(f"delay={self.delay_s!r}s@{self.delay_share!r}")
        return ", ".join(parts) or "error=0"


@dataclass(frozen=True, slots=True)
class Chaos:
    """Strikes by the agents that they befall, as `parse_chaos` reads them; `*` stands for all others."""

    strikes: tuple[tuple[str, Strike], ...]

    def __str__(self) -> str:
        """Text that `parse_chaos` reads back, the same however it was written."""
        return "; ".join(f"{agent}: {strike}" for agent, strike in self.strikes)

    def told(self) -> str:
        """For people: `reasoning: error 5 %`."""
        return "; ".join(f"{agent}: {strike.told()}" for agent, strike in self.strikes)

    def of(self, agent: str) -> Strike | None:
        """What befalls that agent; None for nothing."""
        by_name = {canonical(name): strike for name, strike in self.strikes}
        return by_name.get(canonical(agent), by_name.get(EVERY_OTHER))

    def require_agents(self, agents: Collection[str]) -> None:
        """Raise UsageError, naming the nearest, for an agent that is in no pipeline of the run."""
        known = {canonical(agent): agent for agent in agents}
        for name, _ in self.strikes:
            if name != EVERY_OTHER and canonical(name) not in known:
                near = difflib.get_close_matches(canonical(name), known, 1, cutoff=0)
                hint = f"did you mean {known[near[0]]!r}? " if near else ""
                raise UsageError(f"--chaos: no agent {name!r} here; {hint}* is every agent that is not named")

    def applied(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline with the agents' functions wrapped."""
        return pipeline.with_agents(self._struck)

    def _struck(self, agent: Agent) -> Agent:
        strike = self.of(agent.name)
        if strike is None:
            return agent
        wrap = _struck_async if agent.is_async else _struck_sync
        return dataclasses.replace(agent, function=wrap(agent.function, strike, agent.takes_call), takes_call=True)


@dataclass(frozen=True, slots=True)
class ChaoticShipment:
    """A pipeline on its way to another process, where it is loaded with the agents' functions wrapped."""

    shipment: Shipment
    chaos: Chaos

    @property
    def code_hash(self) -> str:
        return _keyed(self.shipment.code_hash, self.chaos)

    @property
    def key(self) -> str:
        return _keyed(self.shipment.key, self.chaos)

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        return self.chaos.applied(self.shipment.load())

    def outline(self) -> Pipeline:
        return self.shipment.outline()


def parse_chaos(texts: Sequence[str]) -> Chaos | None:
    """Read `AGENT: error=SHARE, delay=DURATION@SHARE`, several agents apart by `;` or in further texts.

    No text at all is None. A duration is seconds (`2`, `0.5s`) or milliseconds (`200ms`); its share may be left out
    and is then 1. Raises UsageError saying what is wrong and how it is written.
    """
    strikes: dict[str, tuple[str, Strike]] = {}
    for part in (part.strip() for text in texts for part in text.split(";")):
        agent, separator, wanted = (each.strip() for each in part.partition(":"))
        if not separator or not agent or not wanted:
            raise UsageError(f"--chaos {part!r}: write AGENT: error=SHARE, delay=DURATION@SHARE, as in {EXAMPLE}")
        if canonical(agent) in strikes:
            raise UsageError(f"--chaos: agent {agent!r} is named twice; put all that befalls it behind one name")
        strikes[canonical(agent)] = (agent, _strike(agent, wanted))
    return Chaos(tuple(strikes.values())) if strikes else None


def _strike(agent: str, wanted: str) -> Strike:
    given: dict[str, str] = {}
    for pair in wanted.split(","):
        key, _, value = (each.strip() for each in pair.partition("="))
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1, cutoff=0)[0]
            raise UsageError(
                f"--chaos {agent}: unknown {key!r}, did you mean {near!r}? Known: {', '.join(KEYS)}; as in {EXAMPLE}"
            )
        if key in given:
            raise UsageError(f"--chaos {agent}: {key} is given twice; give it once")
        given[key] = value
    error_share = _share(agent, "error", given["error"]) if "error" in given else 0.0
    duration, at, share = given.get("delay", "0@0").partition("@")
    delay_s = _duration_s(agent, duration.strip())
    return Strike(error_share, delay_s, _share(agent, "delay", share.strip()) if at else 1.0)


def _share(agent: str, key: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(f"--chaos {agent}: {key} in {text!r} of all attempts; give a share from 0 to 1, 0.05 for 5 %")
    return share


def _duration_s(agent: str, text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"--chaos {agent}: {text!r} is no duration; write delay=0.5s, delay=200ms or delay=2@0.1")
    return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)


def _keyed(key: str, chaos: Chaos) -> str:
    return hashlib.sha256(f"{key}\0{chaos}".encode()).hexdigest()


def _struck_async(function: Callable[..., Any], strike: Strike, takes_call: bool) -> Callable[..., Any]:
    async def struck(*, call: Call, **inputs: Any) -> Any:
        if delay_s := _delay_s(strike, call):
            await asyncio.sleep(delay_s)
        _maybe_raise(strike, call)
        return await function(**inputs, call=call) if takes_call else await function(**inputs)

    return struck


def _struck_sync(function: Callable[..., Any], strike: Strike, takes_call: bool) -> Callable[..., Any]:
    def struck(*, call: Call, **inputs: Any) -> Any:
        if delay_s := _delay_s(strike, call):
            time.sleep(delay_s)
        _maybe_raise(strike, call)
        return function(**inputs, call=call) if takes_call else function(**inputs)

    return struck


def _delay_s(strike: Strike, call: Call) -> float:
    """How long this attempt is held up, noted in its usage as far as its timeout lets it last."""
    delay_s = strike.delay_s if _drawn(call, "delay") < strike.delay_share else 0.0
    call.usage.simulated_s += delay_s if call.deadline_s is None else min(delay_s, call.deadline_s)
    return delay_s


def _maybe_raise(strike: Strike, call: Call) -> None:
    if _drawn(call, "error") < strike.error_share:
        raise ChaosError("injected by --chaos")


def _drawn(call: Call, kind: str) -> float:
    """A number from 0 up to 1, equal for equal trials, agents and attempts."""
    return stable_hash(call.trial_seed, canonical(call.agent), call.attempt, kind) / DRAWS
