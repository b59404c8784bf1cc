"""A pytest plugin (`-p tests.hidden`) that hides what only Linux and its like have: the unit tests pass without.

To the lab fcntl, resource, termios, pty, pwd and grp do not exist, and nobody has os.fork and socket.AF_UNIX.
"""

from __future__ import annotations

import builtins
import os
import socket
from typing import Any

HIDDEN = ("fcntl", "resource", "termios", "pty", "pwd", "grp")
_import = builtins.__import__


def _hiding(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """Import, except a hidden module for a module of the lab."""
    if name in HIDDEN and str((globals or {}).get("__name__", "")).startswith("mirage_lab"):
        raise ImportError(f"{name} is hidden: not every platform has it")
    return _import(name, globals, locals, fromlist, level)


def _pair(*ignored: object) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, as Windows makes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname()[:2])
        return one, server.accept()[0]


builtins.__import__ = _hiding
socket.socketpair = _pair  # type: ignore[assignment]
for owner, name in ((os, "fork"), (socket, "AF_UNIX")):
    if hasattr(owner, name):
        delattr(owner, name)
