"""The work that every side does: a graph of agents that do nothing, or wait for a known time.

nlu -------+                            +-> metrics
memory ----+-> reasoning -> planning ---+
retrieval -+                            +-> self_improvement
"""

from collections.abc import Mapping
from typing import NamedTuple

from quark_bench.schedule import longest_path, makespan

Needs = Mapping[str, tuple[str, ...]]
"""The agents that each agent needs, in topological order."""


class Graph(NamedTuple):
    """A graph of agents; `waits_s` are the seconds that each of them takes for an ordinary prompt."""

    needs: Needs
    waits_s: Mapping[str, float]

    @property
    def ends(self):
        """The agents that no other needs."""
        needed = {need for needs in self.needs.values() for need in needs}
        return [name for name in self.needs if name not in needed]

    @property
    def critical_path_s(self):
        names = list(self.needs)
        positions = [[names.index(need) for need in needs] for needs in self.needs.values()]
        return longest_path([self.waits_s[name] for name in names], positions)


ASSISTANT: Needs = {
    "nlu": (),
    "memory": (),
    "retrieval": (),
    "reasoning": ("nlu", "memory", "retrieval"),
    "planning": ("reasoning",),
    "metrics": ("planning",),
    "self_improvement": ("planning",),
}
ANSWER = "reasoning"

NULL = Graph(ASSISTANT, dict.fromkeys(ASSISTANT, 0.0))
WAITS = Graph(ASSISTANT, dict(zip(ASSISTANT, (0.020, 0.030, 0.050, 0.100, 0.060, 0.005, 0.010), strict=True)))


def beside_a_chain(slow, first, second, third):
    """A slow branch and a chain that is shorter: an engine that waits for every layer takes 460 ms instead of 300."""
    needs = {slow: (), first: (), second: (first,), third: (second,), "join": (slow, third)}
    return Graph(needs, {slow: 0.300, first: 0.050, second: 0.100, third: 0.060, "join": 0.0})


BESIDE = {
    "slow_first": beside_a_chain("a_slow", "b_first", "c_second", "d_third"),
    "slow_last": beside_a_chain("z_slow", "a_first", "b_second", "c_third"),
    "slow_between": beside_a_chain("m_slow", "z_first", "a_second", "y_third"),
}

SLOW = "slow"
SLOWNESS = 10


def texts(count):
    return [f"prompt {number}" for number in range(count)]


def uneven_texts(count, slow_every=20):
    """5 % of them are slow."""
    return [f"{SLOW if number % slow_every == 0 else 'prompt'} {number}" for number in range(count)]


def slowness(text):
    """What every wait for that prompt is multiplied by."""
    return SLOWNESS if text.startswith(SLOW) else 1


def ideal_s(texts, in_flight, graph=WAITS):
    """Makespan without any overhead: every prompt, in its order, takes the first place that is free."""
    return makespan((slowness(text) * graph.critical_path_s for text in texts), in_flight)


def makespan_s(run):
    """What a run took, from its first admission to the end of its last record."""
    records = run.records
    return (records["start_s"] + records["latency_s"]).max() - records["start_s"].min()


def rate(run):
    """Its prompts a second."""
    return len(run.records) / makespan_s(run)
