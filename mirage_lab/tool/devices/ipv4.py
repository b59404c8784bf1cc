"""ipv4: IPV4 on an ETHIF and an ARP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["ipv4"]


def _connect(os: Any, keys: Mapping[str, Any], eth: Any, resolution: Any) -> Any:
    from mirage_lab.tcpip.ipv4 import Ipv4

    more: dict[str, Any] = {"routes": keys.get("routes") or (), "profile": keys.get("profile") or "today"}
    return Ipv4(os.queue, eth, resolution, address=keys["address"], gateway=keys["gateway"], **more)


def ipv4(eth: Impl, arp: Impl, *, address: str, gateway: str | None = None, routes: tuple[str, ...] = (), profile: str | None = None) -> Impl:
    """Return IPv4 with `address` ("10.0.0.2/24"); `routes`: "10.1.0.0/16 via 10.0.0.9", for what the gateway is not the way to."""
    keys = {"address": address, "gateway": gateway, "profile": profile} | ({"routes": routes} if routes else {})
    why = "sends packets to addresses"
    return Impl(
        "ipv4",
        "IPV4",
        connect=_connect,
        implementation="mirage_lab.tcpip.ipv4",
        args=(eth, arp),
        holes=("ETHIF", "ARP"),
        keys=keys,
        why=why,
        fitting=fitting,
    )
