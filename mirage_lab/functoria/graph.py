"""graph: the devices of a job, each once, what is needed first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mirage_lab.functoria.impl import Impl
from mirage_lab.signatures.functor import Unikernel

__all__ = ["Vertex", "to_networkx", "vertices"]


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node: its id (unique, for people too), module type, the device or unikernel, and (hole, id) of what it is built on."""

    id: str
    module_type: str
    what: Impl | Unikernel | None
    needs: tuple[tuple[str, str], ...]

    @property
    def is_open(self) -> bool:
        """True for a hole nothing fills yet."""
        return self.what is None


def vertices(unikernel: Unikernel) -> list[Vertex]:
    """Return the devices in an order in which they can be connected, then the unikernel; open holes are vertices too."""
    found: dict[tuple[Any, ...], Vertex] = {}
    names: dict[str, int] = {}

    def unique(name: str) -> str:
        names[name] = names.get(name, 0) + 1
        return name if names[name] == 1 else f"{name} #{names[name]}"

    def visit(impl: Impl) -> str:
        key = impl.identity
        if key not in found:
            needs = tuple((arg.module_type, visit(arg)) for arg in impl.args)
            found[key] = Vertex(unique(_short(impl)), impl.module_type, impl, needs)
        return found[key].id

    needs = []
    for hole in unikernel.holes:
        device = unikernel.filled.get(hole.name)
        if device is None:
            vertex = Vertex(unique(f"{hole.name} ?"), hole.module_type, None, ())
            found["hole", hole.name] = vertex
            needs.append((hole.name, vertex.id))
        else:
            needs.append((hole.name, visit(device)))
    return [*found.values(), Vertex(unique(unikernel.name), "JOB", unikernel, tuple(needs))]


def _short(impl: Impl) -> str:
    """`netif 0`, `direct_stackv4_with_static_ipv4 10.0.0.2/24`."""
    first = next((str(value) for name, value in impl.keys.items() if name in ("dev", "address", "name") and value is not None), "")
    return f"{impl.name} {first}".strip()


def to_networkx(found: list[Vertex]) -> Any:
    """Return a networkx.DiGraph: an edge from each device to what it is built on, labelled with the hole."""
    import networkx

    graph = networkx.DiGraph()
    for vertex in found:
        keys = dict(vertex.what.keys) if isinstance(vertex.what, Impl) else {}
        graph.add_node(vertex.id, module_type=vertex.module_type, implementation=getattr(vertex.what, "implementation", ""), keys=keys)
    for vertex in found:
        for hole, below in vertex.needs:
            graph.add_edge(vertex.id, below, hole=hole)
    return graph
