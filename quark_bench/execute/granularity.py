"""Granularity: whether a task is an agent's call or a chunk of prompts, and how large a chunk is. Pure: a cost model.

It predicts how long an arm takes either way, from what its warm-up showed and what tasks cost on the machines at hand;
the shorter way is chosen, and told beside what the run took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import fmean

from quark_bench.plan import Granularity
from quark_bench.schedule import makespan, time_at_server

OPEN_CHUNK_S = 0.25
"""A round of chunks in an open load, one a worker, spans so much of the time in which prompts are due."""
CHUNK_S = 0.05
"""A chunk lasts at least so long: handing one over takes a tenth of a millisecond even where no scheduler does."""
CHUNKS_LOAD = 0.05
"""... and so long that chunks take at most this share of the one scheduler's time."""
TURNS = 8
"""... but no worker gets fewer chunks of a block, for the last to be shared, unless one were shorter than a hop."""
LARGEST_CHUNK = 2_000
PROMPT_S = 5e-5
"""CPU time of a prompt within a chunk beside its agents: seven that do nothing run at 20,000 prompts/s."""
NEAR = 0.1
"""Predictions this close are equal: two warm-ups of one pipeline differ as much. A chunk then, which needs less."""
SCHEDULED = 20_000
"""Prompts of a block that are scheduled one by one; a longer block takes proportionally longer."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What tasks cost on the machines at hand, and how many those are.

    `hop_s` is from submitting one empty task to its result; `task_s` the time that each of many, wired like a
    pipeline's agents, takes of the one scheduler: both 0 where nothing is submitted. `processes` share the prompts
    in flight, and can keep `cores` busy together.
    """

    hop_s: float
    task_s: float
    processes: int
    cores: int

    def takers(self, in_flight: int) -> int:
        """Number of processes that share so many prompts under way."""
        return min(in_flight, self.processes)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the warm-up of one arm showed.

    `latency_s` is the median; `paths_s` how long each trial's agents take, one after another or along the critical
    path, and `apart` the share of it that is left where agents of one prompt share no interpreter; `cpu_s` the CPU
    time of a trial. `levels` and `calls` are the tasks on a prompt's longest chain and in all, 0 where a prompt
    never becomes several.
    """

    latency_s: float
    paths_s: Sequence[float]
    apart: float
    cpu_s: float
    levels: int
    calls: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds from the first admission to the last end; `agent_s` is None where there is no such way."""

    chunk_s: float
    agent_s: float | None

    @property
    def by_agent(self) -> bool:
        """Whether a task for every agent is clearly shorter."""
        return self.agent_s is not None and self.agent_s < self.chunk_s * (1 - NEAR)


def predict(seen: Calibration, costs: Costs, blocks: Sequence[int]) -> Prediction:
    """How long blocks of so many prompts take, one after another.

    Prompts are list-scheduled on the prompts in flight, and no faster than the cores at hand allow. With a task for
    every agent, each level of a prompt waits for a hop, all calls queue at the scheduler, tasks take CPU time like
    agents, and all processes take part.
    """
    own_s = seen.cpu_s + PROMPT_S
    chunk_s = _block_s(seen.paths_s, seen, own_s / min(costs.takers(seen.in_flight), costs.cores), blocks)
    if costs.task_s == 0 or seen.calls == 0:
        return Prediction(chunk_s, None)
    hops_s, scheduler_s = seen.levels * costs.hop_s, seen.calls * costs.task_s
    hops_s += time_at_server(scheduler_s, fmean(seen.paths_s) * seen.apart + hops_s, seen.in_flight)
    paths_s = [path_s * seen.apart + hops_s for path_s in seen.paths_s]
    return Prediction(chunk_s, _block_s(paths_s, seen, max(scheduler_s, (own_s + scheduler_s) / costs.cores), blocks))


def _block_s(paths_s: Sequence[float], seen: Calibration, least_s: float, blocks: Sequence[int]) -> float:
    """Seconds of blocks whose prompts take these times, over and over, and at least `least_s` of what all share."""
    known_s: dict[int, float] = {}
    for prompts in set(blocks):
        scheduled = min(prompts, SCHEDULED)
        ideal_s = makespan(islice(cycle(paths_s), scheduled), seen.in_flight) * prompts / scheduled
        known_s[prompts] = max(ideal_s, prompts * least_s)
    return sum(known_s[prompts] for prompts in blocks)


@dataclass(frozen=True, slots=True)
class Choice:
    """A granularity and the reason for it, as it stands in the report."""

    granularity: Granularity
    reason: str


def choose(prediction: Prediction | None, resources: Mapping[str, str], *, is_open: bool = False) -> Choice:
    """The shorter way. `resources` names the agents that need Dask resources, and what they need.

    An open load lasts as long as its schedule either way, and workers keep that better than a client with hops.

    CPU work alone asks for no task of its own: chunks reach all processes too, without hops. It pays only where fewer
    prompts are in flight than there are processes, and then the prediction says so.
    """
    if resources:
        names = ", ".join(f"{agent} ({what})" for agent, what in resources.items())
        return Choice(Granularity.AGENT, f"agents need what only the scheduler can place: {names}")
    if is_open:
        return Choice(Granularity.CHUNK, "prompts come by a schedule, which workers keep without hops")
    if prediction is None:
        return Choice(Granularity.CHUNK, "no warm-up to calibrate by: the chunk is the safe choice")
    if prediction.agent_s is None:
        return Choice(Granularity.CHUNK, "nothing is submitted for an agent: there is no other way")
    if prediction.by_agent:
        return Choice(Granularity.AGENT, "predicted to be shorter")
    shorter = prediction.chunk_s <= prediction.agent_s
    return Choice(Granularity.CHUNK, "predicted to be shorter" if shorter else "predicted to be as short")


def open_chunk_size(rate_per_s: float, costs: Costs, in_flight: int) -> int:
    """Prompts in each chunk where so many are due a second: so few that workers take turns several times a second."""
    return max(1, min(LARGEST_CHUNK, int(rate_per_s * OPEN_CHUNK_S / costs.takers(in_flight))))


def chunk_size(latency_s: float | None, in_flight: int, costs: Costs, prompts: int) -> int:
    """Prompts in each chunk of a block of so many, 1 to 2,000; `latency_s` is a prompt's, None if it is not known.

    A quarter of the prompts that a worker has under way at once: little is left to wait for at one when another runs
    dry. More where prompts are short, so that a chunk lasts: by Little's law, lanes / latency is the rate, as far as
    we carry prompts out so fast. All chunks are equal, and whole many make a round of the lanes, so that prompts of
    equal length end in whole rounds.
    """
    takers = costs.takers(in_flight)
    lanes = -(-in_flight // takers)
    if latency_s is None:
        return min(LARGEST_CHUNK, 2 * lanes)
    rate = 1 / max(latency_s / lanes, PROMPT_S)
    lasting_s = max(CHUNK_S, costs.hop_s, takers * costs.task_s / CHUNKS_LOAD)
    size = int(max(1, min(max(lanes / 4, rate * lasting_s), prompts / (takers * TURNS)), rate * costs.hop_s))
    if size >= lanes:
        return min(LARGEST_CHUNK, size // lanes * lanes)
    return min(LARGEST_CHUNK, next(part for part in range(size, lanes + 1) if lanes % part == 0))
