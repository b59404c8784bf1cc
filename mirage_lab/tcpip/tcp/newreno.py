"""NewReno: how much may be under way (RFC 5681, RFC 6582, limited transmit of RFC 3042).  Sizes in bytes.

slow start          cwnd < ssthresh: + what was acknowledged, at most 2 MSS for each acknowledgment
congestion avoidance               : +1 MSS a round trip; neither while the window is not used (RFC 7661)
fast recovery       3 duplicate ACKs: ssthresh = flight/2, cwnd = ssthresh + 3 MSS; +1 MSS for each duplicate; a partial
                    acknowledgment has the next hole sent; one that reaches `recover` ends it
"""

from __future__ import annotations

from mirage_lab.tcpip.wire.seq import before

__all__ = ["DUPLICATES", "NewReno"]

DUPLICATES = 3
HUGE = 1 << 30


class NewReno:
    """The congestion window of one connection."""

    __slots__ = ("_credit", "cwnd", "duplicates", "mss", "recover", "recovering", "ssthresh")

    def __init__(self, mss: int, segments: int, recover: int) -> None:
        self.mss = mss
        self.cwnd = segments * mss if segments >= 10 else min(4 * mss, max(2 * mss, 4_380))
        self.ssthresh = HUGE
        self.duplicates = 0
        self.recovering = False
        self.recover = recover
        self._credit = 0

    @property
    def phase(self) -> str:
        """`slow start`, `avoidance` or `recovery`."""
        if self.recovering:
            return "recovery"
        return "slow start" if self.cwnd < self.ssthresh else "avoidance"

    @property
    def limited(self) -> int:
        """What limited transmit allows beyond cwnd after the first two duplicates."""
        return 0 if self.recovering else self.duplicates * self.mss

    def acked(self, count: int, ack: int, flight: int) -> bool:
        """`count` new bytes were acknowledged up to `ack`, `flight` are still out; True: send the next hole now."""
        mss = self.mss
        if self.recovering:
            if before(ack, self.recover):
                self.cwnd = max(self.cwnd - count + (mss if count >= mss else 0), mss)
                return True
            self.recovering = False
            self.duplicates = 0
            self.cwnd = min(self.ssthresh, max(flight, mss) + mss)
            return False
        self.duplicates = 0
        used = flight + count
        if self.cwnd < self.ssthresh:
            if 2 * used >= self.cwnd:
                self.cwnd += min(count, 2 * mss)
        elif used + mss >= self.cwnd:
            self._credit += count
            if self._credit >= self.cwnd:
                self._credit -= self.cwnd
                self.cwnd += mss
        return False

    def duplicate(self, una: int, snd_max: int, flight: int) -> bool:
        """A duplicate acknowledgment came; True: retransmit the first hole now."""
        if self.recovering:
            self.cwnd += self.mss
            return False
        self.duplicates += 1
        if self.duplicates < DUPLICATES:
            return False
        if before(una, self.recover):
            self.duplicates = DUPLICATES - 1
            return False
        self.ssthresh = max(flight // 2, 2 * self.mss)
        self.cwnd = self.ssthresh + DUPLICATES * self.mss
        self.recover = snd_max
        self.recovering = True
        return True

    def timeout(self, snd_max: int, flight: int, again: bool) -> None:
        """The retransmission timer ran out (`again`: for the same data): start over with one segment."""
        if not again:
            self.ssthresh = max(flight // 2, 2 * self.mss)
        self.cwnd = self.mss
        self.recover = snd_max
        self.recovering = False
        self.duplicates = 0
        self._credit = 0
