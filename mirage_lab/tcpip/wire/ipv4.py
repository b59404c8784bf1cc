"""IPv4 headers (RFC 791).

    ver/ihl 1 | tos 1 | total length 2 | id 2 | flags/fragment 2 | ttl 1 | proto 1 | checksum 2 | src 4 | dst 4 | options
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mirage_lab.tcpip.wire.checksum import checksum, valid
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["DF", "HEADER", "ICMP", "MF", "TCP", "UDP", "Header", "decode", "encode"]

HEADER = 20
ICMP = 1
TCP = 6
UDP = 17
DF = 0x4000
MF = 0x2000
OFFSET = 0x1FFF
LAYOUT = struct.Struct(">BBHHHBBHII")


@dataclass(frozen=True, slots=True)
class Header:
    """A header: addresses as numbers, `fragment` with its flags (DF, MF) and offset, `length` of header and payload."""

    src: int
    dst: int
    proto: int
    length: int
    ident: int = 0
    fragment: int = DF
    ttl: int = 64
    tos: int = 0
    options: bytes = b""

    @property
    def header_length(self) -> int:
        """Bytes of the header."""
        return HEADER + len(self.options)


def decode(buf: bytes, offset: int = 0) -> Header:
    """Read and check a header: version, lengths, checksum.  Raises WireError."""
    room = len(buf) - offset
    if room < HEADER:
        raise WireError(f"an IPv4 packet of {room} bytes; the header alone has {HEADER}")
    first, tos, length, ident, fragment, ttl, proto, _, src, dst = LAYOUT.unpack_from(buf, offset)
    size = (first & 15) * 4
    if first >> 4 != 4:
        raise WireError(f"IP version {first >> 4} where 4 was announced")
    if size < HEADER or size > room:
        raise WireError(f"an IPv4 header of {size} bytes in a packet of {room}")
    if length < size or length > room:
        raise WireError(f"an IPv4 packet that says it has {length} bytes; {room} arrived, the header has {size}")
    if not valid(buf[offset : offset + size]):
        raise WireError("IPv4 header checksum wrong")
    return Header(src, dst, proto, length, ident, fragment, ttl, tos, buf[offset + HEADER : offset + size])


def encode(header: Header) -> bytes:
    """Return the header with its checksum."""
    first = 0x40 | header.header_length // 4
    fields = [first, header.tos, header.length, header.ident, header.fragment, header.ttl, header.proto, 0, header.src, header.dst]
    blank = LAYOUT.pack(*fields) + header.options
    return blank[:10] + checksum(blank).to_bytes(2, "big") + blank[12:]
