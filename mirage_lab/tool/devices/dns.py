"""dns_resolver and dns_server: DNS and DNS_SERVER on a STACKV4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

__all__ = ["dns_resolver", "dns_server"]


def _resolver(os: Any, keys: Mapping[str, Any], stack: Any) -> Any:
    from mirage_lab.tcpip.dns import DnsResolver

    return DnsResolver(stack, keys["nameserver"] or (), roots=keys["roots"] or ())


def dns_resolver(stack: Impl, *, nameserver: str | Sequence[str] | None = None, roots: Sequence[str] | None = None) -> Impl:
    """Return names by asking `nameserver` (one address or several), or from the root servers at `roots` down.

    With neither it asks the servers that DHCP told.
    """
    servers = (nameserver,) if isinstance(nameserver, str) else tuple(nameserver or ())
    return Impl(
        "dns_resolver",
        "DNS",
        connect=_resolver,
        implementation="mirage_lab.tcpip.dns",
        args=(stack,),
        holes=("STACKV4",),
        keys={"nameserver": servers or None, "roots": tuple(roots) if roots else None},
        targets=("xen",),
        why="addresses of names",
        fitting=fitting,
    )


def _server(os: Any, keys: Mapping[str, Any], stack: Any) -> Any:
    from mirage_lab.tcpip.dns import DnsServer

    server = DnsServer(stack)
    for zone in keys["zones"] or ():
        server.load_zone(zone)
    return server


def dns_server(stack: Impl, *, zones: Sequence[str] = ()) -> Impl:
    """Return a name server on UDP and TCP port 53, with the zones of these zone files ($ORIGIN says which they are).

    More of them: `server.load_zone(text)` in the unikernel.  Raises LocalProtocolError for a zone that cannot be read.
    """
    from mirage_lab.tcpip.dns import Zone

    for zone in zones:
        Zone.of(zone)
    return Impl(
        "dns_server",
        "DNS_SERVER",
        connect=_server,
        implementation="mirage_lab.tcpip.dns",
        args=(stack,),
        holes=("STACKV4",),
        keys={"zones": tuple(zones) or None},
        targets=("xen",),
        why="answers for zones",
        fitting=fitting,
    )
