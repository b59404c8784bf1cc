"""direct_stackv4v6: STACKV4V6: our own layers of both families on a NETWORK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["direct_stackv4v6"]


async def _connect(os: Any, keys: Mapping[str, Any], net: Any) -> Any:
    from mirage_lab.tcpip.stack46 import Stack46

    profile = keys.get("profile") or "today"
    addresses: dict[str, Any] = {name: keys.get(name) for name in ("gateway", "address6", "gateway6", "congestion")}
    stack = Stack46(os.queue, net, address=keys["address"], stable=bool(keys.get("stable")), profile=profile, **addresses)
    await stack.ipv6.ready()
    return stack


def direct_stackv4v6(
    net: Impl,
    *,
    address: str = "10.0.0.2/24",
    gateway: str | None = "10.0.0.1",
    address6: str | None = None,
    gateway6: str | None = None,
    stable: bool = False,
    profile: str | None = None,
    congestion: str | None = None,
) -> Impl:
    """Return a stack of both families on `net`; connecting waits until its IPv6 addresses are known to be its own.

    Besides `address6` ("2001:db8::2/64") there is the link-local one, and one of each prefix that a router announces:
    `lab.lan("br0", ipv6="fd00:1::/64")` has such a router.  `stable`: identifiers that are made up (RFC 7217), not the MAC's.
    """
    keys = {"address6": address6, "gateway6": gateway6, "stable": stable or None, "congestion": congestion}
    return Impl(
        "direct_stackv4v6",
        "STACKV4V6",
        connect=_connect,
        implementation="mirage_lab.tcpip.stack46",
        args=(net,),
        holes=("NETWORK",),
        keys={"address": address, "gateway": gateway, "profile": profile} | {name: value for name, value in keys.items() if value is not None},
        targets=("xen",),
        why="a whole stack, IPv4 and IPv6, down to the frame",
        fitting=fitting,
    )
