"""IPv6 headers (RFC 8200), and the extension headers between them and what is carried.

    version 4 bits, traffic class 8, flow label 20 | payload length 2 | next header 1 | hop limit 1 | src 16 | dst 16

    hop-by-hop, destination options   next 1 | length 1 (8 bytes each, the first not counted) | options
    routing                           next 1 | length 1 | type 1 | segments left 1 | ...
    fragment                          next 1 | 0 | offset in 8 bytes 13 bits, 0, more 1 | number 4
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mirage_lab.tcpip.wire.error import WireError

__all__ = ["FRAGMENT", "HEADER", "ICMPV6", "MOST", "NONE", "TCP", "UDP", "Header", "Inside", "Problem", "decode", "encode", "fragment_header", "walk"]

HEADER = 40
HOP_BY_HOP = 0
TCP = 6
UDP = 17
ROUTING = 43
FRAGMENT = 44
ICMPV6 = 58
NONE = 59
DESTINATION = 60
MOST = 8
"""Extension headers of one packet that are read; more are refused."""
OPTIONS = 64
"""Options of one extension header that are read."""

_LAYOUT = struct.Struct(">IHBB16s16s")
_FRAGMENT = struct.Struct(">BBHI")


@dataclass(frozen=True, slots=True)
class Header:
    """A header: addresses as numbers, `proto` of the next header, `length` of what follows it."""

    src: int
    dst: int
    proto: int
    length: int
    hops: int = 64
    traffic: int = 0
    flow: int = 0


def decode(buf: bytes, offset: int = 0) -> Header:
    """Read and check a header: version and lengths.  Raises WireError."""
    room = len(buf) - offset
    if room < HEADER:
        raise WireError(f"an IPv6 packet of {room} bytes; the header alone has {HEADER}")
    first, length, proto, hops, src, dst = _LAYOUT.unpack_from(buf, offset)
    if first >> 28 != 6:
        raise WireError(f"IP version {first >> 28} where 6 was announced")
    if HEADER + length > room:
        raise WireError(f"an IPv6 packet that says {length} bytes follow its header; {room - HEADER} arrived")
    return Header(int.from_bytes(src, "big"), int.from_bytes(dst, "big"), proto, length, hops, first >> 20 & 0xFF, first & 0xF_FFFF)


def encode(header: Header) -> bytes:
    """Return the 40 bytes."""
    first = 6 << 28 | header.traffic << 20 | header.flow
    return _LAYOUT.pack(first, header.length, header.proto, header.hops, header.src.to_bytes(16, "big"), header.dst.to_bytes(16, "big"))


def fragment_header(proto: int, offset: int, more: bool, ident: int) -> bytes:
    """Return the eight bytes before a fragment; `offset` in bytes, a multiple of 8."""
    return _FRAGMENT.pack(proto, 0, offset | more, ident)


class Problem(WireError):
    """A header that is to be refused: `code` and `pointer` (bytes from the IPv6 header on) of ICMPv6 parameter problem.

    Without a code (None) nothing is said to the sender; `multicast`: it is said even of a packet to a group.
    """

    def __init__(self, text: str, code: int | None = None, pointer: int = 0, multicast: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.pointer = pointer
        self.multicast = multicast


@dataclass(frozen=True, slots=True)
class Inside:
    """What extension headers lead to: a protocol, where it begins, and where the byte is that names it.

    `fragment` is (offset in bytes, more follow, number) when it is a part of a packet; it ends the walk.
    """

    proto: int
    at: int
    named_at: int
    fragment: tuple[int, bool, int] | None = None


def walk(buf: bytes, proto: int, at: int, end: int, start: int = 0, named_at: int = 6) -> Inside:
    """Follow the extension headers of the packet that begins at `start`, from the one of kind `proto` at `at`.

    At most MOST are read.  Raises Problem, a WireError.
    """
    for number in range(MOST + 1):
        if proto not in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
            return Inside(proto, at, named_at)
        if number == MOST:
            break
        if at + 8 > end:
            raise Problem(f"extension header {proto} with {max(end - at, 0)} bytes; it has at least 8")
        if proto == FRAGMENT:
            proto, _, where, ident = _FRAGMENT.unpack_from(buf, at)
            named_at, at = at - start, at + 8
            if where & 0xFFF9:
                return Inside(proto, at, named_at, (where & 0xFFF8, bool(where & 1), ident))
            continue  # an atomic fragment is a whole packet (RFC 6946)
        size = 8 + 8 * buf[at + 1]
        if at + size > end:
            raise Problem(f"extension header {proto} says it has {size} bytes; {end - at} are left")
        if proto == ROUTING:
            if buf[at + 3]:
                raise Problem(f"routing header of type {buf[at + 2]}: this is not a router (RFC 5095)", 0, at + 2 - start)
        elif proto == HOP_BY_HOP and number:
            raise Problem("a hop-by-hop header that is not the first", 1, named_at)
        else:
            _options(buf, at + 2, at + size, start)
        named_at = at - start
        proto, at = buf[at], at + size
    raise Problem(f"more than {MOST} extension headers")


def _options(buf: bytes, at: int, end: int, start: int) -> None:
    """Check options: of one that is not known the first two bits say what to do (RFC 8200 section 4.2)."""
    for _ in range(OPTIONS):
        if at >= end:
            return
        kind = buf[at]
        if kind == 0:
            at += 1
            continue
        if at + 2 > end or at + 2 + buf[at + 1] > end:
            raise Problem(f"IPv6 option {kind} says it has more bytes than its header", 0, at - start)
        if kind not in (1, 5) and kind >> 6:  # padding, router alert
            code = None if kind >> 6 == 1 else 2
            raise Problem(f"IPv6 option {kind} is not known and may not be passed over", code, at - start, kind >> 6 == 2)
        at += 2 + buf[at + 1]
    if at < end:
        raise Problem(f"more than {OPTIONS} options in one header")
