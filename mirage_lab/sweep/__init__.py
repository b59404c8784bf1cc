"""sweep: a function that builds a Lab, called once for every point of a grid of parameters and seeds.

    sweep(function, grid, seeds) ── cells ──▶ worker processes, or a cluster ── outcomes ──▶ Sweep: a row per cell

    grid     parameters x seeds, in order                travel   the function as bytes, or the name of what cannot go
    worker   what runs in another process                pool     worker processes that never outlive the sweep
    table    Sweep: what is finished, and how to go on

A cell is a world of its own: its row depends on its parameters and its seed alone, so rows are the same whatever the number
of workers and the order they end in.  Read grid, worker, table.
"""

import sys
from types import ModuleType
from typing import Any

from mirage_lab.sweep.table import Sweep, SweepError, sweep

__all__ = ["Sweep", "SweepError", "sweep"]


class Room(ModuleType):
    """The room has the name of its one function, and the import system puts it where the function would be: it can be called."""

    def __call__(self, *args: Any, **more: Any) -> Sweep:
        return sweep(*args, **more)


sys.modules[__name__].__class__ = Room
