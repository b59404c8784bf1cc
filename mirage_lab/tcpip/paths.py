"""paths: the largest packet that gets to an address, as routers have told (RFC 1191).  Pure and bounded; told the time."""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.units import Ns, seconds

__all__ = ["LEAST", "LIFE", "MOST", "PLATEAUS", "Paths", "plateau"]

MOST: Final = 1_024
LIFE: Final = seconds(600)
"""After ten minutes a path is tried at full size again (RFC 1191 section 6.3)."""
LEAST: Final = 552
"""Less is not believed: no link between us and anybody takes less, and who says so wants us to send crumbs (RFC 5927 section 7)."""
PLATEAUS: Final = (32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68)
"""MTUs that links have (RFC 1191 section 7.1)."""


def plateau(length: int) -> int:
    """Return the MTU to try when a router refused `length` bytes and did not say what it takes: the next plateau below."""
    return next((mtu for mtu in PLATEAUS if mtu < length), PLATEAUS[-1])


class Paths:
    """Path MTUs by destination, the oldest of more than 1,024 goes."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, Ns]] = {}

    def note(self, dst: int, mtu: int, now: Ns) -> None:
        """Remember that no more than `mtu` bytes get to `dst`."""
        self.known.pop(dst, None)
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        self.known[dst] = (mtu, Ns(now + LIFE))

    def mtu(self, dst: int, now: Ns, link: int) -> int:
        """Return what is known of `dst`, never more than the `link` takes; what is too old is forgotten."""
        known = self.known.get(dst)
        if known is None:
            return link
        if known[1] <= now:
            del self.known[dst]
            return link
        return min(known[0], link)
