"""catalogue: which devices there are of each module type, for the messages that say what would fit."""

from __future__ import annotations

from typing import Final

__all__ = ["CATALOGUE", "SELDOM", "fitting"]

CATALOGUE: Final[dict[str, tuple[str, ...]]] = {
    "CONSOLE": ("default_console",),
    "TIME": ("default_time",),
    "CLOCK": ("default_clock",),
    "RANDOM": ("default_random",),
    "NETWORK": ("netif",),
    "ETHIF": ("etif",),
    "ARP": ("arp",),
    "IPV4": ("ipv4",),
    "UDPV4": ("udpv4",),
    "TCPV4": ("tcpv4",),
    "STACKV4": (
        "direct_stackv4_with_static_ipv4", "direct_stackv4_with_default_ipv4", "direct_stackv4_with_dhcp", "direct_stackv4", "socket_stackv4", "router",
    ),
    "DNS": ("dns_resolver",),
    "DNS_SERVER": ("dns_server",),
    "STACKV4V6": ("direct_stackv4v6",),
    "HTTP": ("http_server",),
    "KV_RO": ("crunch",),
    "BLOCK": ("block", "block_of_file", "ramdisk"),
}  # fmt: skip

SELDOM: Final = frozenset({"DNS", "DNS_SERVER", "HTTP", "STACKV4V6"})
"""Module types that a plan does not name as left out: few unikernels have them."""


def fitting(module_type: str) -> tuple[str, ...]:
    """Return the names of the devices of a module type."""
    return CATALOGUE.get(module_type, ())
