"""arp: ARP on an ETHIF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["arp"]


def _connect(os: Any, keys: Mapping[str, Any], eth: Any) -> Any:
    from mirage_lab.tcpip.arp import Arp

    return Arp(os.queue, eth, keys.get("profile") or "today")


def arp(eth: Impl, *, profile: str | None = None) -> Impl:
    """Return address resolution on `eth`."""
    why = "finds the station that has an address"
    return Impl(
        "arp",
        "ARP",
        connect=_connect,
        implementation="mirage_lab.tcpip.arp",
        args=(eth,),
        holes=("ETHIF",),
        keys={"profile": profile},
        why=why,
        fitting=fitting,
    )
