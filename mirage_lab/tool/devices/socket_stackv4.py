"""socket_stackv4: STACKV4: the sockets of the computer, on 127.0.0.1, for target unix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["socket_stackv4"]


def _connect(os: Any, keys: Mapping[str, Any]) -> Any:
    return os.socket_stackv4()


def socket_stackv4() -> Impl:
    """Return a stack on host sockets; ports below 1024, and ports in use, are given another number."""
    why = "TCP by the computer's own sockets"
    return Impl("socket_stackv4", "STACKV4", connect=_connect, implementation="mirage_lab.usernet.unix", targets=("unix",), why=why, fitting=fitting)
