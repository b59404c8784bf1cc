"""DHCP messages (RFC 2131 section 2) and their options (RFC 2132).

    op 1 | htype 1 | hlen 1 | hops 1 | xid 4 | secs 2 | flags 2 | ciaddr 4 | yiaddr 4 | siaddr 4 | giaddr 4 |
    chaddr 16 | sname 64 | file 128 | cookie 63 82 53 63 | options: code 1, length 1, value ... | end ff

An option that comes in pieces is put together (RFC 3396); options that `file` and `sname` carry (option 52) follow those of
the options field.  Encoding cuts values over 255 bytes in pieces, and uses `file` and `sname` when a limit leaves no other
room.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire.address import ip_text
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["BROADCAST_FLAG", "CLIENT", "COOKIE", "HEADER", "REPLY", "REQUEST", "SERVER", "Message", "Option", "Type", "address", "decode", "encode", "number"]

CLIENT: Final = 68
SERVER: Final = 67
REQUEST: Final = 1
REPLY: Final = 2
COOKIE: Final = b"\x63\x82\x53\x63"
BROADCAST_FLAG: Final = 0x8000
HEADER: Final = 236
SMALLEST: Final = 300
"""Bytes of a BOOTP message (RFC 951); shorter ones are padded, some relays drop them."""
LARGEST: Final = 1_472
OPTIONS: Final = 128
"""Options of one message; more are refused."""

_LAYOUT: Final = struct.Struct(">BBBBIHHIIII16s64s128s")
_FILE: Final = slice(108, 236)
_SNAME: Final = slice(44, 108)


class Option:
    """Codes of options (RFC 2132)."""

    PAD: Final = 0
    MASK: Final = 1
    ROUTER: Final = 3
    DNS: Final = 6
    HOST_NAME: Final = 12
    DOMAIN: Final = 15
    MTU: Final = 26
    BROADCAST: Final = 28
    REQUESTED: Final = 50
    LEASE: Final = 51
    OVERLOAD: Final = 52
    TYPE: Final = 53
    SERVER_ID: Final = 54
    PARAMETERS: Final = 55
    MESSAGE: Final = 56
    MAX_SIZE: Final = 57
    T1: Final = 58
    T2: Final = 59
    CLIENT_ID: Final = 61
    END: Final = 255


class Type:
    """Message types: the values of option 53 (RFC 2132 section 9.6)."""

    DISCOVER: Final = 1
    OFFER: Final = 2
    REQUEST: Final = 3
    DECLINE: Final = 4
    ACK: Final = 5
    NAK: Final = 6
    RELEASE: Final = 7
    INFORM: Final = 8

    NAMES: Final = {1: "Discover", 2: "Offer", 3: "Request", 4: "Decline", 5: "ACK", 6: "NAK", 7: "Release", 8: "Inform"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message; addresses are numbers, `chaddr` the client's hardware address, `options` pairs of code and value, each code once.

    `sname` and `file` are without the zeros they are padded with.
    """

    op: int
    xid: int
    chaddr: bytes
    options: tuple[tuple[int, bytes], ...] = ()
    secs: int = 0
    flags: int = 0
    ciaddr: int = 0
    yiaddr: int = 0
    siaddr: int = 0
    giaddr: int = 0
    hops: int = 0
    htype: int = 1
    sname: bytes = b""
    file: bytes = b""

    def option(self, code: int) -> bytes | None:
        """Return the value of an option, None if it is not there."""
        return next((value for known, value in self.options if known == code), None)

    @property
    def type(self) -> int | None:
        """The message type, None for BOOTP."""
        value = self.option(Option.TYPE)
        return value[0] if value else None

    @property
    def name(self) -> str:
        """`Discover`, `Offer`, ..., or `BOOTP`."""
        return "BOOTP" if self.type is None else Type.NAMES.get(self.type, f"type {self.type}")

    def __repr__(self) -> str:
        return f"<DHCP {self.name} xid={self.xid:#010x} ciaddr={ip_text(self.ciaddr)} yiaddr={ip_text(self.yiaddr)}>"


def address(message: Message, code: int) -> int | None:
    """Return the (first) address an option holds, None if there is none."""
    value = message.option(code)
    return int.from_bytes(value[:4], "big") if value is not None and len(value) >= 4 else None


def number(message: Message, code: int) -> int | None:
    """Return the number an option holds, None if there is none."""
    value = message.option(code)
    return int.from_bytes(value, "big") if value else None


_SIZES: Final = {
    Option.MASK: 4,
    Option.MTU: 2,
    Option.BROADCAST: 4,
    Option.REQUESTED: 4,
    Option.LEASE: 4,
    Option.OVERLOAD: 1,
    Option.TYPE: 1,
    Option.SERVER_ID: 4,
    Option.MAX_SIZE: 2,
    Option.T1: 4,
    Option.T2: 4,
}
"""Options that have one size only."""

_ADDRESSES: Final = frozenset({Option.ROUTER, Option.DNS})
"""Options that are lists of addresses, one at least."""


def decode(buf: bytes) -> Message:
    """Read a message; raises WireError."""
    if len(buf) < HEADER + 4:
        raise WireError(f"a DHCP message of {len(buf)} bytes; header and cookie have {HEADER + 4}")
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file = _LAYOUT.unpack_from(buf)
    if op not in (REQUEST, REPLY):
        raise WireError(f"a DHCP message with op {op}: 1 is a request, 2 a reply")
    if hlen > 16:
        raise WireError(f"a hardware address of {hlen} bytes; there is room for 16")
    if buf[HEADER : HEADER + 4] != COOKIE:
        raise WireError("a BOOTP message without the cookie 63 82 53 63 of its options")
    found: dict[int, bytes] = {}
    _options(buf[HEADER + 4 :], found)
    overload = found.pop(Option.OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        raise WireError(f"DHCP option 52 (overload) says {overload.hex()}: it is 1 (file), 2 (sname) or 3 (both)")
    if overload[0] & 1:
        _options(file, found)
        file = b""
    if overload[0] & 2:
        _options(sname, found)
        sname = b""
    found.pop(Option.OVERLOAD, None)
    for code, value in found.items():
        if len(value) != _SIZES.get(code, len(value)) or (code in _ADDRESSES and (not value or len(value) % 4)):
            raise WireError(f"DHCP option {code} of {len(value)} bytes")
    options = tuple(found.items())
    return Message(
        op, xid, chaddr[:hlen], options, secs, flags, ciaddr, yiaddr, siaddr, giaddr, hops, htype, sname.rstrip(b"\0"), file.rstrip(b"\0")
    )  # fmt: skip


def _options(area: bytes, found: dict[int, bytes]) -> None:
    """Add the options of one field to those found; the end option may be missing where the field ends (RFC 3396 section 7)."""
    at = 0
    while at < len(area):
        code = area[at]
        if code == Option.END:
            return
        if code == Option.PAD:
            at += 1
            continue
        if at + 1 >= len(area) or at + 2 + area[at + 1] > len(area):
            raise WireError(f"DHCP option {code} goes beyond its field")
        length = area[at + 1]
        if code not in found and len(found) >= OPTIONS:
            raise WireError(f"a DHCP message with more than {OPTIONS} options")
        found[code] = found.get(code, b"") + area[at + 2 : at + 2 + length]
        at += 2 + length


def encode(message: Message, limit: int = LARGEST) -> bytes:
    """Return the bytes, at most `limit` of them; raises LocalProtocolError when the options do not fit."""
    pieces = [bytes((code, len(part))) + part for code, value in message.options for part in _cut(value)]
    sname, file = message.sname, message.file
    if len(message.chaddr) > 16 or len(sname) > 64 or len(file) > 128:
        raise LocalProtocolError("a hardware address has 16 bytes at most, sname 64, file 128")
    room = max(limit, SMALLEST) - HEADER - len(COOKIE) - 1
    body = b"".join(pieces)
    if len(body) > room:
        areas = [(room - 3, 0)] + ([(127, 1)] if not file else []) + ([(63, 2)] if not sname else [])
        filled = _spread(pieces, [size for size, _ in areas])
        if filled is None:
            raise LocalProtocolError(f"{len(body)} bytes of DHCP options do not fit a message of {limit} bytes")
        used = 0
        for area, (_, bit) in zip(filled[1:], areas[1:], strict=True):
            if area:
                used |= bit
                if bit == 1:
                    file = area + b"\xff"
                else:
                    sname = area + b"\xff"
        body = bytes((Option.OVERLOAD, 1, used)) + filled[0]
    head = _LAYOUT.pack(
        message.op,
        message.htype,
        len(message.chaddr),
        message.hops,
        message.xid,
        message.secs,
        message.flags,
        message.ciaddr,
        message.yiaddr,
        message.siaddr,
        message.giaddr,
        message.chaddr,
        sname,
        file,
    )
    return (head + COOKIE + body + b"\xff").ljust(SMALLEST, b"\0")


def _cut(value: bytes) -> list[bytes]:
    """Return a value in pieces of 255 bytes (RFC 3396 section 6)."""
    return [value[at : at + 255] for at in range(0, len(value), 255)] or [b""]


def _spread(pieces: list[bytes], sizes: list[int]) -> list[bytes] | None:
    """Put pieces, in order, into fields of these sizes; None when they do not fit.

    The order is kept, because pieces of one option are put together in order of options, file, sname.
    """
    filled = [b""] * len(sizes)
    at = 0
    for piece in pieces:
        while len(filled[at]) + len(piece) > sizes[at]:
            at += 1
            if at == len(sizes):
                return None
        filled[at] += piece
    return filled
