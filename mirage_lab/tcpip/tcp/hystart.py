"""HyStart++ (RFC 9406): leave slow start when round trips grow, before the queue on the way overflows.

A round whose smallest round trip is larger than the last round's by an eighth (4 to 16 ms) begins conservative slow start:
a quarter of the growth for at most five rounds; if round trips shrink again it was a false alarm.
"""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.units import ms
from mirage_lab.tcpip.tcp.scoreboard import NEVER, Sample

__all__ = ["HyStart"]

LEAST: Final = ms(4)
MOST: Final = ms(16)
SAMPLES: Final = 8
ROUNDS: Final = 5
DIVISOR: Final = 4


class HyStart:
    """Round trips of this round and the last; `done`: slow start is over."""

    __slots__ = ("_baseline", "_conservative", "_count", "_ends", "_last", "_least", "done")

    def __init__(self) -> None:
        self._last = self._least = NEVER
        self._count = 0
        self._ends = 0
        self._conservative = 0
        self._baseline = NEVER
        self.done = False

    def on_ack(self, told: Sample) -> int:
        """Take a round trip; return by what to divide the growth of the window."""
        if told.prior >= self._ends:
            self._ends = told.delivered
            self._last, self._least, self._count = self._least, NEVER, 0
            if self._conservative:
                self._conservative += 1
                self.done = self._conservative > ROUNDS
        if told.rtt > 0:
            self._least = min(self._least, told.rtt)
            self._count += 1
        if self._count >= SAMPLES and self._least < NEVER and self._last < NEVER:
            if not self._conservative:
                if self._least >= self._last + max(LEAST, min(self._last // 8, MOST)):
                    self._conservative, self._baseline = 1, self._least
            elif self._least < self._baseline:
                self._conservative, self._baseline = 0, NEVER
        return DIVISOR if self._conservative else 1
