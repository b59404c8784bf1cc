"""udpv4: UDPV4 on an IPV4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["udpv4"]


def _connect(os: Any, keys: Mapping[str, Any], ip: Any) -> Any:
    from mirage_lab.tcpip.icmp import Icmpv4
    from mirage_lab.tcpip.udp import Udpv4

    return Udpv4(os.queue, ip, Icmpv4(os.queue, ip))


def udpv4(ip: Impl) -> Impl:
    """Return datagrams on `ip`."""
    why = "sends datagrams"
    return Impl("udpv4", "UDPV4", connect=_connect, implementation="mirage_lab.tcpip.udp", args=(ip,), holes=("IPV4",), why=why, fitting=fitting)
