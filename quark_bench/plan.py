"""Plan: every trial of a run, in the order in which it will be made, as ranges rather than lists.

Within a repeat, arms take turns block by block and the order of the arms flips at every turn (ABC CBA ...),
so that the drift of the machine hits all arms alike: with blocks interleaved like this, identical code was
called different in under 1 % of simulated runs, with whole passes in up to 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from quark_bench.agent import stable_hash
from quark_bench.errors import UsageError
from quark_bench.pipeline import Pipeline

MOST_BLOCKS = 10
"""Blocks of an arm in a repeat: ten batch means are enough for an interval, more make fill and drain dominate."""


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

    `pipeline` replaces the run's pipeline in this arm: two pipelines are arms like any others.
    """

    name: str
    strategy: Strategy = Strategy.PARALLEL
    in_flight: int = 8
    pipeline: Pipeline | None = None

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise UsageError(f"arm {self.name!r}: in flight {self.in_flight}; give 1 or more")


BUILT_IN_ARMS = ("sync", "parallel", "async")
"""The default arms: the gain splits into what branches give (parallel over sync) and what prompts in flight do."""


def built_in_arm(name: str, in_flight: int) -> Arm:
    """`sync`, `parallel` (both one prompt at a time) or `async`. Raises UsageError for another name."""
    if name == "sync":
        return Arm(name, Strategy.SEQUENTIAL, 1)
    if name == "parallel":
        return Arm(name, Strategy.PARALLEL, 1)
    if name == "async":
        return Arm(name, Strategy.PARALLEL, in_flight)
    raise UsageError(f"unknown arm {name!r}; built in: {', '.join(BUILT_IN_ARMS)}")


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


def make_plan(arms: Sequence[Arm], prompts: int, *, repeats: int = 1, seed: int = 0, warmup: int | None = None) -> Plan:
    """Lay out the blocks of `prompts` prompts.

    `warmup` is the number of warm-up trials an arm; None means max(8, prompts in flight).
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
    in_flight = max(arm.in_flight for arm in arms)
    if warmup is None:
        warmup = max(8, in_flight)
    if warmup < 0:
        raise UsageError(f"--warmup {warmup}: give 0 or more")
    cuts = blocks_a_repeat(len(names), prompts, in_flight)
    borders = [prompts * cut // cuts for cut in range(cuts + 1)]
    blocks: list[Block] = []
    turns = [(repeat, cut) for repeat in range(repeats) for cut in range(cuts)]
    for turn, (repeat, cut) in enumerate(turns):
        for name in names if turn % 2 == 0 else reversed(names):
            blocks.append(Block(len(blocks), name, repeat, borders[cut], borders[cut + 1]))
    return Plan(tuple(arms), prompts, repeats, seed, warmup, tuple(blocks))


def blocks_a_repeat(arms: int, prompts: int, in_flight: int) -> int:
    """One with a single arm; else as many, up to ten, as keep a block four times as long as it is wide.

    Shorter blocks would measure their own filling and draining.
    """
    return 1 if arms == 1 else max(1, min(MOST_BLOCKS, prompts // (4 * in_flight)))
