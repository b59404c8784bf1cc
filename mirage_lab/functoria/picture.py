"""picture: a device graph as SVG: a box for each device, its module type, the holes on the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.functoria.graph import vertices
from mirage_lab.functoria.impl import Impl
from mirage_lab.functoria.layout import layout
from mirage_lab.tracing.svg import FAINT, INK, MUTED, OKABE_ITO, Svg

if TYPE_CHECKING:
    from mirage_lab.signatures.errors import Mismatch
    from mirage_lab.signatures.functor import Unikernel

__all__ = ["mismatch_svg", "unikernel_svg"]


def unikernel_svg(unikernel: Unikernel, title: str = "") -> str:
    """Return the device graph of a unikernel, open holes dashed; all text is escaped."""
    drawn = layout(vertices(unikernel))
    svg = Svg(drawn.width, drawn.height, title or f"{unikernel.name}: device graph", repr(unikernel))
    for edge in drawn.edges:
        svg.polyline(edge.points[:-1] + edge.points[-1:], stroke=MUTED, thick=1.2)
        (x1, y1), (x2, y2) = edge.points[-2:]
        svg.arrow(x1 + (x2 - x1) * 0.8, y1 + (y2 - y1) * 0.8, x2, y2, stroke=MUTED)
    for edge in drawn.edges:
        if edge.hole != drawn.boxes[edge.below].vertex.module_type and not drawn.boxes[edge.below].vertex.is_open:
            (x1, y1), (x2, y2) = edge.points[:2]
            svg.text((x1 + x2) / 2 + 5, (y1 + y2) / 2 + 4, edge.hole, size=10, fill=MUTED, limit=24)
    for box in drawn.boxes.values():
        vertex = box.vertex
        is_open = vertex.is_open
        colour = OKABE_ITO[1] if is_open else OKABE_ITO[0] if vertex.module_type == "JOB" else INK
        tip = f"{vertex.what.label}: {vertex.what.implementation}. {vertex.what.why}" if isinstance(vertex.what, Impl) else ""
        frame = colour if is_open or vertex.module_type == "JOB" else FAINT
        svg.rect(box.x, box.y, box.width, box.height, fill="#ffffff", stroke=frame, thick=1.5, radius=6, dash="4 3" if is_open else "", tip=tip)
        middle = box.x + box.width / 2
        svg.text(middle, box.y + 19, vertex.id, anchor="middle", bold=True, fill=colour, limit=48)
        svg.text(middle, box.y + 34, vertex.module_type, size=10, anchor="middle", fill=MUTED, limit=24)
    return str(svg)


def mismatch_svg(edge: Mismatch, desc: str) -> str:
    """Return an edge of a device graph that cannot be: both ends, the type expected on it, and what would fit."""
    fits = list(edge.fits[:6])
    wide = max(320, 30 + 6.6 * max((len(name) for name in fits), default=0))
    svg = Svg(360 + wide, max(190, 78 + 24 * len(fits)), f"{edge.above}: the hole {edge.hole} wants {edge.wanted}", desc)
    for y, name, below, colour in ((18, edge.above, f"wants {edge.wanted}", INK), (128, edge.given, f"is {edge.found}", OKABE_ITO[1])):
        svg.rect(20, y, 300, 44, fill="#ffffff", stroke=colour, thick=1.5, radius=6)
        svg.text(170, y + 19, name, anchor="middle", bold=True, limit=42)
        svg.text(170, y + 35, below, anchor="middle", size=10, fill=MUTED, limit=44)
    svg.arrow(170, 62, 170, 125, stroke=OKABE_ITO[1], thick=2, dash="5 4")
    svg.text(178, 90, f"\u2715 expected {edge.wanted}", bold=True, size=11)
    svg.text(178, 106, f"in the hole {edge.hole}", size=10, fill=MUTED, limit=24)
    svg.text(352, 32, f"what fits {edge.wanted}:" if fits else f"no device of the catalogue is a {edge.wanted}", bold=True, size=11)
    for place, name in enumerate(fits):
        svg.text(352, 54 + 24 * place, name, mono=True, size=11, limit=60)
    return str(svg)
