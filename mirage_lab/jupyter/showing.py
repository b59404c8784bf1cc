"""showing: how the lab's objects look in a notebook: the live widget, then words, then a picture.

Each is an output of its own, since a front end shows only one format of an output.  The picture (PNG, SVG and a line of
text) is what a saved notebook still has when the widget has nobody to talk to: an untrusted notebook shows no SVG, and
only JupyterLab draws widgets.  It is drawn again when the world comes to rest.  MIRAGE_LAB_PROGRESS=off
leaves out what moves, progress lines and widgets: outputs to be compared.
"""

from __future__ import annotations

import os
import weakref
from base64 import b64encode
from collections.abc import Callable
from typing import Any

__all__ = ["Showing", "picture_bundle"]

SHOWN = (
    ("mirage_lab.signatures.functor", "Unikernel"),
    ("mirage_lab.tool.configuring", "Plan"),
    ("mirage_lab.lab.handles", "Vm"),
    ("mirage_lab.lab.trace", "Trace"),
    ("mirage_lab.lab.store", "Graph"),
    ("mirage_lab.lab.store", "XenStore"),
    ("mirage_lab.irmin.picture", "HistoryPicture"),
    ("mirage_lab.lab.lab", "Lab"),
)
PICTURES = 4
"""Pictures of one widget that are kept up to date: those shown last."""


def picture_bundle(svg: str, words: str) -> dict[str, Any]:
    """Return a picture in every format a front end may want: SVG, PNG, a line of text."""
    from mirage_lab.tracing.png import png

    lines = words.splitlines()
    return {"image/svg+xml": svg, "image/png": b64encode(png(svg)).decode("ascii"), "text/plain": f"picture: {lines[0] if lines else ''}"}


class Showing:
    """Display handlers of one IPython shell."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._widgets: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], Any]] = weakref.WeakKeyDictionary()
        self._number = 0

    def install(self) -> None:
        """Become the one who shows the lab's objects."""
        for module, name in SHOWN:
            self._ipython.display_formatter.ipython_display_formatter.for_type_by_name(module, name, self.show)

    @property
    def live(self) -> bool:
        """True when widgets can be shown: there is a kernel, and nobody switched them off."""
        return getattr(self._ipython, "kernel", None) is not None and os.environ.get("MIRAGE_LAB_PROGRESS", "on") != "off"

    def show(self, thing: Any) -> None:
        """Show the widget, the words, the picture."""
        from IPython.display import publish_display_data

        kind = type(thing).__name__
        widget = self._widget(kind, thing) if self.live else None
        if widget is not None:
            self._publish_widget(widget)
        if kind == "Trace":
            self._publish(lambda: _table(thing), widget)
            return
        publish_display_data({"text/plain": repr(thing)})
        self._publish(lambda: _picture(thing), widget)

    def _widget(self, kind: str, thing: Any) -> Any:
        """The widget of an object; the same one each time, so that two displays of it stay in step."""
        from mirage_lab.jupyter import widget as widgets

        if kind in ("Unikernel", "Plan"):
            return widgets.GraphWidget(thing)
        lab = thing if kind == "Lab" else getattr(thing, "_lab", None)
        if lab is None:
            return None
        if lab.closed or (kind == "Vm" and thing.state == "gone"):
            return None
        made = self._widgets.setdefault(lab, {})
        key = (kind, getattr(thing, "name", ""))
        found = made.get(key)
        if found is None:
            found = made[key] = widgets.widget_for(kind, lab, getattr(thing, "name", ""))
        return found

    def _publish_widget(self, widget: Any) -> None:
        from IPython.display import publish_display_data

        bundle = widget._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        publish_display_data({**data, "text/plain": "live view (JupyterLab)"}, metadata)

    def _publish(self, made: Callable[[], dict[str, Any] | None], widget: Any) -> None:
        """Publish what `made` returns; beside a live widget it is made again whenever the world has come to rest."""
        from IPython.display import publish_display_data

        bundle = made()
        if bundle is None:
            return
        if widget is None or not hasattr(widget, "pictures"):
            publish_display_data(bundle)
            return
        self._number += 1
        display_id = f"mirage_lab-picture-{self._number}"
        publish_display_data(bundle, transient={"display_id": display_id})

        def again() -> None:
            now = made()
            if now is not None:
                publish_display_data(now, transient={"display_id": display_id}, update=True)

        widget.pictures.append(again)
        del widget.pictures[:-PICTURES]


def _table(trace: Any) -> dict[str, Any]:
    """The words and the table of a capture."""
    table = trace._repr_html_()
    return {"text/plain": repr(trace), **({"text/html": table} if table else {})}


def _picture(thing: Any) -> dict[str, Any] | None:
    svg = _drawn(thing)
    return picture_bundle(svg, repr(thing)) if svg else None


def _drawn(thing: Any) -> str | None:
    draw = getattr(thing, "_repr_svg_", None)
    if draw is not None:
        svg = draw()
        return None if svg is None else str(svg)
    if type(thing).__name__ == "Unikernel":
        from mirage_lab.functoria.picture import unikernel_svg

        return unikernel_svg(thing)
    return None
