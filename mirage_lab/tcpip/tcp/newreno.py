"""NewReno: how much may be under way (RFC 5681, RFC 6582).  Sizes in bytes.

slow start          cwnd < ssthresh: + what was acknowledged, at most 2 MSS for each acknowledgment (RFC 3465)
congestion avoidance               : +1 MSS a round trip; neither while the window is not used (RFC 7661)
a loss              ssthresh = flight/2; how cwnd gets there, and what is sent meanwhile, is `recovery`'s
a timeout           ssthresh = flight/2, cwnd = 1 MSS
"""

from __future__ import annotations

from typing import ClassVar

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.scoreboard import Sample

__all__ = ["HUGE", "NewReno"]

HUGE = 1 << 30


class NewReno:
    """The congestion window of one connection."""

    name: ClassVar[str] = "newreno"
    models: ClassVar[bool] = False
    pacing_rate: ClassVar[int | None] = None

    __slots__ = ("_before", "_credit", "cwnd", "mss", "ssthresh")

    def __init__(self, mss: int, segments: int, chance: int = 0) -> None:
        """Begin with a window of `segments`, of at most 14,600 bytes when that is ten (RFC 6928)."""
        self.mss = mss
        self.cwnd = segments * mss
        self.ssthresh = HUGE
        self._before = (self.cwnd, self.ssthresh)
        self._credit = 0

    @property
    def phase(self) -> str:
        """`slow start` or `avoidance`."""
        return "slow start" if self.cwnd < self.ssthresh else "avoidance"

    def on_ack(self, told: Sample) -> None:
        """Grow by what was acknowledged."""
        if self.cwnd < self.ssthresh:
            if 2 * told.flight >= self.cwnd:
                self.cwnd += min(told.acked, 2 * self.mss)
        elif told.flight + self.mss >= self.cwnd:
            self._credit += told.acked
            if self._credit >= self.cwnd:
                self._credit -= self.cwnd
                self.cwnd += self.mss

    def on_loss(self, flight: int, now: Ns) -> None:
        """A loss or a mark of congestion: say to where the window is to shrink."""
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(flight // 2, 2 * self.mss)

    def on_recovered(self, now: Ns) -> None:
        """The losses are mended."""
        self.cwnd = self.ssthresh
        self._credit = 0

    def on_rto(self, flight: int, now: Ns, again: bool) -> None:
        """The retransmission timer ran out (`again`: for the same data): start over with one segment."""
        if not again:
            self.on_loss(flight, now)
        self.cwnd = self.mss
        self._credit = 0

    def on_undo(self, now: Ns) -> None:
        """What looked like a loss was none (RFC 4015)."""
        cwnd, self.ssthresh = self._before
        self.cwnd = max(self.cwnd, cwnd)

    def on_idle(self, restart: int) -> None:
        """Nothing was sent for longer than a timeout: no more than `restart` bytes at once now (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, restart)
