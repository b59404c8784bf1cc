"""layout: where the boxes of a device graph go: in layers, the job on top, what it is built on below.

Computed once, in px; the SVG, the widget and matplotlib draw from the same numbers.  An edge over several layers passes
through gaps kept free for it, so that no line crosses a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mirage_lab.functoria.graph import Vertex

__all__ = ["Box", "Edge", "Layout", "layout"]

CHARACTER = 7.2
PADDING = 24
HEIGHT = 44
GAP_X = 28
GAP_Y = 46
MARGIN = 20
LANE = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A vertex's rectangle: top left corner, size, and the vertex."""

    x: float
    y: float
    width: float
    height: float
    vertex: Vertex


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a box down to another, by points; `hole` is what it fills."""

    above: str
    below: str
    hole: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The drawing: its size, boxes by id, edges."""

    width: float
    height: float
    boxes: dict[str, Box]
    edges: tuple[Edge, ...]


def layout(found: list[Vertex], beside: int = 0) -> Layout:
    """Return the drawing of a graph given in dependency order; `beside`: characters to keep free beside each module type."""
    layer: dict[str, int] = {}
    for vertex in reversed(found):
        layer.setdefault(vertex.id, 0)
        for _, below in vertex.needs:
            layer[below] = max(layer.get(below, 0), layer[vertex.id] + 1)
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    by_id = {vertex.id: vertex for vertex in found}
    chains: dict[tuple[str, str, str], list[str]] = {}
    for vertex in reversed(found):
        rows[layer[vertex.id]].append(vertex.id)
    for vertex in reversed(found):
        for hole, below in vertex.needs:
            chain = [vertex.id]
            for row in range(layer[vertex.id] + 1, layer[below]):
                lane = f"\0{vertex.id}\0{hole}\0{row}"
                rows[row].append(lane)
                chain.append(lane)
            chains[vertex.id, below, hole] = [*chain, below]
    _order(rows, chains)
    return _place(rows, chains, by_id, beside)


def _order(rows: list[list[str]], chains: dict[tuple[str, str, str], list[str]]) -> None:
    """Sort each row by where its neighbours above stand, from the top down."""
    above: dict[str, list[str]] = {}
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
    for index in range(1, len(rows)):
        place = {name: position for position, name in enumerate(rows[index - 1])}
        before = {name: position for position, name in enumerate(rows[index])}

        def middle(name: str, place: dict[str, int] = place, before: dict[str, int] = before) -> tuple[float, int]:
            seen = [place[upper] for upper in above.get(name, ()) if upper in place]
            return (sum(seen) / len(seen) if seen else float(before[name]), before[name])

        rows[index].sort(key=middle)


def _width(name: str, by_id: dict[str, Vertex], beside: int) -> float:
    if name not in by_id:
        return LANE
    vertex = by_id[name]
    return max(len(name[:48]), len(vertex.module_type) + beside) * CHARACTER + PADDING


def _place(rows: list[list[str]], chains: dict[tuple[str, str, str], list[str]], by_id: dict[str, Vertex], beside: int) -> Layout:
    widths = {name: _width(name, by_id, beside) for row in rows for name in row}
    totals = [sum(widths[name] for name in row) + GAP_X * (len(row) - 1) for row in rows]
    wide = max(totals, default=0) + 2 * MARGIN
    middle: dict[str, tuple[float, float]] = {}
    boxes: dict[str, Box] = {}
    for index, row in enumerate(rows):
        x, y = (wide - totals[index]) / 2, MARGIN + index * (HEIGHT + GAP_Y)
        for name in row:
            middle[name] = (x + widths[name] / 2, y)
            if name in by_id:
                boxes[name] = Box(x, y, widths[name], HEIGHT, by_id[name])
            x += widths[name] + GAP_X
    edges = []
    for (upper, lower, hole), chain in chains.items():
        points = [(middle[upper][0], middle[upper][1] + HEIGHT)]
        for lane in chain[1:-1]:
            points += [middle[lane], (middle[lane][0], middle[lane][1] + HEIGHT)]
        edges.append(Edge(upper, lower, hole, (*points, middle[lower])))
    return Layout(wide, 2 * MARGIN + len(rows) * HEIGHT + (len(rows) - 1) * GAP_Y, boxes, tuple(edges))
