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
    from mirage_lab.jupyter.guestcells import GuestCells
    from mirage_lab.jupyter.magics import Magics
    from mirage_lab.jupyter.places import cell_place
    from mirage_lab.jupyter.reporting import Reporting
    from mirage_lab.jupyter.showing import Showing
    from mirage_lab.lab import Lab

    magics = Magics(ipython)
    setattr(ipython, MARK, magics)
    ipython.register_magics(magics)
    magics.register_completions()
    cells = GuestCells(ipython)
    ipython.register_magics(cells)
    cells.register_completions()
    Lab.places = staticmethod(cell_place(ipython))
    Lab.programs = magics.programs
    Reporting(ipython).install(Lab)
    Showing(ipython).install()
