"""Neighbour discovery (RFC 4861 section 4): solicitations and advertisements of neighbours and routers, and their options.

    option      type 1 | length 1 (in 8 bytes, never 0) | ...
    1, 2        the sender's, the target's link-layer address
    3           prefix: length 1, flags 1, valid 4, preferred 4 (seconds), reserved 4, prefix 16
    5           MTU: reserved 2, MTU 4
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.icmpv6 import NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT, ROUTER_ADVERT, ROUTER_SOLICIT, Icmpv6

__all__ = ["FOR_EVER", "Message", "NeighborAdvert", "NeighborSolicit", "Prefix", "RouterAdvert", "RouterSolicit", "decode", "encode"]

FOR_EVER: Final = 0xFFFF_FFFF
SOURCE, TARGET, PREFIX, MTU = 1, 2, 3, 5
_PREFIX = struct.Struct(">BBBBIII16s")
_TIMES = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a router says of a prefix: on this link, addresses may be made of it, and for how many seconds."""

    address: int
    length: int
    on_link: bool = True
    autonomous: bool = True
    valid: int = 2_592_000
    preferred: int = 604_800


@dataclass(frozen=True, slots=True)
class NeighborSolicit:
    """Who has `target`?  `mac` of who asks, None when it has no address yet."""

    target: int
    mac: bytes | None = None


@dataclass(frozen=True, slots=True)
class NeighborAdvert:
    """`target` is at `mac`."""

    target: int
    mac: bytes | None = None
    router: bool = False
    solicited: bool = False
    override: bool = True


@dataclass(frozen=True, slots=True)
class RouterSolicit:
    """Which routers are here?"""

    mac: bytes | None = None


@dataclass(frozen=True, slots=True)
class RouterAdvert:
    """A router is here, a default one for `lifetime` seconds; times in ms, 0: not said."""

    lifetime: int
    mac: bytes | None = None
    mtu: int | None = None
    prefixes: tuple[Prefix, ...] = ()
    hops: int = 64
    managed: bool = False
    other: bool = False
    reachable: int = 0
    retransmit: int = 0


Message = NeighborSolicit | NeighborAdvert | RouterSolicit | RouterAdvert


class _Options:
    """The options of a message."""

    __slots__ = ("mtu", "prefixes", "source", "target")

    def __init__(self, data: bytes, at: int) -> None:
        self.source: bytes | None = None
        self.target: bytes | None = None
        self.mtu: int | None = None
        self.prefixes: list[Prefix] = []
        end = len(data)
        while at < end:
            size = data[at + 1] * 8 if at + 1 < end else 0
            if not size or at + size > end:
                raise WireError(f"a neighbour discovery option of {size} bytes where {end - at} are left")
            kind = data[at]
            if kind == SOURCE and size == 8:
                self.source = data[at + 2 : at + 8]
            elif kind == TARGET and size == 8:
                self.target = data[at + 2 : at + 8]
            elif kind == MTU and size == 8:
                self.mtu = int.from_bytes(data[at + 4 : at + 8], "big")
            elif kind == PREFIX and size == 32:
                _, _, length, flags, valid, preferred, _, address = _PREFIX.unpack_from(data, at)
                if length > 128:
                    raise WireError(f"a prefix of {length} bits")
                self.prefixes.append(Prefix(int.from_bytes(address, "big"), length, bool(flags & 0x80), bool(flags & 0x40), valid, preferred))
            at += size


def decode(message: Icmpv6) -> Message:
    """Read a message of neighbour discovery; raises WireError, also for what RFC 4861 wants discarded."""
    data, rest = message.data, message.rest
    if message.code:
        raise WireError(f"neighbour discovery with code {message.code}")
    if message.type == ROUTER_SOLICIT:
        return RouterSolicit(_Options(data, 0).source)
    if message.type == ROUTER_ADVERT:
        if len(data) < 8:
            raise WireError(f"a router advertisement of {len(data) + 8} bytes")
        found = _Options(data, 8)
        return RouterAdvert(
            rest & 0xFFFF, found.source, found.mtu, tuple(found.prefixes), rest >> 24, bool(rest & 0x80_0000), bool(rest & 0x40_0000), *_TIMES.unpack_from(data)
        )
    if message.type not in (NEIGHBOR_SOLICIT, NEIGHBOR_ADVERT):
        raise WireError(f"ICMPv6 type {message.type} is not neighbour discovery")
    if len(data) < 16 or data[0] == 0xFF:
        raise WireError("neighbour discovery without a target, or of a group")
    target, found = int.from_bytes(data[:16], "big"), _Options(data, 16)
    if message.type == NEIGHBOR_SOLICIT:
        return NeighborSolicit(target, found.source)
    return NeighborAdvert(target, found.target, bool(rest >> 31), bool(rest >> 30 & 1), bool(rest >> 29 & 1))


def _mac(kind: int, mac: bytes | None) -> bytes:
    return b"" if mac is None else bytes((kind, 1)) + mac


def encode(said: Message) -> Icmpv6:
    """Return the ICMPv6 message."""
    match said:
        case NeighborSolicit():
            return Icmpv6(NEIGHBOR_SOLICIT, 0, 0, said.target.to_bytes(16, "big") + _mac(SOURCE, said.mac))
        case NeighborAdvert():
            flags = said.router << 31 | said.solicited << 30 | said.override << 29
            return Icmpv6(NEIGHBOR_ADVERT, 0, flags, said.target.to_bytes(16, "big") + _mac(TARGET, said.mac))
        case RouterSolicit():
            return Icmpv6(ROUTER_SOLICIT, 0, 0, _mac(SOURCE, said.mac))
        case RouterAdvert():
            rest = said.hops << 24 | said.managed << 23 | said.other << 22 | said.lifetime
            data = _TIMES.pack(said.reachable, said.retransmit) + _mac(SOURCE, said.mac)
            if said.mtu is not None:
                data += bytes((MTU, 1, 0, 0)) + said.mtu.to_bytes(4, "big")
            for prefix in said.prefixes:
                flags = prefix.on_link << 7 | prefix.autonomous << 6
                data += _PREFIX.pack(PREFIX, 4, prefix.length, flags, prefix.valid, prefix.preferred, 0, prefix.address.to_bytes(16, "big"))
            return Icmpv6(ROUTER_ADVERT, 0, rest, data)
