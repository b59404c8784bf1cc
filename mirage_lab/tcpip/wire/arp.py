"""ARP for IPv4 over Ethernet (RFC 826).

    htype 2 | ptype 2 | hlen 1 | plen 1 | oper 2 | sha 6 | spa 4 | tha 6 | tpa 4
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mirage_lab.tcpip.wire.error import WireError

__all__ = ["REPLY", "REQUEST", "Arp", "decode", "encode"]

REQUEST = 1
REPLY = 2
_LAYOUT = struct.Struct(">HHBBH6sI6sI")


@dataclass(frozen=True, slots=True)
class Arp:
    """`op`, sender's MAC and IP, target's MAC and IP (IPs as numbers)."""

    op: int
    sha: bytes
    spa: int
    tha: bytes
    tpa: int


def decode(buf: bytes, offset: int = 0) -> Arp:
    """Read an ARP packet; what follows it is padding.  Raises WireError."""
    if len(buf) - offset < _LAYOUT.size:
        raise WireError(f"an ARP packet of {len(buf) - offset} bytes; it has {_LAYOUT.size}")
    htype, ptype, hlen, plen, op, sha, spa, tha, tpa = _LAYOUT.unpack_from(buf, offset)
    if (htype, ptype, hlen, plen) != (1, 0x0800, 6, 4):
        raise WireError(f"ARP for hardware {htype}, protocol {ptype:#06x}: only Ethernet and IPv4 are spoken here")
    if op not in (REQUEST, REPLY):
        raise WireError(f"ARP operation {op}: only 1 (request) and 2 (reply) are known")
    return Arp(op, sha, spa, tha, tpa)


def encode(packet: Arp) -> bytes:
    """Return the 28 bytes."""
    return _LAYOUT.pack(1, 0x0800, 6, 4, packet.op, packet.sha, packet.spa, packet.tha, packet.tpa)
