"""direct_stackv4_with_static_ipv4, ..._with_default_ipv4 and ..._with_dhcp: STACKV4: our own layers on a NETWORK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["direct_stackv4_with_default_ipv4", "direct_stackv4_with_dhcp", "direct_stackv4_with_static_ipv4"]

DEFAULT = "10.0.0.2/24"
DEFAULT_GATEWAY = "10.0.0.1"


def _connect(os: Any, keys: Mapping[str, Any], net: Any) -> Any:
    from mirage_lab.tcpip.stack import Stack

    more: dict[str, Any] = {"routes": keys.get("routes") or (), "mtu": keys.get("mtu"), "congestion": keys.get("congestion")}
    return Stack(os.queue, net, address=keys["address"], gateway=keys["gateway"], profile=keys.get("profile") or "today", **more)


def _stack(
    name: str,
    net: Impl,
    address: str,
    gateway: str | None,
    profile: str | None,
    congestion: str | None,
    routes: tuple[str, ...] = (),
    mtu: int | None = None,
) -> Impl:
    more = {"congestion": congestion, "routes": routes, "mtu": mtu}
    return Impl(
        name,
        "STACKV4",
        connect=_connect,
        implementation="mirage_lab.tcpip.stack",
        args=(net,),
        holes=("NETWORK",),
        keys={"address": address, "gateway": gateway, "profile": profile} | {name: value for name, value in more.items() if value},
        targets=("xen",),
        why="Ethernet, ARP, IPv4, ICMP, UDP and TCP, down to the frame",
        fitting=fitting,
    )


def direct_stackv4_with_static_ipv4(
    net: Impl,
    *,
    address: str,
    gateway: str | None = None,
    routes: tuple[str, ...] = (),
    mtu: int | None = None,
    profile: str | None = None,
    congestion: str | None = None,
) -> Impl:
    """Return a stack on `net` with `address` ("10.0.0.2/24"); `congestion`: newreno, cubic (today's) or bbr.

    `routes`: "10.1.0.0/16 via 10.0.0.9", for what the gateway is not the way to; `mtu`: the largest packet, if less than 1500.
    """
    return _stack("direct_stackv4_with_static_ipv4", net, address, gateway, profile, congestion, routes, mtu)


def direct_stackv4_with_default_ipv4(net: Impl, *, profile: str | None = None, congestion: str | None = None) -> Impl:
    """Return a stack on `net` with MirageOS's default address, 10.0.0.2/24, gateway 10.0.0.1."""
    return _stack("direct_stackv4_with_default_ipv4", net, DEFAULT, DEFAULT_GATEWAY, profile, congestion)


async def _dhcp(os: Any, keys: Mapping[str, Any], net: Any) -> Any:
    from mirage_lab.tcpip.dhcp import Configured
    from mirage_lab.tcpip.ipv4 import NO_ADDRESS
    from mirage_lab.tcpip.stack import Stack

    log = os.console.log
    log("Manager: connect")
    log("Manager: configuring")
    stack = Stack(os.queue, net, address=NO_ADDRESS, profile=keys.get("profile") or "today", congestion=keys.get("congestion"))
    configured = stack.dhcp = Configured(stack, log=log, host_name=keys.get("host_name") or "")
    configured.start()
    await configured.bound()
    log("Manager: configuration done")
    return stack


def direct_stackv4_with_dhcp(net: Impl, *, host_name: str | None = None, profile: str | None = None, congestion: str | None = None) -> Impl:
    """Return a stack on `net` that asks a DHCP server for its address; connecting waits for it, for ever if there is none.

    `lab.lan("br0", dhcp=True)` has a server.  `host_name` is told to it; it is the domain's name if none is given.
    """
    keys = {"profile": profile, "host_name": host_name, "congestion": congestion}
    return Impl(
        "direct_stackv4_with_dhcp",
        "STACKV4",
        connect=_dhcp,
        implementation="mirage_lab.tcpip.dhcp",
        args=(net,),
        holes=("NETWORK",),
        keys={"profile": profile} | {name: value for name, value in keys.items() if value is not None},
        targets=("xen",),
        why="a whole stack, whose address comes from DHCP",
        fitting=fitting,
    )
