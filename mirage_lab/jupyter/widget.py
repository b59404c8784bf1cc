"""widget: the live views: one anywidget whose tabs are the views of `mirage_lab.lab.views`.

The kernel sends whole snapshots, the front end sends clicks; nothing a guest wrote is ever more than text there.  The
JavaScript is the modules of `static/`, joined in the order of `MODULES` because a widget is one module for the browser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from mirage_lab.functoria import Vertex, vertices
from mirage_lab.jupyter.live import Live
from mirage_lab.lab import Lab
from mirage_lab.lab.views import graph
from mirage_lab.lab.views.catalogue import VIEWS
from mirage_lab.lab.views.kinds import View

__all__ = ["MODULES", "GraphWidget", "LabWidget", "esm", "widget_for"]

STATIC: Final = Path(__file__).parent / "static"
MODULES: Final = (
    "dom", "graph", "boottime", "bootparts", "boot", "cpuparts", "cpu", "stack", "packetparts", "packets", "xenstore", "history", "dashboard", "console", "lab",
)  # fmt: skip
_IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|const|class)\b)", re.MULTILINE)

FITTING: Final[Mapping[str, tuple[str, str]]] = {
    "Vm": ("boot", "boot.domain"), "Trace": ("packets", "packets.capture"), "XenStore": ("xenstore", ""), "Graph": ("history", ""),
}  # fmt: skip
"""The tab that fits an object, and what is looked at there."""


def esm() -> str:
    """Return the modules as one: imports between them dropped, `render` of `lab.js` exported."""
    parts = []
    for name in MODULES:
        source = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        parts.append(f"// {name}.js\n" + _EXPORT.sub("", _IMPORT.sub("", source)))
    return "\n".join([*parts, "export default { render };\n"])


class _Widget(anywidget.AnyWidget):
    """What both widgets are for the front end."""

    _esm = esm()
    _css = (STATIC / "lab.css").read_text(encoding="utf-8")
    snapshot = traitlets.Dict().tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.on_msg(self._heard)

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict):
            self.heard(content)

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take what a front end sent."""
        raise NotImplementedError


class LabWidget(_Widget):
    """A live view of `lab` with the tabs `views`, open at `tab`.  A view of a plain object: it holds no state of the world."""

    def __init__(self, lab: Lab, views: tuple[View, ...] = VIEWS, tab: str = "", look: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.pictures: list[Callable[[], None]] = []
        self._live = Live.of(lab)
        self.seat = self._live.seat(self, views, tab or views[0].name, look or {})

    def heard(self, message: Mapping[str, Any]) -> None:
        """Post it: the worker of the lab takes it from there."""
        self._live.post(self.seat, message)

    def tell(self, snapshot: dict[str, Any]) -> None:
        """Show a snapshot."""
        self.snapshot = snapshot

    def answer(self, reply: dict[str, Any]) -> None:
        """Hand over the answer to a question."""
        self.send(reply)

    def settled(self) -> None:
        """The world is at rest: the pictures beside the widget are drawn again."""
        for draw in tuple(self.pictures):
            draw()

    def close(self) -> None:
        """Leave the lab."""
        self._live.leave(self.seat)
        super().close()


class GraphWidget(_Widget):
    """The device graph of a unikernel, a job or a plan: nothing runs, a click tells what a device is."""

    def __init__(self, described: Any) -> None:
        super().__init__()
        self._found: list[Vertex] = getattr(described, "vertices", None) or vertices(described)
        self._select(None)

    def heard(self, message: Mapping[str, Any]) -> None:
        """Choose another device."""
        changes = message.get("changes")
        if message.get("kind") == "look" and isinstance(changes, dict) and "graph.selected" in changes:
            self._select(changes["graph.selected"])

    def _select(self, wanted: Any) -> None:
        selected = next((vertex for vertex in self._found if vertex.id == wanted), None)
        told = None if selected is None else graph.explained(selected)
        data: dict[str, Any] = {"domains": [], "domain": None, "graph": graph.graph_of(self._found), "selected": told}
        self.snapshot = {"tabs": [{"name": "graph", "title": "Device graph"}], "tab": "graph", "look": {}, "data": data, "said": {}}


def widget_for(kind: str, lab: Lab, name: str) -> LabWidget:
    """Return the widget that fits an object of a lab: all tabs for the lab itself, one open at what the object is for others."""
    tab, look = FITTING.get(kind, ("", ""))
    if kind == "Vm" and lab.machine.vcpu(name) is not None:
        tab, look = "cpu", "cpu.0.domain"
    names = [view.name for view in VIEWS]
    if tab not in names:
        return LabWidget(lab)
    seen = {look: name, "boot.domain": name, "console.domain": name, "graph.domain": name} if kind == "Vm" else {look: name} if look else {}
    return LabWidget(lab, VIEWS, tab, seen)
