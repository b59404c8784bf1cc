"""http_server: HTTP on a port of a STACKV4 (mirage 1.2: http_server, over cohttp)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["http_server"]


def _connect(os: Any, keys: Mapping[str, Any], stack: Any) -> Any:
    from mirage_lab.cohttp import HttpServer

    return HttpServer(stack, keys["port"])


def http_server(stack: Impl, *, port: int = 80) -> Impl:
    """Return an HTTP server on `port` of `stack`."""
    return Impl(
        "http_server",
        "HTTP",
        connect=_connect,
        implementation="mirage_lab.cohttp",
        args=(stack,),
        holes=("STACKV4",),
        keys={"port": port},
        why="reads requests and writes responses",
        fitting=fitting,
    )
