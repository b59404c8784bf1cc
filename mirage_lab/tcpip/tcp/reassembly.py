"""Reassembly: data that came before its turn, kept until the hole is filled, and what SACK tells of it.  Bounded."""

from __future__ import annotations

from mirage_lab.tcpip.wire.seq import HALF, MASK

__all__ = ["PIECES", "Reassembly"]

PIECES = 512
BLOCKS = 16


class Reassembly:
    """Pieces beyond `rcv_nxt`, sorted, without overlaps.

    What is already held wins over what comes later: a peer cannot rewrite bytes by sending them again.  `blocks`: the
    ranges held, as pairs of sequence numbers, the one that grew last first (RFC 2018 section 4); at most 16 are remembered.
    """

    __slots__ = ("_pieces", "blocks", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.blocks: list[tuple[int, int]] = []
        self._pieces: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._pieces)

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self.blocks.clear()
        self.size = 0

    def add(self, rcv_nxt: int, seq: int, data: bytes) -> bool:
        """Keep `data` at `seq` (at or after `rcv_nxt`, at most `limit` bytes on); False when there is no room."""
        start = (seq - rcv_nxt) & MASK
        if start >= HALF:
            raise ValueError(f"data at {seq} lies before {rcv_nxt}: it is old, not early")
        if len(self._pieces) >= PIECES or start + len(data) > self.limit:
            return False
        last_seq, last = self._pieces[-1] if self._pieces else (rcv_nxt, b"")
        if start >= ((last_seq - rcv_nxt) & MASK) + len(last):
            self._pieces.append((seq, data))
            self.size += len(data)
        else:
            self._insert(rcv_nxt, start, data)
        self._remember(rcv_nxt, start)
        return True

    def _insert(self, rcv_nxt: int, at: int, rest: bytes) -> None:
        """Keep what of `rest` fits between the pieces."""
        kept: list[tuple[int, bytes]] = []
        for piece_seq, piece in self._pieces:
            begin = (piece_seq - rcv_nxt) & MASK
            end = begin + len(piece)
            if rest and at < begin:
                room = begin - at
                kept.append(((rcv_nxt + at) & MASK, rest[:room]))
                rest, at = rest[room:], at + min(room, len(rest))
            if rest and at < end:
                skip = end - at
                rest, at = rest[skip:], end
            kept.append((piece_seq, piece))
        if rest:
            kept.append(((rcv_nxt + at) & MASK, rest))
        self._pieces = kept
        self.size = sum(len(piece) for _, piece in kept)

    def _remember(self, rcv_nxt: int, start: int) -> None:
        """The range with `start` is news: first in the next SACK."""
        left = right = -1
        for seq, piece in self._pieces:
            begin = (seq - rcv_nxt) & MASK
            if begin != right:
                if left <= start < right:
                    break
                left = begin
            right = begin + len(piece)
        if not left <= start < right:
            return
        grown = ((rcv_nxt + left) & MASK, (rcv_nxt + right) & MASK)
        others = [block for block in self.blocks if not left <= (block[0] - rcv_nxt) & MASK < right]
        self.blocks = [grown, *others[: BLOCKS - 1]]

    def take(self, rcv_nxt: int) -> bytes:
        """Return and forget what continues at `rcv_nxt`."""
        found = []
        pieces = self._pieces
        while pieces:
            seq, piece = pieces[0]
            skip = (rcv_nxt - seq) & MASK
            if skip >= HALF:
                break
            pieces.pop(0)
            self.size -= len(piece)
            if skip < len(piece):
                found.append(piece[skip:] if skip else piece)
                rcv_nxt = (rcv_nxt + len(piece) - skip) & MASK
        self.blocks = [block for block in self.blocks if 0 < (block[0] - rcv_nxt) & MASK < HALF]
        return b"".join(found)
