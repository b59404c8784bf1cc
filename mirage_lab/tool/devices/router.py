"""router: STACKV4s on several networks that forward between them; as a device it is the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["router"]


def _connect(os: Any, keys: Mapping[str, Any], *stacks: Any) -> Any:
    from mirage_lab.tcpip.router import Router

    stacks[0].router = Router(stacks)
    return stacks[0]


def router(stack: Impl, *others: Impl) -> Impl:
    """Return `stack`, which forwards packets between its network and those of `others`, each on its own netif.

    Stations of each network have its stack's address as their gateway, or as the way in one of their `routes`.
    """
    return Impl(
        "router",
        "STACKV4",
        connect=_connect,
        implementation="mirage_lab.tcpip.router",
        args=(stack, *others),
        holes=("STACKV4",) * (1 + len(others)),
        targets=("xen",),
        why="forwards packets from one network to another",
        fitting=fitting,
    )
