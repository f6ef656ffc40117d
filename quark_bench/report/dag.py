"""The DAG of agents as text and as a drawing: one column (or paragraph) per level, inputs before their users."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import NamedTuple

from quark_bench.plain import one_line
from quark_bench.units import SHARE

Layout = Sequence[tuple[str, Sequence[str]]]
"""Each agent with the agents it needs, needed ones first."""

TEXT_WIDTH = 80
CRITICAL = "#3f84d8"
SWEEPS = 4
"""Passes of sorting by neighbours; the order of small graphs settles after two or three."""
BOX_HEIGHT, ROW_GAP, COLUMN_GAP, MARGIN, CHARACTER = 38.0, 18.0, 56.0, 12.0, 8.0
NARROWEST = 104.0
"""Sizes in the drawing's pixels; CHARACTER is the width of a letter of 13 px."""


def dag_text(agents: Layout) -> str:
    """Levels from top to bottom, arrows between them, each agent with what it takes; at most 80 columns.

    Agents of one level need nothing of each other and can run side by side.
    """
    needs = dict(agents)
    column = min(TEXT_WIDTH // 2, max((len(name) for name in needs), default=0))
    levels = ["\n".join(_text_line(name, needs[name], column) for name in level) for level in _levels(agents)]
    return "\n  ↓\n".join(levels)


def _text_line(name: str, needed: Sequence[str], column: int) -> str:
    *above, last = textwrap.wrap(name, column) or [name]
    takes = textwrap.fill(
        ", ".join(needed) or "prompt",
        width=TEXT_WIDTH,
        initial_indent=f"  {last:<{column}}  ← ",
        subsequent_indent=" " * (column + 6),
    )
    return "\n".join([*(f"  {part}" for part in above), takes])


@dataclass(frozen=True, slots=True)
class Weight:
    """What is written below an agent's name: how long it takes, and its share of the critical paths, 0 to 1."""

    took: str
    critical_share: float

    @property
    def told(self) -> str:
        return f"{self.took}, {SHARE.format(self.critical_share)}"


def dag_svg(agents: Layout, weights: Mapping[str, Weight] | None = None) -> str:
    """A layered drawing, left to right, in the text's own colour, with an accessible title; one `<svg>` element.

    Where `weights` are given, agents have them written below their names, and a bar as long as their share.

    Layers by longest path, edges over several layers threaded through all of them, order within a layer by the
    mean position of neighbours (Sugiyama, Tagawa and Toda 1981).
    """
    places = _place(agents)
    width = max((place.x + place.width for place in places.values()), default=0.0) + MARGIN
    height = max((place.y + BOX_HEIGHT for place in places.values()), default=0.0) + MARGIN
    edges = "".join(_edge(places, need, name) for name, needed in agents for need in needed)
    weights = weights or {}
    boxes = "".join(
        _box(place, node.head, weights.get(node.head)) for node, place in places.items() if node.tail == node.head
    )
    told = "; ".join(_told(name, needed, weights.get(name)) for name, needed in agents)
    return DRAWING.format(
        width=round(width), height=round(height), n=len(agents), told=escape(one_line(told)), edges=edges, boxes=boxes
    )


def _told(name: str, needed: Sequence[str], weight: Weight | None) -> str:
    lasts = f", lasts {weight.took}, {SHARE.format(weight.critical_share)} of the critical path" if weight else ""
    return f"{name} takes {', '.join(needed) or 'the prompt'}{lasts}"


DRAWING = """\
<svg xmlns="http://www.w3.org/2000/svg" class="dag" role="img" viewBox="0 0 {width} {height}"
 width="{width}" height="{height}" aria-labelledby="dag-title dag-told">
<title id="dag-title">The pipeline: {n} agents</title><desc id="dag-told">{told}</desc>
<defs><marker id="dag-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0.5 8 4 0 7.5z" fill="currentColor"/></marker></defs>
<g fill="none" stroke="currentColor" stroke-opacity="0.55" stroke-width="1.3">{edges}</g>
<g font-family="ui-sans-serif, system-ui, sans-serif" font-size="13" text-anchor="middle">{boxes}</g>
</svg>"""


class _Node(NamedTuple):
    """Where an edge from agent `tail` to agent `head` passes a layer; an agent itself has equal ends."""

    tail: str
    head: str
    layer: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Upper left corner and width of a box; an edge passes a layer in a place as wide as the layer."""

    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.y + BOX_HEIGHT / 2


def _levels(agents: Layout) -> list[list[str]]:
    """Agents by the number of agents on the longest chain before them, in declared order."""
    depth: dict[str, int] = {}
    for name, needed in agents:
        depth[name] = max((depth[need] + 1 for need in needed), default=0)
    return [[name for name in depth if depth[name] == level] for level in range(max(depth.values(), default=-1) + 1)]


def _place(agents: Layout) -> dict[_Node, _Place]:
    layers, links = _thread(agents)
    _untangle(layers, links)
    tallest = max((len(layer) for layer in layers), default=0)
    places: dict[_Node, _Place] = {}
    x = MARGIN
    for layer in layers:
        width = max(len(node.head) * CHARACTER for node in layer if node.tail == node.head) + 2 * MARGIN
        width = max(width, NARROWEST)
        top = MARGIN + (tallest - len(layer)) * (BOX_HEIGHT + ROW_GAP) / 2
        for row, node in enumerate(layer):
            places[node] = _Place(x, top + row * (BOX_HEIGHT + ROW_GAP), width)
        x += width + COLUMN_GAP
    return places


def _thread(agents: Layout) -> tuple[list[list[_Node]], list[tuple[_Node, _Node]]]:
    """Layers in which every link joins neighbours, because long edges have a node in each layer they pass."""
    layers = [[_Node(name, name, layer) for name in names] for layer, names in enumerate(_levels(agents))]
    node_of = {node.head: node for layer in layers for node in layer}
    links: list[tuple[_Node, _Node]] = []
    for name, needed in agents:
        for need in needed:
            tail, head = node_of[need], node_of[name]
            thread = [_Node(need, name, layer) for layer in range(tail.layer + 1, head.layer)]
            for node in thread:
                layers[node.layer].append(node)
            links.extend(pairwise([tail, *thread, head]))
    return layers, links


def _untangle(layers: list[list[_Node]], links: Sequence[tuple[_Node, _Node]]) -> None:
    """Sort each layer by the mean position of its neighbours in the layer before, then in the one after."""
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        order = range(1, len(layers)) if forth else range(len(layers) - 2, -1, -1)
        for level in order:
            fixed = layers[level - 1] if forth else layers[level + 1]
            at = {node: row - (len(fixed) - 1) / 2 for row, node in enumerate(fixed)}
            pulls: dict[_Node, list[float]] = {node: [] for node in layers[level]}
            for tail, head in links:
                near, far = (head, tail) if forth else (tail, head)
                if near in pulls and far in at:
                    pulls[near].append(at[far])
            means = {node: sum(rows) / len(rows) if rows else 0.0 for node, rows in pulls.items()}
            layers[level].sort(key=means.__getitem__)


def _edge(places: Mapping[_Node, _Place], tail: str, head: str) -> str:
    """A curve from box to box that passes the layers between them straight."""
    ends = {(tail, tail), (head, head), (tail, head)}
    on_way = sorted((node for node in places if node[:2] in ends), key=lambda node: node.layer)
    stops = [places[node] for node in on_way]
    path = f"M{stops[0].x + stops[0].width:.1f} {stops[0].middle:.1f}"
    for before, after in pairwise(stops):
        start, end = before.x + before.width, after.x
        bend = (start + end) / 2
        path += f" C{bend:.1f} {before.middle:.1f} {bend:.1f} {after.middle:.1f} {end:.1f} {after.middle:.1f}"
        if after is not stops[-1]:
            path += f" H{after.x + after.width:.1f}"
    return f'<path d="{path}" marker-end="url(#dag-arrow)"/>'


def _box(place: _Place, name: str, weight: Weight | None) -> str:
    middle = place.x + place.width / 2
    baseline = place.middle + (4.5 if weight is None else -1.5)
    return (
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{BOX_HEIGHT:.0f}" rx="7" '
        'fill="currentColor" fill-opacity="0.06" stroke="currentColor" stroke-opacity="0.55"/>'
        f'<text x="{middle:.1f}" y="{baseline:.1f}" fill="currentColor">{escape(one_line(name))}</text>'
    ) + (_weight(place, weight) if weight is not None else "")


def _weight(place: _Place, weight: Weight) -> str:
    """The second line of a box, and on its lower edge a bar as long as the agent's share of the critical paths."""
    middle = place.x + place.width / 2
    share = weight.critical_share if weight.critical_share > 0 else 0.0
    length, left = min(1.0, share) * (place.width - 14), place.x + 7
    text = (
        f'<text x="{middle:.1f}" y="{place.middle + 11:.1f}" fill="currentColor" font-size="10.5">'
        f"{escape(weight.told)}</text>"
    )
    bottom = place.y + BOX_HEIGHT - 1.5
    return text + (
        f'<path d="M{left:.1f} {bottom:.1f} h{length:.1f}" stroke="{CRITICAL}" stroke-width="3" fill="none"/>'
    )
