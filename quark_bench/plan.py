"""Plan: every trial of a run, in the order in which it will be made, as ranges rather than lists.

Within a repeat, arms take turns block by block and the order of the arms flips at every turn (ABC CBA ...),
so that the drift of the machine hits all arms alike: with blocks interleaved like this, identical code was
called different in under 1 % of simulated runs, with whole passes in up to 10 %.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from quark_bench.agent import stable_hash
from quark_bench.arrivals import Arrivals, Shape, parse_arrivals
from quark_bench.errors import UsageError
from quark_bench.pipeline import Pipeline

MOST_BLOCKS = 10
"""Blocks of an arm in a repeat: ten batch means are enough for an interval, more make fill and drain dominate."""
IN_FLIGHT = 8
MOST_IN_FLIGHT = 1_000
"""Of an open load, where nobody says how many: a bound that no pipeline should reach, for the sake of memory."""
SHORTEST_S = 2.0
"""A block of an open load lasts at least so long, and has as many prompts as a closed one."""


class Strategy(Enum):
    """How the agents of one prompt are run."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"


class Granularity(Enum):
    """What becomes one Dask task: an agent's call, or a chunk of prompts."""

    AGENT = "agent"
    CHUNK = "chunk"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run the same prompts. `in_flight` is the number of prompts under way in the whole run.

    `pipeline` replaces the run's pipeline in this arm: two pipelines are arms like any others. With `arrivals` the load
    is open: prompts start when they are due, and `in_flight` is the most that may be under way.
    """

    name: str
    strategy: Strategy = Strategy.PARALLEL
    in_flight: int = IN_FLIGHT
    pipeline: Pipeline | None = None
    arrivals: Arrivals | None = None

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise UsageError(f"arm {self.name!r}: in flight {self.in_flight}; give 1 or more")

    @property
    def at_first(self) -> Arm:
        """The arm as it warms up: always a closed load, no wider than one that nobody asked for."""
        return self if self.arrivals is None else replace(self, arrivals=None, in_flight=min(IN_FLIGHT, self.in_flight))

    @property
    def shortest_block(self) -> int:
        """Prompts of the shortest block worth measuring. A closed one is four times as long as it is wide: shorter ones
        would measure their own filling and draining. A ramp is climbed as a whole."""
        if self.arrivals is None:
            return 4 * self.in_flight
        if self.arrivals.end_rate_per_s is not None:
            return sys.maxsize
        return max(4 * IN_FLIGHT, math.ceil(SHORTEST_S * self.arrivals.rate_per_s))


BUILT_IN_ARMS = ("sync", "parallel", "async")
"""The default arms: the gain splits into what branches give (parallel over sync) and what prompts in flight do."""


def built_in_arm(name: str, in_flight: int | None = None, arrivals: Arrivals | None = None) -> Arm:
    """`sync`, `parallel` (both one prompt at a time) or `async`; with arrivals all of them take prompts as they come.

    `in_flight` None means 8, and 1,000 where prompts come by themselves. Raises UsageError for another name.
    """
    if name not in BUILT_IN_ARMS:
        raise UsageError(f"unknown arm {name!r}; built in: {', '.join(BUILT_IN_ARMS)}")
    strategy = Strategy.SEQUENTIAL if name == "sync" else Strategy.PARALLEL
    if arrivals is not None:
        return Arm(name, strategy, MOST_IN_FLIGHT if in_flight is None else in_flight, arrivals=arrivals)
    return Arm(name, strategy, (IN_FLIGHT if in_flight is None else in_flight) if name == "async" else 1)


def chosen_arms(
    arms: Sequence[Arm | str] | None, in_flight: int | None, rate: str | float | None, shape: str | None
) -> list[Arm]:
    """The arms of a run: those that are given, else all built-in ones, or `async` alone for an open load.

    `rate` and `shape` are for arms that are named, see `parse_arrivals`. Raises UsageError.
    """
    if rate is None and shape is not None:
        raise UsageError(f"--arrivals {shape} without a rate; add --rate, as in --rate 20")
    arrivals = None if rate is None else parse_arrivals(rate, shape or Shape.POISSON)
    made = [arm.name for arm in arms or () if isinstance(arm, Arm)]
    if arrivals is not None and made:
        raise UsageError(f"a rate beside arm {made[0]!r}, which is made already: give that arm its arrivals")
    names = arms or (BUILT_IN_ARMS if arrivals is None else BUILT_IN_ARMS[-1:])
    return [each if isinstance(each, Arm) else built_in_arm(each, in_flight, arrivals) for each in names]


class Trial(NamedTuple):
    """Planned: one prompt in one arm and repeat. `prompt` is its position in the data set."""

    arm: str
    repeat: int
    prompt: int


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive trials of one arm, run with nothing beside it: prompts `start` to `stop` of the data set."""

    index: int
    arm: str
    repeat: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The block cut into chunks of `size` prompts; the last one may be shorter."""
        for number, start in enumerate(range(self.start, self.stop, size)):
            yield Chunk(self, number, start, min(start + size, self.stop))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a block that one worker takes at a time."""

    block: Block
    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Plan:
    """All blocks in their order; warm-ups come before them and are counted nowhere."""

    arms: tuple[Arm, ...]
    prompts: int
    repeats: int
    seed: int
    warmup: int
    blocks: tuple[Block, ...]

    @property
    def planned(self) -> int:
        """Number of trials."""
        return len(self.arms) * self.prompts * self.repeats

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises UsageError when there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UsageError(f"no arm {name!r} here; arms: {', '.join(arm.name for arm in self.arms)}")

    def trials(self) -> Iterator[Trial]:
        """Every trial, in order."""
        for block in self.blocks:
            for prompt in range(block.start, block.stop):
                yield Trial(block.arm, block.repeat, prompt)


def trial_seed(run_seed: int, prompt_id: str, repeat: int) -> int:
    """Equal in every arm, executor and granularity, so that arms meet equal draws."""
    return stable_hash(run_seed, prompt_id, repeat)


def arrivals_seed(run_seed: int, block: Block) -> int:
    """Equal in every arm for the same prompts of the same repeat, so that arms meet equal arrivals.

    The word is one that makes the default, seed 0, an unremarkable Poisson stream: over its first 1,000 prompts the
    index of dispersion is 0.98 to 1.07 in windows of 1 to 50 mean gaps. A tenth of all streams are outside 0.8 to 1.2
    in windows of 5.
    """
    return stable_hash(run_seed, "timetable", block.repeat, block.start)


def make_plan(arms: Sequence[Arm], prompts: int, *, repeats: int = 1, seed: int = 0, warmup: int | None = None) -> Plan:
    """Lay out the blocks of `prompts` prompts.

    `warmup` is the number of warm-up trials an arm; None means max(8, prompts in flight of a closed load).
    Raises UsageError for arms of equal name or counts below their minimum.
    """
    names = [arm.name for arm in arms]
    if not names:
        raise UsageError("no arm to run; give at least one")
    if len(set(names)) < len(names):
        raise UsageError(f"arms need different names: {', '.join(names)}")
    if prompts < 1:
        raise UsageError(f"a plan for {prompts} prompts has no trial; give 1 or more")
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: give 1 or more")
    if warmup is None:
        warmup = max(8, *(arm.at_first.in_flight for arm in arms))
    if warmup < 0:
        raise UsageError(f"--warmup {warmup}: give 0 or more")
    cuts = blocks_a_repeat(arms, prompts)
    borders = [prompts * cut // cuts for cut in range(cuts + 1)]
    blocks: list[Block] = []
    turns = [(repeat, cut) for repeat in range(repeats) for cut in range(cuts)]
    for turn, (repeat, cut) in enumerate(turns):
        for name in names if turn % 2 == 0 else reversed(names):
            blocks.append(Block(len(blocks), name, repeat, borders[cut], borders[cut + 1]))
    return Plan(tuple(arms), prompts, repeats, seed, warmup, tuple(blocks))


def blocks_a_repeat(arms: Sequence[Arm], prompts: int) -> int:
    """One with a single arm; else as many, up to ten, as keep every block as long as is worth measuring."""
    longest = max(arm.shortest_block for arm in arms)
    return 1 if len(arms) == 1 else max(1, min(MOST_BLOCKS, prompts // longest))
