"""mirage_lab: an interactive unikernel lab in Jupyter, after MirageOS 1.2 / 2.0.

    from mirage_lab import Lab, configure, devices, ms, seconds, unikernel

The names are loaded when they are first used: importing the package is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirage_lab.lab import Lab, guest_image, read_capture
    from mirage_lab.signatures import unikernel
    from mirage_lab.signatures.units import Ns, ms, ns, seconds, us
    from mirage_lab.sweep import sweep
    from mirage_lab.tool import configure, devices, native
    from mirage_lab.tool.native import compile_guest

__version__ = "0.1.0"
__all__ = ["Lab", "Ns", "compile_guest", "configure", "devices", "guest_image", "ms", "native", "ns", "read_capture", "seconds", "sweep", "unikernel", "us"]

_HOMES = {
    "Lab": "mirage_lab.lab",
    "guest_image": "mirage_lab.lab",
    "read_capture": "mirage_lab.lab",
    "configure": "mirage_lab.tool",
    "devices": "mirage_lab.tool",
    "native": "mirage_lab.tool",
    "compile_guest": "mirage_lab.tool.native",
    "unikernel": "mirage_lab.signatures",
    **dict.fromkeys(("Ns", "ms", "ns", "seconds", "us"), "mirage_lab.signatures.units"),
}


def __getattr__(name: str) -> Any:
    if name == "sweep":
        return importlib.import_module("mirage_lab.sweep")  # a room that can be called: it has its function's name
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"mirage_lab has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext mirage_lab`."""
    from mirage_lab.jupyter import load

    load(ipython)
