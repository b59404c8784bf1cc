"""routes: which way a packet goes: prefixes with gateways, the longest that matches wins (RFC 1122 section 3.3.1, RFC 1812 section 5.2.4.3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire.address import ip_int, ip_text, network

__all__ = ["Route", "Routes", "parse_route"]

MOST: Final = 1_024
ALL: Final = 0xFFFF_FFFF


class Route(NamedTuple):
    """A prefix and the next hop to it; no gateway means that its stations are on the link."""

    prefix: int
    network: int
    mask: int
    gateway: int | None

    def __str__(self) -> str:
        to = "default" if not self.prefix else f"{ip_text(self.network)}/{self.prefix}"
        return f"{to} via {ip_text(self.gateway)}" if self.gateway is not None else f"{to} on the link"


def parse_route(text: str) -> Route:
    """Return the route of `10.1.0.0/16 via 10.0.0.9` or `default via 10.0.0.1`; raises LocalProtocolError."""
    to, via, gateway = text.partition(" via ")
    if not via:
        raise LocalProtocolError(f"{text!r} is not a route; one looks like 10.1.0.0/16 via 10.0.0.9")
    address, prefix = (0, 0) if to.strip() == "default" else network(to.strip() if "/" in to else f"{to.strip()}/32")
    mask = ALL << 32 - prefix & ALL
    if address & ~mask:
        raise LocalProtocolError(f"{text!r}: {ip_text(address)} has bits beyond /{prefix}; the prefix is {ip_text(address & mask)}/{prefix}")
    return Route(prefix, address, mask, ip_int(gateway.strip()))


class Routes:
    """The routes of one interface that were added by hand, longest prefix first."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def add(self, route: Route) -> None:
        """Add a route; one with the same prefix is replaced.  Raises LocalProtocolError when there are 1,024."""
        self.remove(route)
        if len(self.table) >= MOST:
            raise LocalProtocolError(f"no more than {MOST} routes")
        self.table.append(route)
        self.table.sort(key=lambda one: (-one.prefix, one.network))

    def remove(self, route: Route) -> None:
        """Forget the route to that prefix."""
        self.table = [one for one in self.table if (one.prefix, one.network) != (route.prefix, route.network)]

    def match(self, dst: int) -> Route | None:
        """Return the longest prefix that `dst` has."""
        for route in self.table:
            if dst & route.mask == route.network:
                return route
        return None
