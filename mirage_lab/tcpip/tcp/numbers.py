"""Initial sequence numbers and timestamps that a stranger cannot guess (RFC 6528, RFC 7323 section 5.4).

    ISN = M + F(local address, local port, remote address, remote port, secret)        M: a clock in steps of 4 us

The secret is drawn from the world's chance.  In 2014 there were sixteen random bits: 0x1AFE.... for connections that were
accepted, 0x1BCD.... for those that were opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.wire.seq import HALF, MASK

__all__ = ["Numbers"]

STEP: Final = 4_000
BEYOND: Final = 65_537
"""How far a connection that takes the place of one in TIME_WAIT begins beyond it (RFC 6191)."""


class Numbers:
    """Where connections of one stack begin; `draw(n)` returns a number below n."""

    __slots__ = ("_draw", "_kind", "_secret")

    def __init__(self, secret: bytes, kind: str, draw: Callable[[int], int]) -> None:
        self._secret = secret
        self._kind = kind
        self._draw = draw

    def isn(self, ends: bytes, passive: bool, now: Ns, beyond: int | None = None) -> int:
        """Return the first number of the connection between `ends` (both addresses and ports), after `beyond` if given."""
        if self._kind == "2014":
            return (0x1AFE_0000 if passive else 0x1BCD_0000) + self._draw(65_535)
        first = (now // STEP + self._hash(b"isn", ends)) & MASK
        if beyond is not None and (first - beyond) & MASK >= HALF:
            first = (beyond + BEYOND) & MASK
        return first

    def stamp_offset(self, addresses: bytes) -> int:
        """Return where timestamps begin, the same for all connections between two addresses, so that they only grow."""
        return self._hash(b"stamp", addresses)

    def _hash(self, what: bytes, of: bytes) -> int:
        return int.from_bytes(hashlib.blake2s(of, key=self._secret, person=what, digest_size=4).digest(), "big")
