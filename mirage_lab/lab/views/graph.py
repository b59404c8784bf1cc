"""graph: the device graph of a unikernel: before it runs, while it runs, and after.

A node has a state (`hole`, `waiting`, `connecting`, `running`, `failed`, `ended`), counters, and, when asked, its
signature, implementation, arguments, why it was linked, and statistics.  An edge has the traffic of the device below it.
The same data comes from a unikernel, a job, a plan (nothing runs: `graph_of`) and from a domain of a lab.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import mirage_lab.signatures as signatures
from mirage_lab.functoria import Impl, Vertex
from mirage_lab.functoria.layout import layout
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Args, Look, View, domain_of, text
from mirage_lab.tool.building import Entry, Slot
from mirage_lab.tracing.svg import INK, MUTED, OKABE_ITO, Svg, visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["MARKS", "VIEW", "counters", "explained", "graph_of", "graph_svg"]

STATE: Final = 11
"""Characters that a state and its shape need beside a module type."""
VALUE: Final = 200
SHOWN: Final = 3
DEPTH: Final = 3

MARKS: Final[Mapping[str, str]] = {"hole": "?", "waiting": "\u25cb", "connecting": "\u25d0", "running": "\u25cf", "failed": "\u2715", "ended": "\u25a0"}
"""A shape for each state, beside its word: colour says it only a third time."""

COLOURS: Final[Mapping[str, str]] = {
    "hole": OKABE_ITO[1], "waiting": MUTED, "connecting": OKABE_ITO[4], "running": OKABE_ITO[2], "failed": OKABE_ITO[1], "ended": INK,
}  # fmt: skip


def counters(device: Any) -> list[tuple[str, int]]:
    """Return the numbers a running device counts, by name, the most telling first; never raises for a device of a learner's."""
    try:
        statistics = getattr(device, "statistics", None) or getattr(device, "get_stats_counters", None)
        seen = statistics() if callable(statistics) else None
    except Exception:
        return []
    found: list[tuple[str, int]] = []
    _flatten("", seen, found, 0)
    return found


def _flatten(prefix: str, value: Any, found: list[tuple[str, int]], depth: int) -> None:
    if len(found) >= 60 or depth > DEPTH:
        return
    if isinstance(value, int) and not isinstance(value, bool):
        found.append((prefix, value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _flatten(f"{prefix} {field.name}".strip(), getattr(value, field.name), found, depth + 1)
    elif isinstance(value, dict):
        for name, part in list(value.items())[:20]:
            _flatten(f"{prefix} {name}".strip(), part, found, depth + 1)


def _traffic(told: Sequence[tuple[str, int]]) -> int:
    """How much has passed a device: the frames, packets or segments that it took and gave."""
    names = dict(told)
    for pair in (("rx_pkts", "tx_pkts"), ("ethif received", "ethif sent"), ("received", "sent"), ("lines",)):
        if all(name in names for name in pair):
            return sum(names[name] for name in pair)
    return 0


def _brief(told: Sequence[tuple[str, int]]) -> list[list[Any]]:
    """The counters that a node carries: frames and bytes, or hypercalls, or the first few."""
    names = dict(told)
    for wanted in (
        (("rx_pkts", "frames in"), ("tx_pkts", "frames out"), ("rx_bytes", "bytes in"), ("tx_bytes", "bytes out")),
        (("ethif received", "frames in"), ("ethif sent", "frames out"), ("tcpv4 connections", "connections")),
        (("received", "in"), ("sent", "out")),
        (("hypercalls", "hypercalls"), ("upcalls", "upcalls"), ("steps", "steps")),
    ):
        if all(name in names for name, _ in wanted):
            return [[label, names[name]] for name, label in wanted]
    return [[name, value] for name, value in list(told)[:SHOWN]]


def graph_of(found: Sequence[Vertex], slots: Mapping[str, Slot] | None = None, extra: Mapping[str, Sequence[tuple[str, int]]] | None = None) -> dict[str, Any]:
    """Return the drawing of a graph: size, nodes and edges with places (px), states and counters."""
    drawn = layout(list(found), STATE)
    nodes: list[dict[str, Any]] = []
    told: dict[str, list[tuple[str, int]]] = {}
    for name, box in drawn.boxes.items():
        vertex = box.vertex
        slot = (slots or {}).get(name)
        state = "hole" if vertex.is_open else slot.state if slot is not None else "waiting"
        told[name] = [*(extra or {}).get(name, ()), *(counters(slot.device) if slot is not None and slot.device is not None else ())]
        place = {"x": box.x, "y": box.y, "w": box.width, "h": box.height}
        nodes += [{"id": name, **place, "type": vertex.module_type, "state": state, "mark": MARKS[state], "counters": _brief(told[name])}]
    edges = [
        {"from": edge.above, "to": edge.below, "hole": edge.hole, "points": [list(point) for point in edge.points], "traffic": _traffic(told[edge.below])}
        for edge in drawn.edges
    ]
    return {"width": drawn.width, "height": drawn.height, "nodes": nodes, "edges": edges}


def explained(vertex: Vertex, slot: Slot | None = None, extra: Sequence[tuple[str, int]] = ()) -> dict[str, Any]:
    """Return what a click on a node tells: signature, implementation, arguments, why it is there, statistics."""
    what = vertex.what
    signature = _signatures().get(vertex.module_type)
    facts: list[list[str]] = []
    if isinstance(what, Impl):
        facts.append(["implementation", what.implementation])
        facts += [[f"argument {name}", visible(repr(value), VALUE)] for name, value in what.keys.items()]
        facts.append(["linked because", what.why or "the unikernel needs it"])
        facts.append(["targets", ", ".join(what.targets)])
    elif what is None:
        facts.append(["open", f"nothing fills this hole yet; what fits: {', '.join(_fitting(vertex.module_type)) or 'a device of your own'}"])
    else:
        facts.append(["unikernel", what.signature_line])
        facts += [[f"hole {hole.name}", hole.module_type] for hole in what.holes]
        facts += [[f"key {key.name}", key.type.__name__] for key in what.keys]
    facts += [["built on", f"{below} as {hole}"] for hole, below in vertex.needs]
    device = slot.device if slot is not None else None
    return {
        "id": vertex.id,
        "type": vertex.module_type,
        "state": "hole" if vertex.is_open else slot.state if slot is not None else "waiting",
        "signature": signature[0] if signature else "",
        "operations": list(signature[1]) if signature else [],
        "facts": facts,
        "statistics": [[name, value] for name, value in [*extra, *(counters(device) if device is not None else ())]],
    }


@cache
def _signatures() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Each module type's first line and its operations, as the signature declares them."""
    found = {}
    for name in signatures.__all__:
        kind = getattr(signatures, name)
        module_type = getattr(kind, "module_type", None)
        if isinstance(kind, type) and isinstance(module_type, str):
            operations = [
                f"{'await ' if inspect.iscoroutinefunction(method) else ''}{operation}{_arguments(method)}"
                for operation, method in vars(kind).items()
                if inspect.isfunction(method) and not operation.startswith("_")
            ]
            found[module_type] = (inspect.getdoc(kind) or name, tuple(operations))
    return found


def _arguments(method: Any) -> str:
    shown = [str(parameter) for name, parameter in inspect.signature(method).parameters.items() if name != "self"]
    return f"({', '.join(shown)})"[:VALUE]


def _fitting(module_type: str) -> tuple[str, ...]:
    from mirage_lab.tool.devices.catalogue import fitting

    return tuple(f"devices.{name}" for name in fitting(module_type))


def graph_svg(graph: Mapping[str, Any], title: str, desc: str) -> str:
    """Return a graph as `graph_of` made it, as SVG: the state of each device as shape and word, counters in the boxes' tips."""
    svg = Svg(graph["width"], graph["height"], title, desc)
    for edge in graph["edges"]:
        points = [(x, y) for x, y in edge["points"]]
        svg.polyline(points, stroke=MUTED, thick=2 if edge["traffic"] else 1.2)
        (x1, y1), (x2, y2) = points[-2:]
        svg.arrow(x1 + (x2 - x1) * 0.8, y1 + (y2 - y1) * 0.8, x2, y2, stroke=MUTED)
        if edge["traffic"]:
            svg.text((x1 + x2) / 2 + 5, (y1 + y2) / 2 + 4, f"{edge['traffic']:,}", size=10, fill=MUTED)
    for node in graph["nodes"]:
        colour = COLOURS[node["state"]]
        tip = f"{node['id']}: {node['state']}" + "".join(f", {name} {value:,}" for name, value in node["counters"])
        dash = "4 3" if node["state"] == "hole" else ""
        svg.rect(node["x"], node["y"], node["w"], node["h"], fill="#ffffff", stroke=colour, thick=1.5, radius=6, dash=dash, tip=tip)
        middle = node["x"] + node["w"] / 2
        svg.text(middle, node["y"] + 19, node["id"], anchor="middle", bold=True, limit=48)
        svg.text(middle, node["y"] + 34, f"{node['mark']} {node['state']} · {node['type']}", size=10, anchor="middle", fill=MUTED, limit=40)
    return str(svg)


def _vertices(lab: Lab, name: str) -> list[Vertex]:
    entry = lab.machine.images[name].entry
    return entry.vertices if isinstance(entry, Entry) else []


def _running(lab: Lab, name: str) -> tuple[dict[str, Slot], dict[str, list[tuple[str, int]]]]:
    """The slots of a domain, and what the hypervisor counts for its unikernel and its console."""
    machine = lab.machine
    domain = machine.toolstack.domain(machine.domid(name))
    slots: dict[str, Slot] = dict(domain.queue.devices)
    seen = domain.statistics()
    extra: dict[str, list[tuple[str, int]]] = {}
    crashed = lab.vm(name).state == "crashed"
    for vertex in _vertices(lab, name):
        if vertex.module_type == "JOB":
            extra[vertex.id] = [("hypercalls", sum(seen.hypercalls.values())), ("upcalls", seen.upcalls), ("steps", seen.steps)]
            if crashed and vertex.id in slots and slots[vertex.id].state == "running":
                slots[vertex.id] = failed = Slot()
                failed.state = "failed"
        elif vertex.module_type == "CONSOLE":
            extra[vertex.id] = [("lines", len(machine.toolstack.console(machine.domid(name)).lines))]
    return slots, extra


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the graph of the chosen domain, with what is selected explained."""
    name = domain_of(lab, look, "graph.domain")
    names = [domain.name for domain in lab.machine.toolstack.list() if domain.domid]
    if name is None:
        return {"domains": [], "domain": None, "graph": None, "selected": None}
    found = _vertices(lab, name)
    slots, extra = _running(lab, name)
    wanted = look.get("graph.selected")
    selected = next((vertex for vertex in found if vertex.id == wanted), None)
    return {
        "domains": names,
        "domain": name,
        "state": lab.vm(name).state,
        "graph": graph_of(found, slots, extra),
        "selected": None if selected is None else explained(selected, slots.get(selected.id), extra.get(selected.id, ())),
    }


def words(lab: Lab, look: Look) -> str:
    """Return the devices of the chosen domain, a line each, at most 8."""
    name = domain_of(lab, look, "graph.domain")
    if name is None:
        return "no domain yet: lab.create(image) makes one"
    slots, extra = _running(lab, name)
    graph = graph_of(_vertices(lab, name), slots, extra)
    lines = [f"{name}: {lab.vm(name).state}"]
    for node in graph["nodes"]:
        told = ", ".join(f"{value:,} {label}" for label, value in node["counters"])
        lines.append(f"  {node['mark']} {node['id']} ({node['type']}) {node['state']}{': ' + told if told else ''}")
    return "\n".join(lines if len(lines) <= 8 else [*lines[:7], f"  ... {len(lines) - 7} more"])


def picture(lab: Lab, look: Look) -> str | None:
    """Return the device graph of the chosen domain as SVG."""
    name = domain_of(lab, look, "graph.domain")
    if name is None or not _vertices(lab, name):
        return None
    return graph_svg(graph_of(_vertices(lab, name), *_running(lab, name)), f"{name}: device graph", words(lab, look))


def _explain(lab: Lab, args: Args) -> dict[str, Any]:
    name, wanted = text(args, "domain", 64), text(args, "node", 200)
    slots, extra = _running(lab, name)
    for vertex in _vertices(lab, name):
        if vertex.id == wanted:
            return explained(vertex, slots.get(wanted), extra.get(wanted, ()))
    raise LabError(f"{name} has no device {wanted!r}")


VIEW: Final = View("graph", "Device graph", snapshot, words, picture, {}, {"graph.explain": _explain})
