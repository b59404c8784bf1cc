"""ICMPv6 (RFC 4443): errors, echo, and the messages of neighbour discovery (`nd`).

    type 1 | code 1 | checksum 2 (with the pseudo header) | four bytes of the type | data
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirage_lab.tcpip.wire.checksum import checksum, pseudo_v6, valid
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.ipv6 import ICMPV6

__all__ = [
    "ECHO_REPLY", "ECHO_REQUEST", "HEADER", "NAMES", "NEIGHBOR_ADVERT", "NEIGHBOR_SOLICIT", "PARAMETER_PROBLEM", "PORT_UNREACHABLE", "REDIRECT",
    "ROUTER_ADVERT", "ROUTER_SOLICIT", "TIME_EXCEEDED", "TOO_BIG", "UNREACHABLE", "UNREACHABLES", "Icmpv6", "decode", "encode",
]  # fmt: skip

HEADER = 8
UNREACHABLE = 1
TOO_BIG = 2
TIME_EXCEEDED = 3
PARAMETER_PROBLEM = 4
ECHO_REQUEST = 128
ECHO_REPLY = 129
ROUTER_SOLICIT = 133
ROUTER_ADVERT = 134
NEIGHBOR_SOLICIT = 135
NEIGHBOR_ADVERT = 136
REDIRECT = 137
PORT_UNREACHABLE = 4

NAMES: Final = {
    UNREACHABLE: "destination unreachable",
    TOO_BIG: "packet too big",
    TIME_EXCEEDED: "time exceeded",
    PARAMETER_PROBLEM: "parameter problem",
    ECHO_REQUEST: "echo request",
    ECHO_REPLY: "echo reply",
    ROUTER_SOLICIT: "router solicitation",
    ROUTER_ADVERT: "router advertisement",
    NEIGHBOR_SOLICIT: "neighbor solicitation",
    NEIGHBOR_ADVERT: "neighbor advertisement",
    REDIRECT: "redirect",
}
UNREACHABLES: Final = {0: "no route", 1: "prohibited", 2: "beyond scope", 3: "address", 4: "port", 5: "source policy", 6: "route refused"}


@dataclass(frozen=True, slots=True)
class Icmpv6:
    """A message: for echo `rest` is id * 65536 + sequence, for too big the MTU, for parameter problem the pointer."""

    type: int
    code: int
    rest: int
    data: bytes

    @property
    def is_error(self) -> bool:
        """True for the messages that are never answered with an error."""
        return self.type < 128


def decode(buf: bytes, src: int, dst: int) -> Icmpv6:
    """Read and check a message from `src` to `dst`; raises WireError."""
    if len(buf) < HEADER:
        raise WireError(f"an ICMPv6 message of {len(buf)} bytes; the header alone has {HEADER}")
    if not valid(buf, pseudo_v6(src, dst, ICMPV6, len(buf))):
        raise WireError("ICMPv6 checksum wrong")
    return Icmpv6(buf[0], buf[1], int.from_bytes(buf[4:8], "big"), buf[8:])


def encode(message: Icmpv6, src: int, dst: int) -> bytes:
    """Return the message with its checksum."""
    rest = message.rest.to_bytes(4, "big") + message.data
    kind = bytes((message.type, message.code))
    return kind + checksum(kind + b"\0\0" + rest, pseudo_v6(src, dst, ICMPV6, 4 + len(rest))).to_bytes(2, "big") + rest
