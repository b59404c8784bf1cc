"""IPv4 headers (RFC 791).

    ver/ihl 1 | tos 1 | total length 2 | id 2 | flags/fragment 2 | ttl 1 | proto 1 | checksum 2 | src 4 | dst 4 | options
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from mirage_lab.tcpip.wire.checksum import checksum, valid
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["DF", "HEADER", "ICMP", "MF", "OFFSET", "TCP", "UDP", "Header", "cut", "decode", "encode"]

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


def cut(packet: bytes, mtu: int) -> list[bytes]:
    """Return the fragments of a packet, or of a fragment, that fit `mtu` bytes each (RFC 791 section 3.2).

    Options whose copied flag is set go into each, all into the first.  Raises WireError if not even 8 bytes fit.
    """
    header = decode(packet)
    rest = replace(header, options=_copied(header.options))
    at, end = header.header_length, header.length
    if mtu < at + 8:
        raise WireError(f"an MTU of {mtu} has no room for the header of {at} bytes and 8 more")
    offset = header.fragment & OFFSET
    pieces = []
    now = header
    while at < end:
        size = mtu - now.header_length & ~7
        piece = packet[at : min(at + size, end)]
        more = MF if at + size < end else header.fragment & MF
        pieces.append(encode(replace(now, length=now.header_length + len(piece), fragment=more | offset)) + piece)
        at += len(piece)
        offset += len(piece) >> 3
        now = rest
    return pieces


def _copied(options: bytes) -> bytes:
    """Return the options that every fragment has, padded to four bytes; what cannot be read is left out."""
    kept = bytearray()
    at = 0
    while at < len(options) and options[at]:
        size = 1 if options[at] == 1 else options[at + 1] if at + 1 < len(options) else 0
        if not size or size < 2 - (options[at] == 1) or at + size > len(options):
            break
        if options[at] & 0x80:
            kept += options[at : at + size]
        at += size
    return bytes(kept) + bytes(-len(kept) % 4)
