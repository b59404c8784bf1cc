"""places: where the layers of a frame lie, so that a field can be read straight from the bytes.

A place is (at, shown, end, role): the layer begins at `at`; of its header the fields within `shown` bytes can be read; its
data ends at `end`; `role` is WHOLE, FIRST (the first fragment of a datagram) or QUOTED (in an ICMP error).  A layer may
have several places: the IP header of an ICMP error, and the one it quotes.  Nothing here raises, whatever the bytes are.

What is shown of headers that lie or end early is what Wireshark 4.0 shows.  Not followed: VLAN tags, 802.3 lengths,
the extensions of ICMP errors (RFC 4884).
"""

from __future__ import annotations

from typing import Final

__all__ = ["ARP", "ETH", "FIRST", "ICMP", "ICMP6", "IP", "IP6", "QUOTED", "TCP", "UDP", "WHOLE", "Place", "Seen"]

Place = tuple[int, int, int, int]

ETH: Final = 0
ARP: Final = 1
IP: Final = 2
ICMP: Final = 3
TCP: Final = 4
UDP: Final = 5
IP6: Final = 6
ICMP6: Final = 7

WHOLE: Final = 0
FIRST: Final = 1
QUOTED: Final = 2

_NONE: Final[tuple[Place, ...]] = ()
_QUOTING: Final = frozenset({3, 4, 5, 11, 12})
"""ICMP types whose message quotes a datagram: unreachable, source quench, redirect, time exceeded, parameter problem."""

_REDIRECT: Final = 5
_EXTENSIONS: Final = frozenset({0, 43, 44, 60})


class Seen:
    """A frame in the hands of a filter: number, time since the first (ns), bytes, its `places` by layer.

    `flow` is (stream, seq, ack) of a segment, where a filter follows connections (`streams`).
    """

    __slots__ = ("flow", "frame", "n", "places", "t_ns")

    def __init__(self, n: int, t_ns: int, frame: bytes) -> None:
        self.n = n
        self.t_ns = t_ns
        self.frame = frame
        self.flow: tuple[int, int, int] | None = None
        self.places: list[tuple[Place, ...]] = [_NONE] * 8
        size = len(frame)
        if size < 14:
            return
        self.places[ETH] = ((0, size, size, WHOLE),)
        kind = frame[12] << 8 | frame[13]
        if kind == 0x0800:
            self._ipv4(14, size)
        elif kind == 0x86DD:
            self._ipv6(14, size, WHOLE)
        elif kind == 0x0806 and size >= 16:
            self.places[ARP] = ((14, size - 14, size, WHOLE),)

    def _ipv4(self, at: int, limit: int) -> None:
        """Find a datagram at `at`, and those that ICMP errors quote inside it."""
        frame, places = self.frame, self.places
        role = WHOLE
        while at < limit:
            have = limit - at
            size = (frame[at] & 15) * 4
            if frame[at] >> 4 != 4 or size < 20:
                places[IP] += ((at, 1, limit, role),)
                return
            end = limit
            if have >= 4:
                total = frame[at + 2] << 8 | frame[at + 3]
                if 0 < total < size:
                    places[IP] += ((at, min(have, 4), limit, role),)
                    return
                if size <= total < have:
                    end = at + total
            places[IP] += ((at, have, end, role),)
            if have < size or frame[at + 6] & 0x1F or frame[at + 7]:
                return
            if role == WHOLE and frame[at + 6] & 0x20:
                role = FIRST
            proto = frame[at + 9]
            at += size
            have = end - at
            if proto == 6:
                if have >= 4:
                    bogus = have >= 16 and frame[at + 12] < 0x50
                    places[TCP] += ((at, 4 if bogus else have, end, role),)
                return
            if proto == 17:
                if have >= 4:
                    bogus = have >= 6 and not frame[at + 4] and frame[at + 5] < 8
                    places[UDP] += ((at, 6 if bogus else have, end, role),)
                return
            if proto != 1 or have < 6:
                return
            places[ICMP] += ((at, have, end, role),)
            if frame[at] not in _QUOTING:
                return
            at, limit, role, short = at + 8, end, QUOTED, frame[at] == _REDIRECT
            if short and at < limit:  # of a redirect, as RFC 792 says, the header and eight bytes
                limit = min(limit, at + (frame[at] & 15) * 4 + 8)

    def _ipv6(self, at: int, limit: int, role: int) -> None:
        """Find a packet at `at`, and the one that an ICMPv6 error quotes inside it; at most eight extension headers are passed."""
        frame, places = self.frame, self.places
        while at < limit:
            have = limit - at
            if frame[at] >> 4 != 6:
                places[IP6] += ((at, 1, limit, role),)
                return
            if have < 40:
                places[IP6] += ((at, have, limit, role),)
                return
            end = min(limit, at + 40 + (frame[at + 4] << 8 | frame[at + 5]))
            places[IP6] += ((at, have, end, role),)
            proto = frame[at + 6]
            at += 40
            for _ in range(8):
                if proto not in _EXTENSIONS or at + 8 > end:
                    break
                if proto == 44:
                    if frame[at + 2] or frame[at + 3] & 0xF8:
                        return
                    if role == WHOLE and frame[at + 3] & 1:
                        role = FIRST
                proto, at = frame[at], at + (8 if proto == 44 else 8 + 8 * frame[at + 1])
            have = end - at
            if proto == 6 and have >= 4:
                bogus = have >= 16 and frame[at + 12] < 0x50
                places[TCP] += ((at, 4 if bogus else have, end, role),)
            elif proto == 17 and have >= 4:
                bogus = have >= 6 and not frame[at + 4] and frame[at + 5] < 8
                places[UDP] += ((at, 6 if bogus else have, end, role),)
            if proto != 58 or have < 4:
                return
            places[ICMP6] += ((at, have, end, role),)
            if not 1 <= frame[at] <= 4:
                return
            at, limit, role = at + 8, end, QUOTED
