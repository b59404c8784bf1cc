"""ICMP (RFC 792): echo, and the errors that hosts and routers tell.

    type 1 | code 1 | checksum 2 | echo: id 2, sequence 2 / errors: unused 4 | data

A parameter problem has its pointer in the first unused byte, "fragmentation needed" the MTU in the last two (RFC 1191).
"""

from __future__ import annotations

from dataclasses import dataclass

from mirage_lab.tcpip.wire.checksum import checksum, valid
from mirage_lab.tcpip.wire.error import WireError

__all__ = [
    "ECHO_REPLY", "ECHO_REQUEST", "ERRORS", "FRAGMENTATION_NEEDED", "NET_UNREACHABLE", "PARAMETER_PROBLEM", "PORT_UNREACHABLE",
    "PROTOCOL_UNREACHABLE", "REDIRECT", "SOURCE_QUENCH", "TIME_EXCEEDED", "UNREACHABLE", "Icmp", "decode", "encode",
]  # fmt: skip

ECHO_REPLY = 0
UNREACHABLE = 3
SOURCE_QUENCH = 4
REDIRECT = 5
ECHO_REQUEST = 8
TIME_EXCEEDED = 11
PARAMETER_PROBLEM = 12
ERRORS = frozenset({UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM})
NET_UNREACHABLE = 0
PROTOCOL_UNREACHABLE = 2
PORT_UNREACHABLE = 3
FRAGMENTATION_NEEDED = 4
HEADER = 8


@dataclass(frozen=True, slots=True)
class Icmp:
    """A message: for echo `rest` is id * 65536 + sequence; for errors `data` quotes the packet."""

    type: int
    code: int
    rest: int
    data: bytes


def decode(buf: bytes) -> Icmp:
    """Read and check a message; raises WireError."""
    if len(buf) < HEADER:
        raise WireError(f"an ICMP message of {len(buf)} bytes; the header alone has {HEADER}")
    if not valid(buf):
        raise WireError("ICMP checksum wrong")
    return Icmp(buf[0], buf[1], int.from_bytes(buf[4:8], "big"), buf[8:])


def encode(message: Icmp) -> bytes:
    """Return the message with its checksum."""
    rest = message.rest.to_bytes(4, "big") + message.data
    kind = bytes((message.type, message.code))
    return kind + checksum(kind + b"\0\0" + rest).to_bytes(2, "big") + rest
