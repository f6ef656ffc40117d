"""The Quark assistant: seven agents, three of them side by side, then a chain that ends in two side by side.

    nlu ------\\                          /-> metrics
    memory ----> reasoning -> planning --
    retrieval /                          \\-> self_improvement

Metrics reads reasoning too, and self_improvement reasoning and retrieval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from quark_bench.agent import agent
from quark_bench.agents.latency import medians_s
from quark_bench.agents.memory import Memory, open_memory, open_recollection
from quark_bench.agents.metrics import Metrics
from quark_bench.agents.nlu import Nlu, train_classifier
from quark_bench.agents.planning import Planning
from quark_bench.agents.reasoning import Reasoning
from quark_bench.agents.retrieval import (
    Passage,
    Retrieval,
    index_passages,
    open_taught_index,
    passages_of,
    read_knowledge,
)
from quark_bench.agents.self_improvement import SelfImprovement
from quark_bench.conversations import Conversations, open_conversations
from quark_bench.dataset import Dataset
from quark_bench.errors import UsageError
from quark_bench.model import Model
from quark_bench.models.offline import OfflineReader
from quark_bench.pipeline import Pipeline
from quark_bench.routing import Router

_ALL_BUT_PLANNING = ("memory", "retrieval", "reasoning", "metrics", "self_improvement")
_ANSWERED_AT_ONCE = ("definition", "fact", "number", "yesno", "comparison")
ROUTER = Router("nlu", dict.fromkeys(_ANSWERED_AT_ONCE, _ALL_BUT_PLANNING))
"""There is nothing to plan in an answer of one fact; how-tos, troubleshooting and plans get the whole pipeline."""


def quark(
    *,
    knowledge: str | Path | Dataset | None = None,
    model: Model | None = None,
    latency: str = "none",
    memory: str | Path | None = None,
    learn: bool = False,
) -> Pipeline:
    """The built-in assistant; its answer is reasoning's.

    `knowledge` is a JSONL file of `id, text` and, if it likes, `title`, or a data set, whose contexts are taken: it is
    read here and travels with the pipeline; None means the knowledge that comes with quark-bench, read where the agents
    run. `model` None means the offline reader. `latency` names a profile of simulated latencies. `memory` is the file
    of a store of conversations, made here where there is none: a prompt whose metadata names its `conversation` recalls
    the turns of it, and the lessons in the file change what is retrieved. With `learn`, new lessons are written there.

    Raises DataError for a wrong knowledge or memory file, UsageError for an unknown profile and for learning without
    a memory.
    """
    if learn and memory is None:
        raise UsageError("learn=True needs a file to keep what is learnt: give memory=PATH")
    median_s = medians_s(latency)
    if isinstance(knowledge, Dataset):
        passages: tuple[Passage, ...] | None = passages_of(knowledge)
    else:
        passages = None if knowledge is None else read_knowledge(knowledge)
    remembering, indexing, learning = _set_ups(passages, memory)
    return Pipeline(
        "quark",
        [
            agent(name="nlu", setup=train_classifier, cache=True)(Nlu(median_s["nlu"])),
            agent(name="memory", setup=remembering, optional=True, cache=memory is None)(Memory(median_s["memory"])),
            agent(name="retrieval", setup=indexing, cache=True)(Retrieval(median_s["retrieval"])),
            agent(name="reasoning", cache=True)(Reasoning(median_s["reasoning"])),
            agent(name="planning", cache=True)(Planning(median_s["planning"])),
            agent(name="metrics", optional=True, cache=True)(Metrics(median_s["metrics"])),
            agent(name="self_improvement", setup=learning if learn else None, optional=True, cache=not learn)(
                SelfImprovement(median_s["self_improvement"])
            ),
        ],
        answer="reasoning",
        model=model or OfflineReader(),
        latency_profile=None if latency == "none" else latency,
        router=ROUTER,
        learns_in=str(Path(memory).absolute()) if learn and memory is not None else None,
    )


def _set_ups(
    passages: tuple[Passage, ...] | None, memory: str | Path | None
) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any] | None]:
    """The set-ups of memory, retrieval and, where it learns, self-improvement; plain data, to travel."""
    if memory is None:
        return open_memory, partial(index_passages, passages), None
    path = Path(memory).absolute()
    Conversations(path).close()
    return (
        partial(open_recollection, path),
        partial(open_taught_index, passages, path),
        partial(open_conversations, path),
    )
