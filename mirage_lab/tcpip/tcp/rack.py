"""RACK-TLP (RFC 8985): a segment is lost when one sent later has arrived and a reordering window has passed since.

Reordering window: 0 while no reordering was ever seen and three segments have been SACKed, or in recovery; otherwise a
quarter of the smallest round trip, more for each round trip in which a duplicate came to the peer (section 6.2, step 4).

TLP: when the end of what was sent stays unacknowledged for two round trips, the last segment (or a new one) is sent as a
probe; its acknowledgment tells what is missing before the retransmission timer would (section 7).
"""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tcpip.tcp.scoreboard import NEVER, Scoreboard

__all__ = ["DUPLICATES", "Rack"]

DUPLICATES: Final = 3
PERSIST: Final = 16
DELAYED: Final = ms(200)
"""How long a peer may delay the acknowledgment of a lone segment (WCDelAckT)."""
FLOOR: Final = ms(1)


class Rack:
    """The newest segment that has arrived, the reordering window, and the probe that is under way."""

    __slots__ = ("multiplier", "order", "persist", "probe", "probe_again", "round", "rtt")

    def __init__(self) -> None:
        self.order = self.rtt = 0
        self.multiplier = 1
        self.persist = PERSIST
        self.round = -1
        self.probe = -1
        self.probe_again = False

    def duplicate(self, board: Scoreboard) -> None:
        """A D-SACK: something was sent again needlessly; wait longer (step 4), once a round trip."""
        if board.una >= self.round:
            self.round = board.nxt
            self.multiplier = min(self.multiplier + 1, 64)
            self.persist = PERSIST

    def recovered(self) -> None:
        """A recovery has ended; the longer wait is forgotten after 16 of them."""
        self.persist -= 1
        if self.persist <= 0:
            self.multiplier = 1

    def window(self, board: Scoreboard, srtt: int, recovering: bool) -> int:
        """Return the reordering window, ns."""
        if not board.reordered and (recovering or board.sacks >= DUPLICATES):
            return 0
        return min(self.multiplier * min(board.min_rtt, srtt) // 4, srtt)

    def find(self, board: Scoreboard, srtt: int, recovering: bool, now: Ns) -> int:
        """Step 5: mark what is lost; return after how many ns to look again, 0 for not at all."""
        wait = self.rtt + self.window(board, srtt, recovering)
        again = 0
        for record in board.records:
            if record.sacked or record.due or record.order >= self.order:
                continue
            left = record.at + wait - now
            if left <= 0:
                board.lose(record)
            elif left > again:
                again = left
        return again

    def patience(self, board: Scoreboard, srtt: int, lone: bool) -> int:
        """Return how long to wait for the tail before probing, ns; NEVER while a probe is out or RACK is at work (section 7.2)."""
        if self.probe >= 0 or not srtt or board.sacked or board.due:
            return NEVER
        return max(2 * srtt, FLOOR) + (DELAYED if lone else 0)

    def probed(self, board: Scoreboard, again: bool) -> None:
        """A probe goes out, `again` if with data sent before."""
        self.probe, self.probe_again = board.nxt, again

    def repaired(self, ack: int, duplicate: bool, plain: bool) -> bool:
        """True if this acknowledgment shows that the probe mended a loss (section 7.4); `duplicate`: with a D-SACK, `plain`: with no news."""
        if self.probe < 0 or ack < self.probe:
            return False
        mended = self.probe_again and not duplicate and ack > self.probe
        if not self.probe_again or duplicate or plain or ack > self.probe:
            self.probe = -1
        return mended
