"""tcpv4: TCPV4 on an IPV4, and direct_stackv4: STACKV4 put together from a UDPV4 and a TCPV4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["direct_stackv4", "tcpv4"]


def _tcp(os: Any, keys: Mapping[str, Any], ip: Any) -> Any:
    from mirage_lab.tcpip.tcp.tcpv4 import TcpV4

    return TcpV4(os.queue, ip, profile=keys.get("profile") or "today", congestion=keys.get("congestion"))


def tcpv4(ip: Impl, *, profile: str | None = None, congestion: str | None = None) -> Impl:
    """Return connections on `ip`; `congestion`: newreno, cubic (today's) or bbr."""
    why = "keeps connections"
    return Impl(
        "tcpv4",
        "TCPV4",
        connect=_tcp,
        implementation="mirage_lab.tcpip.tcp.tcpv4",
        args=(ip,),
        holes=("IPV4",),
        keys={"profile": profile} | ({"congestion": congestion} if congestion else {}),
        why=why,
        fitting=fitting,
    )


def _stack(os: Any, keys: Mapping[str, Any], udp: Any, tcp: Any) -> Any:
    from mirage_lab.tcpip.stack import Stack

    return Stack.of(udp, tcp)


def direct_stackv4(udp: Impl, tcp: Impl) -> Impl:
    """Return the stack of `udp` and `tcp`, which were built on one IPV4."""
    why = "one stack of the layers you put together"
    return Impl(
        "direct_stackv4",
        "STACKV4",
        connect=_stack,
        implementation="mirage_lab.tcpip.stack",
        args=(udp, tcp),
        holes=("UDPV4", "TCPV4"),
        why=why,
        fitting=fitting,
    )
