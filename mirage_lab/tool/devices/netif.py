"""netif: NETWORK: a virtual interface; the lan it is plugged into is said at `lab.create(image, vif=[lan])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["netif"]


async def _connect(os: Any, keys: Mapping[str, Any]) -> Any:
    return await os.netif(keys["dev"])


def netif(dev: str | int = "0") -> Impl:
    """Return interface number `dev` of the domain."""
    why = "sends and receives Ethernet frames over two shared rings"
    return Impl(
        "netif",
        "NETWORK",
        connect=_connect,
        implementation="mirage_lab.xen.guest.netfront",
        keys={"dev": str(dev)},
        targets=("xen",),
        why=why,
        fitting=fitting,
    )
