"""BBR version 1: send at the rate of the bottleneck, with one round trip under way (draft-cardwell-iccrg-bbr-congestion-control-00).

    BtlBw    the largest delivery rate of the last ten round trips          pacing rate = pacing gain x BtlBw
    RTprop   the smallest round trip of the last ten seconds                cwnd        = window gain x BtlBw x RTprop + 3 quanta

    STARTUP    gain 2.885 until three round trips in a row bring less than a quarter more
    DRAIN      1/2.885 until no more than BtlBw x RTprop is under way
    PROBE_BW   1.25, 0.75, then six times 1, a RTprop each
    PROBE_RTT  every ten seconds without a smaller round trip: 4 segments for 200 ms

Losses do not shrink the model; in the first round of a recovery only what arrives is replaced.  As in the draft but: the
place in the cycle where PROBE_BW begins is drawn from the connection's initial sequence number; there is no long-term
policer estimate (which Linux adds); rates are integers, bytes a second.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final

from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.tcp.scoreboard import NEVER, Sample

__all__ = ["Bbr"]

SECOND: Final = 1_000_000_000
HIGH: Final = 2_885
ONE: Final = 1_000
DRAIN: Final = ONE * ONE // HIGH
CYCLE: Final = (1_250, 750, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000)
ROUNDS: Final = 10
RTPROP_LIFE: Final = seconds(10)
PROBE_RTT: Final = ms(200)
LEAST: Final = 4


class Bbr:
    """The model of the path of one connection; `rtprop` in ns, `btlbw` in bytes a second."""

    name: ClassVar[str] = "bbr"
    models: ClassVar[bool] = True

    __slots__ = (
        "_before",
        "_conserve_until",
        "_cycle",
        "_cycle_at",
        "_full",
        "_full_count",
        "_probe_done",
        "_probe_round",
        "_round",
        "_round_ends",
        "_rtprop_at",
        "_window",
        "btlbw",
        "cwnd",
        "filled",
        "gain",
        "initial",
        "mss",
        "pacing_rate",
        "phase",
        "rtprop",
        "ssthresh",
        "window_gain",
    )

    def __init__(self, mss: int, segments: int, chance: int = 0) -> None:
        """`chance` chooses where the cycle of PROBE_BW begins."""
        self.mss = mss
        self.cwnd = self.initial = segments * mss
        self.ssthresh = 1 << 30
        self.phase = "startup"
        self.gain = self.window_gain = HIGH
        self.btlbw = 0
        self.rtprop = NEVER
        self.filled = False
        self.pacing_rate: int | None = HIGH * self.initial * SECOND // ONE // ms(1)
        self._rtprop_at = 0
        self._window: deque[tuple[int, int]] = deque()
        self._round = self._round_ends = 0
        self._full = self._full_count = 0
        self._cycle = 2 + chance % 6 if chance % 7 else 0
        self._cycle_at = 0
        self._probe_done = self._probe_round = -1
        self._conserve_until = -1
        self._before = self.cwnd

    def target(self, gain: int) -> int:
        """Return `gain` thousandths of the bandwidth-delay product and what bursts need, bytes."""
        if self.rtprop == NEVER or not self.btlbw:
            return self.initial
        return max(self.btlbw * self.rtprop * gain // (ONE * SECOND) + 3 * self._quantum(), LEAST * self.mss)

    def _quantum(self) -> int:
        rate = self.pacing_rate or 0
        if rate < 150_000:
            return self.mss
        return 2 * self.mss if rate < 3_000_000 else min(rate // 1_000, 65_536)

    def on_ack(self, told: Sample) -> None:
        """Update the model, the state, the pacing rate and the window."""
        now = int(told.now)
        begins = told.newest is not None and told.prior >= self._round_ends
        if begins:
            self._round_ends = told.delivered
            self._round += 1
        self._measure(told, now)
        if begins and not told.limited:
            self._check_full()
        self._move(told, now)
        self._check_rtprop(told, now, begins)
        rate = self.gain * self.btlbw // ONE
        if rate and (self.filled or rate > (self.pacing_rate or 0)):
            self.pacing_rate = rate
        elif not self.filled and self._round <= 1 and told.rtt > 0:
            self.pacing_rate = HIGH * self.initial * SECOND // ONE // told.rtt
        self._set_window(told)

    def _measure(self, told: Sample, now: int) -> None:
        window = self._window
        if told.rate and (not told.limited or told.rate >= self.btlbw):
            while window and window[-1][1] <= told.rate:
                window.pop()
            window.append((self._round, told.rate))
        while len(window) > 1 and window[0][0] < self._round - ROUNDS:
            window.popleft()
        if window:
            self.btlbw = window[0][1]

    def _check_full(self) -> None:
        if self.filled:
            return
        if self.btlbw * 4 >= self._full * 5:
            self._full, self._full_count = self.btlbw, 0
            return
        self._full_count += 1
        self.filled = self._full_count >= 3

    def _move(self, told: Sample, now: int) -> None:
        if self.phase == "startup" and self.filled:
            self.phase, self.gain, self.window_gain = "drain", DRAIN, HIGH
        if self.phase == "drain" and told.pipe <= self.target(ONE):
            self._probe_bandwidth(now)
        if self.phase == "probe_bw":
            due = now - self._cycle_at > self.rtprop
            if self.gain > ONE:
                due = due and (told.lost > 0 or told.flight >= self.target(self.gain))
            elif self.gain < ONE:
                due = due or told.flight <= self.target(ONE)
            if due:
                self._cycle = (self._cycle + 1) % len(CYCLE)
                self._cycle_at, self.gain = now, CYCLE[self._cycle]

    def _probe_bandwidth(self, now: int) -> None:
        self.phase, self.window_gain = "probe_bw", 2 * ONE
        self._cycle_at, self.gain = now, CYCLE[self._cycle]

    def _check_rtprop(self, told: Sample, now: int, begins: bool) -> None:
        expired = now > self._rtprop_at + RTPROP_LIFE and self.rtprop < NEVER
        if told.rtt > 0 and (told.rtt <= self.rtprop or expired):
            self.rtprop, self._rtprop_at = told.rtt, now
        if expired and self.phase != "probe_rtt":
            self._before = self.cwnd
            self.phase, self.gain, self.window_gain = "probe_rtt", ONE, ONE
            self._probe_done = -1
        if self.phase != "probe_rtt":
            return
        if self._probe_done < 0:
            if told.pipe <= LEAST * self.mss:
                self._probe_done = now + PROBE_RTT
                self._probe_round = self._round
        elif now >= self._probe_done and self._round > self._probe_round:
            self._rtprop_at = now
            self.cwnd = max(self.cwnd, self._before)
            if self.filled:
                self._probe_bandwidth(now)
            else:
                self.phase, self.gain, self.window_gain = "startup", HIGH, HIGH

    def _set_window(self, told: Sample) -> None:
        target = self.target(self.window_gain)
        if told.lost:
            self.cwnd = max(self.cwnd - told.lost, self.mss)
        if self._conserve_until >= 0 and self._round < self._conserve_until:
            self.cwnd = max(self.cwnd, told.pipe + told.acked)
        elif self.filled:
            self.cwnd = min(self.cwnd + told.acked, target)
        elif self.cwnd < target or told.delivered < self.initial:
            self.cwnd += told.acked
        self.cwnd = max(self.cwnd, LEAST * self.mss)
        if self.phase == "probe_rtt":
            self.cwnd = min(self.cwnd, LEAST * self.mss)

    def on_loss(self, flight: int, now: Ns) -> None:
        """For one round trip, send only as much as arrives."""
        if self._conserve_until < 0:
            self._before = max(self.cwnd, self._before) if self.phase == "probe_rtt" else self.cwnd
        self.cwnd = max(flight, self.mss)
        self._conserve_until = self._round + 1

    def on_recovered(self, now: Ns) -> None:
        """Back to the window there was."""
        self._conserve_until = -1
        self.cwnd = max(self.cwnd, self._before)

    def on_rto(self, flight: int, now: Ns, again: bool) -> None:
        """Start over with one segment; the model stays."""
        if not again:
            self._before = max(self.cwnd, self._before)
        self.cwnd = self.mss
        self._conserve_until = -1

    def on_undo(self, now: Ns) -> None:
        """What looked like a loss was none."""
        self.on_recovered(now)

    def on_idle(self, restart: int) -> None:
        """After idling, pacing alone keeps the burst small (section 4.3.4.4)."""
