"""load: `%load_ext mirage_lab`: pictures, places, messages, magics.  Loading it again changes nothing."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]

MARK = "_mirage_lab_extension"


def load(ipython: Any) -> None:
    """Register with an IPython shell."""
    if getattr(ipython, MARK, None) is not None:
        print("mirage_lab is loaded already; nothing changed")
        return
    from mirage_lab.jupyter.magics import Magics
    from mirage_lab.jupyter.places import cell_place
    from mirage_lab.jupyter.reporting import Reporting
    from mirage_lab.lab import Lab

    magics = Magics(ipython)
    setattr(ipython, MARK, magics)
    ipython.register_magics(magics)
    magics.register_completions()
    Lab.places = staticmethod(cell_place(ipython))
    Reporting(ipython).install(Lab)
    _pictures(ipython)


PICTURED = (
    ("mirage_lab.signatures.functor", "Unikernel"),
    ("mirage_lab.tool.configuring", "Plan"),
    ("mirage_lab.lab.handles", "Vm"),
    ("mirage_lab.lab.lab", "Lab"),
)


def _pictures(ipython: Any) -> None:
    """Show these as words and then a picture, two outputs: a front end shows only one format of each."""
    for module, name in PICTURED:
        ipython.display_formatter.ipython_display_formatter.for_type_by_name(module, name, _show)


def _show(thing: Any) -> None:
    from IPython.display import publish_display_data

    words = repr(thing)
    publish_display_data({"text/plain": words})
    draw = getattr(thing, "_repr_svg_", None)
    picture = draw() if draw is not None else _unikernel_svg(thing)
    if picture:
        publish_display_data({"image/svg+xml": picture, "text/plain": f"picture: {words.splitlines()[0]}"})


def _unikernel_svg(unikernel: Any) -> str:
    from mirage_lab.functoria.picture import unikernel_svg

    return unikernel_svg(unikernel)
