"""PRR: proportional rate reduction (RFC 9937, before it RFC 6937): how a window shrinks within one round trip.

For each byte that arrives, ssthresh / RecoverFS bytes may be sent, so that sending never stops and never bursts; when less
is under way than ssthresh, slow start back up to it, or what arrived, byte by byte, while more losses show.
"""

from __future__ import annotations

__all__ = ["Prr"]


class Prr:
    """The counters of one episode: bytes `delivered` and sent (`out`) in it, `flight` when it began."""

    __slots__ = ("delivered", "flight", "out")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, flight: int) -> None:
        """Enter recovery with `flight` bytes under way."""
        self.flight = max(flight, 1)
        self.delivered = self.out = 0

    def window(self, delivered: int, pipe: int, ssthresh: int, mss: int, progress: bool) -> int:
        """Return cwnd after an acknowledgment for `delivered` more bytes; `progress`: it showed no further loss (section 6.2)."""
        self.delivered += delivered
        if pipe > ssthresh:
            count = -(-self.delivered * ssthresh // self.flight) - self.out
        else:
            count = max(self.delivered - self.out, delivered)
            if progress:
                count += mss
            count = min(count, ssthresh - pipe)
        if not self.out:
            count = max(count, mss)  # the first retransmission is never held back
        return pipe + max(count, 0)
