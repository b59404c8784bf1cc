"""UDP (RFC 768): source port, destination port, length, checksum; a computed 0 is sent as 0xffff, 0 means none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from mirage_lab.tcpip.wire.checksum import checksum, pseudo_v4, valid
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["HEADER", "Datagram", "decode", "encode"]

HEADER = 8
PROTO = 17
_LAYOUT = struct.Struct(">HHHH")


@dataclass(frozen=True, slots=True)
class Datagram:
    """Ports and data."""

    src_port: int
    dst_port: int
    data: bytes


Pseudo = Callable[[int, int, int, int], int]


def decode(buf: bytes, src: int, dst: int, pseudo: Pseudo = pseudo_v4) -> Datagram:
    """Read and check a datagram from `src` to `dst`; `pseudo`: of which IP.  Raises WireError.

    Over IPv6 a datagram without a checksum is none (RFC 8200 section 8.1).
    """
    if len(buf) < HEADER:
        raise WireError(f"a UDP datagram of {len(buf)} bytes; the header alone has {HEADER}")
    src_port, dst_port, length, check = _LAYOUT.unpack_from(buf)
    if not HEADER <= length <= len(buf):
        raise WireError(f"a UDP datagram that says it has {length} bytes; {len(buf)} arrived")
    if not check and pseudo is not pseudo_v4:
        raise WireError("a UDP datagram without a checksum over IPv6")
    if check and not valid(buf[:length], pseudo(src, dst, PROTO, length)):
        raise WireError("UDP checksum wrong")
    return Datagram(src_port, dst_port, buf[HEADER:length])


def encode(datagram: Datagram, src: int, dst: int, pseudo: Pseudo = pseudo_v4) -> bytes:
    """Return the datagram with its checksum."""
    length = HEADER + len(datagram.data)
    blank = _LAYOUT.pack(datagram.src_port, datagram.dst_port, length, 0) + datagram.data
    check = checksum(blank, pseudo(src, dst, PROTO, length)) or 0xFFFF
    return blank[:6] + check.to_bytes(2, "big") + datagram.data
