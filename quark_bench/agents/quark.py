"""The Quark assistant: seven agents, three of them side by side, then a chain that ends in two side by side.

    nlu ------\\                          /-> metrics
    memory ----> reasoning -> planning --
    retrieval /                          \\-> self_improvement

Metrics reads reasoning too, and self_improvement reasoning and retrieval.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from quark_bench.agent import Model, agent
from quark_bench.agents.latency import medians_s
from quark_bench.agents.memory import Memory, open_memory
from quark_bench.agents.metrics import Metrics
from quark_bench.agents.nlu import Nlu, train_classifier
from quark_bench.agents.planning import Planning
from quark_bench.agents.reasoning import Reasoning
from quark_bench.agents.retrieval import Retrieval, index_passages, read_knowledge
from quark_bench.agents.self_improvement import SelfImprovement
from quark_bench.models.offline import OfflineReader
from quark_bench.pipeline import Pipeline


def quark(*, knowledge: str | Path | None = None, model: Model | None = None, latency: str = "none") -> Pipeline:
    """The built-in assistant; its answer is reasoning's.

    `knowledge` is a JSONL file of `id, text` and, if it likes, `title`: it is read here and travels with the
    pipeline; None means the knowledge that comes with quark-bench, read where the agents run. `model` None
    means the offline reader. `latency` names a profile of simulated latencies. Raises DataError for a wrong
    knowledge file, UsageError for an unknown profile.
    """
    median_s = medians_s(latency)
    passages = None if knowledge is None else read_knowledge(knowledge)
    return Pipeline(
        "quark",
        [
            agent(name="nlu", setup=train_classifier, cache=True)(Nlu(median_s["nlu"])),
            agent(name="memory", setup=open_memory, optional=True)(Memory(median_s["memory"])),
            agent(name="retrieval", setup=partial(index_passages, passages), cache=True)(
                Retrieval(median_s["retrieval"])
            ),
            agent(name="reasoning", cache=True)(Reasoning(median_s["reasoning"])),
            agent(name="planning", cache=True)(Planning(median_s["planning"])),
            agent(name="metrics", optional=True)(Metrics(median_s["metrics"])),
            agent(name="self_improvement", optional=True)(SelfImprovement(median_s["self_improvement"])),
        ],
        answer="reasoning",
        model=model or OfflineReader(),
        latency_profile=None if latency == "none" else latency,
    )
