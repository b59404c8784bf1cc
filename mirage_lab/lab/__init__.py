"""lab: the composition for people: a Lab and the handles `vm`, `lan`, `trace` and `site`.

    Lab ── commands ──▶ Machine: a World with a toolstack, lans, gateways, captures, forwards      machine.py
     │                     ▲
     ├─ run, step, play ───┘ drivers: one at a time, under one lock                                 running.py
     ├─ undo, rewind, reset: a new Machine from seed and journal
     └─ handles hold the lab and a name, and look the object up at each use                         handles.py, trace.py

Read lab, machine, then handles.
"""

from mirage_lab.lab.guests import guest_image
from mirage_lab.lab.handles import Console, Domains, Events, Lan, Site, Store, Vm
from mirage_lab.lab.lab import Lab
from mirage_lab.lab.said import LabError, Said
from mirage_lab.lab.trace import Trace, read_capture

__all__ = ["Console", "Domains", "Events", "Lab", "LabError", "Lan", "Said", "Site", "Store", "Trace", "Vm", "guest_image", "read_capture"]
