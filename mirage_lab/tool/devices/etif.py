"""etif: ETHIF on a NETWORK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["etif"]


def _connect(os: Any, keys: Mapping[str, Any], net: Any) -> Any:
    from mirage_lab.tcpip.ethif import Ethif

    return Ethif(os.queue, net)


def etif(net: Impl) -> Impl:
    """Return Ethernet on the interface `net`."""
    why = "sorts frames by EtherType"
    return Impl("etif", "ETHIF", connect=_connect, implementation="mirage_lab.tcpip.ethif", args=(net,), holes=("NETWORK",), why=why, fitting=fitting)
