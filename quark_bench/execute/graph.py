"""Graph: a prompt's pipeline as a Delayed graph, a node an agent, as the user drew it.

The same graph is shown by `Run.graph()` and, with one for each prompt, submitted at agent granularity. Dask
never fuses it (`optimization.fuse.delayed` breaks async agents and drops annotations): chunk granularity
fuses by putting the same steps behind one task.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import dask
from dask.delayed import Delayed, delayed

Node = Callable[..., Any]
"""What a node does: called with its step's index and the results of the nodes it needs."""


def prompt_graph(
    layout: Sequence[tuple[str, Sequence[int]]],
    node: Node,
    label: Hashable,
    resources: Sequence[Mapping[str, float]] | None = None,
) -> list[Delayed]:
    """One Delayed for every agent that feeds no other; each agent one node below them.

    `layout` gives each step's name and the positions of the steps it needs, in topological order. Keys are
    tuples of the agent's name and `label`, so that the dashboard groups tasks by agent and no key, which
    workers log, holds a prompt's text. `label` must be unique: Dask answers a key it has seen from memory.
    """
    nodes: list[Delayed] = []
    fed: set[int] = set()
    for index, (name, needs) in enumerate(layout):
        wanted = dict(resources[index]) if resources and resources[index] else None
        with dask.annotate(**({"resources": wanted} if wanted else {})):
            step = delayed(node, pure=False)
            nodes.append(step(index, *(nodes[need] for need in needs), dask_key_name=(name, label)))
        fed.update(needs)
    return [made for index, made in enumerate(nodes) if index not in fed]


def drawn_graph(layout: Sequence[tuple[str, Sequence[int]]]) -> Delayed:
    """The graph of one prompt for looking at (`.visualize()`): its nodes tell what they would call."""

    def told(index: int, *inputs: str) -> str:
        return f"{layout[index][0]}({', '.join(inputs)})"

    ends = prompt_graph(layout, told, "prompt")
    if len(ends) == 1:
        return ends[0]
    return delayed(list, pure=False)(ends, dask_key_name="record")
