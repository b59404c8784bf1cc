"""CUBIC (RFC 9438): the window grows with the cube of the time since the last loss, the same for long and short round trips.

    cwnd        W_max ┄┄┄┄┄┄┄┄┄┄┄╭───────┄┄┄╮
                            ╭────╯           ╰──   W(t) = C (t - K)^3 + W_max,  K = cbrt((W_max - cwnd at t=0) / C)
                      ╭─────╯   concave: back to where it was; then convex: further
                  ────╯

beta 0.7, C 0.4 segments/s^3.  Where Reno would have the larger window (short round trips), that one is taken (section 4.3);
after two losses in a row below W_max, W_max is lowered (fast convergence, 4.7).  Slow start is left early when round trips
grow (HyStart++, RFC 9406).  All in integers, milliseconds and bytes: the same window on every machine.
"""

from __future__ import annotations

from typing import ClassVar, Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.hystart import HyStart
from mirage_lab.tcpip.tcp.newreno import NewReno
from mirage_lab.tcpip.tcp.scoreboard import Sample

__all__ = ["Cubic", "cube_root"]

MS: Final = 1_000_000
BETA: Final = (7, 10)
ALPHA: Final = (9, 17)
"""3 (1 - beta) / (1 + beta)."""


def cube_root(value: int) -> int:
    """Return the largest n with n^3 <= value."""
    if value <= 0:
        return 0
    root = 1 << -(-value.bit_length() // 3)
    while True:
        lower = (2 * root + value // (root * root)) // 3
        if lower >= root:
            return root
        root = lower


class Cubic(NewReno):
    """The congestion window of one connection."""

    name: ClassVar[str] = "cubic"

    __slots__ = ("_epoch", "_est", "_est_credit", "_hystart", "_k", "_last", "_origin", "_prior", "_srtt", "_undo", "w_max")

    def __init__(self, mss: int, segments: int, chance: int = 0) -> None:
        super().__init__(mss, segments)
        self.w_max = 0
        self._prior = 0
        self._epoch = -1
        self._origin = self._k = self._est = self._est_credit = self._srtt = self._last = 0
        self._hystart = HyStart()
        self._undo = (0, 0)

    def on_ack(self, told: Sample) -> None:
        """Grow by the cube of time."""
        if told.rtt > 0:
            self._srtt = told.rtt
        if self.cwnd < self.ssthresh:
            if 2 * told.flight >= self.cwnd:
                share = self._hystart.on_ack(told)
                self.cwnd += min(told.acked, 2 * self.mss) // share
                if self._hystart.done:
                    self.ssthresh = self.cwnd
            return
        now = int(told.now)
        if told.flight + self.mss < self.cwnd:
            if self._epoch >= 0:
                self._epoch += now - self._last  # time in which the window was not used does not count (section 5.8)
            self._last = now
            return
        self._last = now
        self._avoid(told.acked, now)

    def _avoid(self, acked: int, now: int) -> None:
        mss, cwnd = self.mss, self.cwnd
        if self._epoch < 0:
            self._epoch = now
            self._est, self._est_credit = cwnd, 0
            self._origin = max(self.w_max, cwnd)
            self._k = cube_root((self._origin - cwnd) * 10**10 // (4 * mss))
        beyond = (now + self._srtt - self._epoch) // MS - self._k
        target = self._origin + beyond * beyond * beyond * 4 * mss // 10**10
        target = max(cwnd, min(target, cwnd + cwnd // 2))
        up, down = ALPHA if self._est < self._prior else (1, 1)
        self._est_credit += acked * mss * up
        grown = self._est_credit // (cwnd * down)
        self._est_credit -= grown * cwnd * down
        self._est += grown
        reno = (now - self._epoch) // MS - self._k
        if self._origin + reno * reno * reno * 4 * mss // 10**10 < self._est:
            self.cwnd = max(cwnd, self._est)
            return
        self._credit += (target - cwnd) * acked
        self.cwnd += self._credit // cwnd
        self._credit %= cwnd

    def on_loss(self, flight: int, now: Ns) -> None:
        """Remember where the window was, and shrink to seven tenths."""
        self._before = (self.cwnd, self.ssthresh)
        self._undo = (self.w_max, self._prior)
        cwnd = self._prior = self.cwnd
        self.w_max = cwnd * 17 // 20 if cwnd < self.w_max else cwnd
        self.ssthresh = max(flight * BETA[0] // BETA[1], 2 * self.mss)
        self._epoch = -1
        self._credit = 0

    def on_rto(self, flight: int, now: Ns, again: bool) -> None:
        """Start over; the first round after a timeout is slow start, without a memory of round trips."""
        super().on_rto(flight, now, again)
        self._epoch = -1
        self._hystart = HyStart()

    def on_undo(self, now: Ns) -> None:
        """What looked like a loss was none (section 4.9)."""
        super().on_undo(now)
        self.w_max, self._prior = self._undo
        self._epoch = -1
