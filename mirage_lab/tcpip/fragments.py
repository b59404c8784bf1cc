"""fragments: packets put together again from their fragments (RFC 791 section 3.2, RFC 8200 section 4.5).

An overlap discards all (RFC 5722); exact duplicates do no harm.  A pure engine: told the time, it returns whole packets, and
those whose time is over.  Bounded: 64 packets at a time and 1 MiB in all, the oldest goes; 128 pieces of one.  `key` is
whatever tells packets apart, so both families use it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from typing import Final

from mirage_lab.signatures.units import Ns, seconds

__all__ = ["LIFE", "LONGEST", "Reassembly"]

LIFE: Final = seconds(60)
"""How long a packet waits for the rest of it (RFC 8200 section 4.5)."""
PACKETS: Final = 64
PIECES: Final = 128
LONGEST: Final = 65_535
MEMORY: Final = 1 << 20


class _Partial:
    """A packet in pieces: (offset, bytes) in order; `first` is the packet that brought the beginning."""

    __slots__ = ("first", "held", "pieces", "spoilt", "total", "until")

    def __init__(self, until: Ns) -> None:
        self.until = until
        self.pieces: list[tuple[int, bytes]] = []
        self.held = 0
        self.total: int | None = None
        self.first = b""
        self.spoilt = False


class Reassembly:
    """The packets of one interface that are not whole yet."""

    def __init__(self, life: Ns = LIFE, longest: int = LONGEST) -> None:
        """`life`: how long one waits; `longest`: bytes that one may have without its header."""
        self.life = life
        self.longest = longest
        self.evicted = 0
        """Packets given up to make room for others."""
        self._partial: dict[Hashable, _Partial] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._partial)

    @property
    def held(self) -> int:
        """Bytes of fragments."""
        return self._held

    def add(self, key: Hashable, offset: int, more: bool, data: bytes, now: Ns, packet: bytes = b"") -> bytes | str:
        """Take a fragment and return the whole if it completes it, else what became of it.

        "kept"; "duplicate"; or a reason to drop: "overlap" and "too many" (the rest of the packet goes too, until its
        time is over), "too long", "odd length".
        """
        if more and (len(data) & 7 or not data):
            return "odd length"
        if offset + len(data) > self.longest:
            return "too long"
        found = self._partial.get(key)
        if found is None:
            if len(self._partial) >= PACKETS:
                self._evict()
            found = self._partial[key] = _Partial(Ns(now + self.life))
        if found.spoilt:
            return "overlap"
        end = offset + len(data)
        at = bisect_left(found.pieces, (offset,))
        if at < len(found.pieces) and found.pieces[at] == (offset, data):
            return "duplicate"
        before = found.pieces[at - 1] if at else (0, b"")
        after = found.pieces[at][0] if at < len(found.pieces) else LONGEST + 1
        beyond = found.total is not None and (end > found.total or (not more and end != found.total))
        ends_early = not more and bool(found.pieces) and found.pieces[-1][0] + len(found.pieces[-1][1]) > end
        if before[0] + len(before[1]) > offset or end > after or beyond or ends_early:
            self._spoil(found)
            return "overlap"
        if len(found.pieces) >= PIECES:
            self._spoil(found)
            return "too many"
        found.pieces.insert(at, (offset, data))
        found.held += len(data)
        self._held += len(data)
        if not offset:
            found.first = packet
        if not more:
            found.total = end
        if found.held != found.total:
            while self._held > MEMORY:
                self._evict()
            return "kept"
        self._drop(key)
        return b"".join(piece for _, piece in found.pieces)

    def _spoil(self, found: _Partial) -> None:
        self._held -= found.held
        found.held = 0
        found.pieces.clear()
        found.first = b""
        found.spoilt = True

    def _evict(self) -> None:
        self.evicted += 1
        self._drop(next(iter(self._partial)))

    def _drop(self, key: Hashable) -> _Partial:
        found = self._partial.pop(key)
        self._held -= found.held
        return found

    def next_deadline(self) -> Ns | None:
        """Return when the oldest is to be given up."""
        return next(iter(self._partial.values())).until if self._partial else None

    def expire(self, now: Ns) -> list[bytes]:
        """Give up what is too old; return for each whose beginning had come the packet that brought it, b"" for others."""
        told = []
        while self._partial and next(iter(self._partial.values())).until <= now:
            told.append(self._drop(next(iter(self._partial))).first)
        return told
