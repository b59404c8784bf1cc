"""segments: the heads of captured frames, read fast: who sent it to whom, and of TCP every number a plot may need.

`tcpip.dissect` takes a frame apart for people, field by field; here 100,000 frames take half a second.  Checksums are not
looked at (a network card may fill them in after the capture), and a packet cut short by a snap length counts with the
length its IP header gives, so foreign captures are read as well as ours.  IPv4 and IPv6, with or without 802.1Q tags; a
fragment has no ports.  What cannot be read is a frame between two MAC addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from mirage_lab.tcpip.wire.address import ip_text, mac_text
from mirage_lab.tracing.capture import DELIVERED

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "TCP", "UDP", "Head", "Segment", "heads", "host_of", "segments"]

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
TCP: Final = 6
UDP: Final = 17
_TAGS: Final = (0x8100, 0x88A8)
_EXTENSIONS: Final = (0, 43, 60)
"""Hop-by-hop options, routing, destination options (RFC 8200 section 4)."""
_ARP: Final = bytes.fromhex("0001 0800 06 04")
_TCP = struct.Struct(">HHIIBBH")
_EDGES = struct.Struct(">II")


class Head:
    """A frame: number, time (ns), `size` on the wire (bytes), lost; `src` and `dst` are IP addresses (of ARP, those it asks for), else
    MAC addresses.

    `proto` is IP's (None without IP), ports are 0 where there are none, `at` and `end` are where what IP carries lies.
    """

    __slots__ = ("at", "data", "dport", "dst", "end", "lost", "n", "proto", "size", "sport", "src", "t")

    def __init__(self, n: int, t: int, data: bytes, lost: bool) -> None:
        self.n = n
        self.t = t
        self.data = data
        self.lost = lost
        self.size = self.at = self.end = len(data)
        self.src = self.dst = ""
        self.proto: int | None = None
        self.sport = self.dport = 0


class Segment:
    """A TCP segment between two ends ("10.0.0.2:80"): frame, numbers, `length` of its data, and what its options say."""

    __slots__ = ("ack", "at", "data", "dst", "flags", "length", "lost", "mss", "n", "sack", "scale", "seq", "size", "src", "stamps", "t", "window")

    def __init__(self, head: Head, src: str, dst: str) -> None:
        self.n, self.t, self.lost, self.size, self.data = head.n, head.t, head.lost, head.size, head.data
        self.src, self.dst = src, dst
        _, _, self.seq, self.ack, offset, self.flags, self.window = _TCP.unpack_from(head.data, head.at)
        start = offset >> 4 << 2
        self.at = head.at + start
        self.length = max(0, head.end - self.at)
        self.mss: int | None = None
        self.scale: int | None = None
        self.sack: tuple[tuple[int, int], ...] = ()
        self.stamps: tuple[int, int] | None = None
        if start > 20:
            self._options(head.data[head.at + 20 : self.at])

    @property
    def payload(self) -> bytes:
        """The data, as far as it was captured."""
        return self.data[self.at : self.at + self.length]

    def _options(self, raw: bytes) -> None:
        at, end = 0, len(raw)
        while at < end and raw[at]:
            kind = raw[at]
            if kind == 1:
                at += 1
                continue
            size = raw[at + 1] if at + 1 < end else 0
            if size < 2 or at + size > end:
                return
            if kind == 2 and size == 4:
                self.mss = raw[at + 2] << 8 | raw[at + 3]
            elif kind == 3 and size == 3:
                self.scale = min(raw[at + 2], 14)
            elif kind == 5 and size & 7 == 2:
                self.sack = tuple(_EDGES.iter_unpack(raw[at + 2 : at + size]))
            elif kind == 8 and size == 10:
                self.stamps = _EDGES.unpack_from(raw, at + 2)
            at += size


def heads(capture: Capture) -> Iterator[Head]:
    """Return the frames of a capture, oldest first."""
    addresses: dict[bytes, str] = {}
    for frame in capture.frames:
        head = Head(frame.n, frame.t, frame.data, frame.fate != DELIVERED and bool(frame.lost))
        _read(head, addresses)
        yield head


def segments(capture: Capture) -> list[Segment]:
    """Return the TCP segments of a capture, oldest first."""
    found = []
    ends: dict[tuple[str, int], str] = {}
    for head in heads(capture):
        if head.proto != TCP or not head.sport or len(head.data) < head.at + 20:
            continue
        there, back = (head.src, head.sport), (head.dst, head.dport)
        src = ends.get(there) or ends.setdefault(there, _end(*there))
        dst = ends.get(back) or ends.setdefault(back, _end(*back))
        found.append(Segment(head, src, dst))
    return found


def host_of(end: str) -> str:
    """Return the address of an end: `10.0.0.2` of `10.0.0.2:80`, `fe80::1` of `[fe80::1]:80`."""
    return end.rpartition(":")[0].strip("[]")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _read(head: Head, addresses: dict[bytes, str]) -> None:
    """Fill in who, whom and what."""
    data = head.data
    size, at = len(data), 14
    kind = data[12] << 8 | data[13] if size >= 14 else 0
    while kind in _TAGS and size >= at + 4:
        kind = data[at + 2] << 8 | data[at + 3]
        at += 4
    if kind == 0x0800 and size >= at + 20 and data[at] >> 4 == 4:
        length, fragment = data[at + 2] << 8 | data[at + 3], data[at + 6] << 8 | data[at + 7]
        src, dst, proto = data[at + 12 : at + 16], data[at + 16 : at + 20], data[at + 9]
        start, whole = at + ((data[at] & 15) << 2), not fragment & 0x3FFF
        end = at + length if length else size
    elif kind == 0x86DD and size >= at + 40 and data[at] >> 4 == 6:
        src, dst, proto = data[at + 8 : at + 24], data[at + 24 : at + 40], data[at + 6]
        start, end = at + 40, at + 40 + (data[at + 4] << 8 | data[at + 5])
        while proto in _EXTENSIONS and size >= start + 2:
            proto, start = data[start], start + 8 + 8 * data[start + 1]
        whole = proto != 44
    else:
        head.src, head.dst = _text(data[6:12], addresses), _text(data[:6], addresses)
        if kind == 0x0806 and size >= at + 28 and data[at : at + 6] == _ARP:
            head.src = _text(data[at + 14 : at + 18], addresses) if any(data[at + 14 : at + 18]) else head.src
            head.dst = head.dst if data[0] & 1 else _text(data[at + 24 : at + 28], addresses)
        return
    head.src, head.dst, head.proto = _text(src, addresses), _text(dst, addresses), proto
    head.at, head.end, head.size = start, max(start, end), max(size, end)
    if whole and proto in (TCP, UDP) and size >= start + 4:
        head.sport, head.dport = data[start] << 8 | data[start + 1], data[start + 2] << 8 | data[start + 3]


def _text(address: bytes, known: dict[bytes, str]) -> str:
    found = known.get(address)
    if found is None:
        if len(address) == 4:
            found = ip_text(int.from_bytes(address, "big"))
        elif len(address) == 16:
            found = str(IPv6Address(address))
        else:
            found = mac_text(address) if len(address) == 6 else "?"
        known[address] = found
    return found
