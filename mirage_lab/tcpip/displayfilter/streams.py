"""streams: the connections of a capture, numbered as they begin, and what their sequence numbers are counted from.

What one frame alone does not tell: `tcp.stream`, and `tcp.seq` and `tcp.ack` as Wireshark shows them, relative to the
first number of their direction.  A SYN counts from itself; of a connection whose beginning was not captured, the first
segment has number 1.  A SYN with another number on the same ports begins another connection.  At most `LIMIT`
connections are remembered; segments of later ones have none of these fields.
"""

from __future__ import annotations

from typing import Final

from mirage_lab.tcpip.displayfilter.places import IP, IP6, TCP, WHOLE, Seen
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, SYN

__all__ = ["LIMIT", "Streams"]

LIMIT: Final = 100_000
"""Connections that are remembered."""


class _Way:
    """One direction of a connection: the connection's number, and the sequence number it counts from, None before it is known."""

    __slots__ = ("base", "stream")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.base: int | None = None


class Streams:
    """The connections seen so far; frames are learned from once, in the order of their numbers."""

    __slots__ = ("_count", "_last", "_ways")

    def __init__(self) -> None:
        self._ways: dict[bytes, _Way] = {}
        self._count = 0
        self._last = 0

    def look(self, seen: Seen) -> None:
        """Tell `seen.flow` of a segment: (stream, seq, ack)."""
        new = seen.n > self._last
        if new:
            self._last = seen.n
        for at, _, end, role in seen.places[TCP]:
            if end - at < 16:
                continue
            frame = seen.frame
            seq, ack = int.from_bytes(frame[at + 4 : at + 8], "big"), int.from_bytes(frame[at + 8 : at + 12], "big")
            flags = frame[at + 13]
            if seen.places[IP]:
                ip = seen.places[IP][-1][0]
                src, dst = frame[ip + 12 : ip + 16], frame[ip + 16 : ip + 20]
            else:
                ip = seen.places[IP6][-1][0]
                src, dst = frame[ip + 8 : ip + 24], frame[ip + 24 : ip + 40]
            ports = frame[at : at + 4]
            there, back = src + dst + ports, dst + src + ports[2:] + ports[:2]
            way = self._ways.get(there)
            if new and (way is None or (flags & (SYN | ACK) == SYN and way.base not in (None, seq))):
                way = self._begin(there, back)
            if way is None:
                continue
            other = self._ways[back]
            cut = role != WHOLE or (frame[at + 12] >> 4) * 4 > end - at
            if new:
                if flags & (SYN | ACK) == SYN | ACK and way.base is not None:
                    way.base = seq
                if not cut and way.base is None:
                    way.base = seq if flags & SYN else (seq - 1) & MASK
                if not cut and other.base is None and flags & ACK:
                    other.base = (ack - 1) & MASK
            if cut:
                seen.flow = (way.stream, seq, ack)  # not all of it is there: numbers as sent
            else:
                seen.flow = (way.stream, (seq - (way.base or 0)) & MASK, (ack - (other.base or 0)) & MASK if flags & ACK else ack)

    def _begin(self, there: bytes, back: bytes) -> _Way | None:
        if self._count >= LIMIT:
            return self._ways.get(there)
        way = self._ways[there] = _Way(self._count)
        self._ways[back] = way if back == there else _Way(self._count)
        self._count += 1
        return way
