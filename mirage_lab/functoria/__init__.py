"""functoria: descriptions as values: implementations of module types, and the graph they make (the DSL of MirageOS).

    Impl ── args ──▶ Impl ...          graph.vertices(job): each once, what is needed first
    a filled Unikernel is the job      layout.layout(graph): coordinates, computed once, drawn by everyone

Nothing here knows an implementation; devices are in `tool`.  Read impl, graph, then layout.
"""

from mirage_lab.functoria.actions import Action, Remove, Write, dry_run, run
from mirage_lab.functoria.graph import Vertex, vertices
from mirage_lab.functoria.impl import Impl
from mirage_lab.functoria.layout import Layout, layout

__all__ = ["Action", "Impl", "Layout", "Remove", "Vertex", "Write", "dry_run", "layout", "run", "vertices"]
