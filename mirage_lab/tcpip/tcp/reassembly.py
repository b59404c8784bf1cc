"""Reassembly: data that came before its turn, kept until the hole is filled.  Bounded in bytes and pieces."""

from __future__ import annotations

from mirage_lab.tcpip.wire.seq import HALF, MASK

__all__ = ["PIECES", "Reassembly"]

PIECES = 512


class Reassembly:
    """Pieces beyond `rcv_nxt`, sorted, without overlaps.

    What is already held wins over what comes later: a peer cannot rewrite bytes by sending them again.
    """

    __slots__ = ("_pieces", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._pieces: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, rcv_nxt: int, seq: int, data: bytes) -> bool:
        """Keep `data` at `seq` (at or after `rcv_nxt`, at most `limit` bytes on); False when there is no room."""
        start = (seq - rcv_nxt) & MASK
        if start >= HALF:
            raise ValueError(f"data at {seq} lies before {rcv_nxt}: it is old, not early")
        if len(self._pieces) >= PIECES or start + len(data) > self.limit:
            return False
        kept: list[tuple[int, bytes]] = []
        rest, at = data, start
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
        return True

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
        return b"".join(found)
