"""SYN cookies (RFC 4987 section 3.6): when too many connections are half open, remember the next in the SYN-ACK itself.

    our first sequence number      time 5 bits │ MSS 3 │ 24 bits of a keyed hash of addresses, ports, their number and time
    our timestamp, if they have    milliseconds, but the last 6 bits: ECN 1 │ SACK 1 │ window scale 4 (15: none)

Whoever answers with the number + 1 has received it; the acknowledgment brings everything back.  Without timestamps only
the MSS survives.  A cookie is good for 64 to 128 s.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import Options

__all__ = ["LIFE", "Cookies"]

PERIOD: Final = seconds(64)
LIFE: Final = seconds(128)
SIZES: Final = (216, 536, 1_200, 1_300, 1_400, 1_440, 1_452, 1_460)
NO_SCALE: Final = 15


class Cookies:
    """Makes and checks cookies with one secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, ends: bytes, irs: int, offered: Options, now: Ns) -> int:
        """Return the sequence number to begin with; `ends`: both addresses and ports."""
        mss = offered.mss or 536
        size = max([index for index, each in enumerate(SIZES) if each <= mss], default=0)
        time = now // PERIOD
        return (time & 31) << 27 | size << 24 | self._hash(ends, irs, time, size)

    def stamp(self, clock: int, offered: Options, ecn: bool) -> int:
        """Return our timestamp, not after `clock`, with what the peer offered in its last bits."""
        scale = NO_SCALE if offered.wscale is None else offered.wscale
        marked = (clock & ~63) | ecn << 5 | offered.sack_ok << 4 | scale
        return marked if marked <= clock else (marked - 64) & MASK

    def check(self, ends: bytes, irs: int, cookie: int, echo: int | None, now: Ns) -> tuple[Options, bool] | None:
        """Return what the peer had offered, and whether ECN, if `cookie` is one of ours and young enough."""
        time, size = now // PERIOD, cookie >> 24 & 7
        for made in (time, time - 1):
            if made >= 0 and cookie == (made & 31) << 27 | size << 24 | self._hash(ends, irs, made, size):
                break
        else:
            return None
        offered = Options(mss=SIZES[size])
        if echo is None:
            return offered, False
        offered.wscale = None if echo & 15 == NO_SCALE else echo & 15
        offered.sack_ok = bool(echo >> 4 & 1)
        return offered, bool(echo >> 5 & 1)

    def _hash(self, ends: bytes, irs: int, time: int, size: int) -> int:
        text = ends + irs.to_bytes(4, "big") + time.to_bytes(8, "big") + bytes((size,))
        return int.from_bytes(hashlib.blake2s(text, key=self._secret, person=b"cookie", digest_size=3).digest(), "big")
