"""places: where the layers of a frame lie, so that a field can be read straight from the bytes.

A place is (at, shown, end, quoted): the layer begins at `at`; of its header the fields within `shown` bytes can be read;
its data ends at `end`; `quoted` says that an ICMP error quotes it.  A layer may have several places: the IP header of an
ICMP error, and the one it quotes.  Nothing here raises, whatever the bytes are.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ARP", "ETH", "ICMP", "IP", "TCP", "UDP", "Place", "Seen"]

Place = tuple[int, int, int, bool]

ETH: Final = 0
ARP: Final = 1
IP: Final = 2
ICMP: Final = 3
TCP: Final = 4
UDP: Final = 5

_NONE: Final[tuple[Place, ...]] = ()
_QUOTING: Final = frozenset({3, 4, 5, 11, 12})
"""ICMP types whose message quotes a datagram: unreachable, source quench, redirect, time exceeded, parameter problem."""


class Seen:
    """A frame in the hands of a filter: number, time since the first (ns), bytes, and its `places` by layer."""

    __slots__ = ("frame", "n", "places", "t_ns")

    def __init__(self, n: int, t_ns: int, frame: bytes) -> None:
        self.n = n
        self.t_ns = t_ns
        self.frame = frame
        self.places: list[tuple[Place, ...]] = [_NONE, _NONE, _NONE, _NONE, _NONE, _NONE]
        size = len(frame)
        if size < 14:
            return
        self.places[ETH] = ((0, size, size, False),)
        kind = frame[12] << 8 | frame[13]
        if kind == 0x0800:
            self._ipv4(14, size)
        elif kind == 0x0806 and size >= 16:
            self.places[ARP] = ((14, size - 14, size, False),)

    def _ipv4(self, at: int, limit: int) -> None:
        """Find a datagram at `at`, and those that ICMP errors quote inside it."""
        frame, places = self.frame, self.places
        quoted = False
        while at < limit:
            have = limit - at
            size = (frame[at] & 15) * 4
            if frame[at] >> 4 != 4 or size < 20:
                places[IP] += ((at, 1, limit, quoted),)
                return
            end = limit
            if have >= 4:
                total = frame[at + 2] << 8 | frame[at + 3]
                if 0 < total < size:
                    places[IP] += ((at, min(have, 4), limit, quoted),)
                    return
                if size <= total < have:
                    end = at + total
            places[IP] += ((at, have, end, quoted),)
            if have < size or frame[at + 6] & 0x1F or frame[at + 7]:
                return
            proto = frame[at + 9]
            at += size
            have = end - at
            if proto == 6:
                if have >= 4:
                    bogus = have >= 16 and frame[at + 12] < 0x50
                    places[TCP] += ((at, 4 if bogus else have, end, quoted),)
                return
            if proto == 17:
                if have >= 4:
                    places[UDP] += ((at, have, end, quoted),)
                return
            if proto != 1 or have < 6:
                return
            places[ICMP] += ((at, have, end, quoted),)
            if frame[at] not in _QUOTING:
                return
            at, limit, quoted = at + 8, end, True
