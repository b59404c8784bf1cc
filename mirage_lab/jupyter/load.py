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


def _pictures(ipython: Any) -> None:
    """A unikernel knows no picture itself (its room lies below the drawing): give it one."""
    formatters = ipython.display_formatter.formatters
    formatters["image/svg+xml"].for_type_by_name("mirage_lab.signatures.functor", "Unikernel", _unikernel_svg)


def _unikernel_svg(unikernel: Any) -> str:
    from mirage_lab.functoria.picture import unikernel_svg

    return unikernel_svg(unikernel)
