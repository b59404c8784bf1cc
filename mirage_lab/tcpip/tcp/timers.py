"""Timers of a connection: when it wants to be called again, and what it does then.

    _rto_at      nothing was acknowledged for one RTO             RFC 6298
    _soon_at     before that: RACK's reordering window, TLP       RFC 8985
    _persist_at  the peer's window is closed; or: is it alive?    RFC 9293 sections 3.8.6.1, 3.8.4
    _ack_at      a delayed acknowledgment is due                  RFC 1122 section 4.2.3.2
    _pace_at     the next segment of a paced connection
    _end_at      TIME_WAIT or FIN_WAIT_2 ends
"""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.output import Output
from mirage_lab.tcpip.tcp.recovery import Phase
from mirage_lab.tcpip.tcp.scoreboard import NEVER
from mirage_lab.tcpip.tcp.states import Event, State
from mirage_lab.tcpip.tcp.variables import CLOSED, READABLE, WRITABLE
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK

__all__ = ["Timers"]

_OPENING: Final = {State.SYN_SENT, State.SYN_RECEIVED}
_ALIVE: Final = {State.ESTABLISHED, State.CLOSE_WAIT}


class Timers(Output):
    """What a connection does when time passes."""

    __slots__ = ()

    def next_deadline(self) -> Ns | None:
        """Return when `on_deadline` wants to be called, or None."""
        at = min(self._rto_at, self._soon_at, self._ack_at, self._persist_at, self._end_at)
        if self.limited_by == "pacing" and self._pace_at < at:
            at = self._pace_at
        return Ns(at) if at != NEVER else None

    def stop_timers(self) -> None:
        """Nothing is due any more."""
        self._rto_at = self._soon_at = self._ack_at = self._persist_at = self._end_at = NEVER
        self.limited_by = "application"

    def on_deadline(self, now: Ns) -> int:
        """Handle the timers that are due and return what happened."""
        if self._end_at <= now:
            self.stop_timers()
            self._go(Event.EXPIRED)
            return CLOSED | READABLE | WRITABLE
        if self._ack_at <= now:
            self._ack_now = True
        if self._persist_at <= now:
            return self._probe(now) if self._out else self._ask(now)
        if self._rto_at <= now:
            return self._timed_out(now)
        if self._soon_at <= now:
            self._soon(now)
        return 0

    def _given_up(self) -> bool:
        self._tries += 1
        return self._tries > (self.profile.syn_tries if self.state in _OPENING else self.profile.data_tries)

    def _probe(self, now: Ns) -> int:
        """The window is still closed: ask."""
        if self._given_up():
            return self._reset("timed out")
        self.rtt.back_off()
        self._persist_at = now + self.rtt.rto
        self._force = True
        return 0

    def _timed_out(self, now: Ns) -> int:
        if self._given_up():
            return self._reset("timed out")
        opening = self.state in _OPENING
        self.rtt.back_off()
        self._rto_at = now + self.rtt.rto
        self._soon_at = NEVER
        self.remarks.append(("tcp.rto", {"seq": self.snd_una, "rto": self.rtt.rto, "tries": self._tries}))
        if opening:
            self.snd_nxt = self.iss
        else:
            self.recovery.on_rto(now, self._tries > 1)
        self._say_cwnd()
        return 0

    def _soon(self, now: Ns) -> None:
        """RACK's reordering window has passed, or the tail was not acknowledged."""
        recovery = self.recovery
        board = recovery.board
        self._soon_at = NEVER
        if recovery.look_at <= now:
            recovery.on_look(now)
            self._arm(now)
            self._say_cwnd()
            return
        if recovery.phase is not Phase.OPEN or not board.records or recovery.rack.probe >= 0:
            return
        offset = board.nxt - board.una
        fresh = not self.fin_sent and offset < len(self._out) and self.snd_wnd > offset
        recovery.rack.probed(board, not fresh)
        self._rto_at = now + self.rtt.rto
        if fresh:
            recovery.force = self._force = True
            recovery.rack.probe = board.nxt + min(self.mss, len(self._out) - offset, self.snd_wnd - offset)
        else:
            self._replies.append(self._again(board.records[-1], "probe", now))
            recovery.undo_ms = -1

    # is it still there? ------------------------------------------------------------------------------------------

    def _ask(self, now: Ns) -> int:
        """Nothing was heard for long: a keepalive (RFC 9293 section 3.8.4), an old number that must be answered."""
        if not self.keepalive or self.state not in _ALIVE or self.flight:
            self._persist_at = NEVER
            return 0
        self._tries += 1
        if self._tries > self.profile.keepalive_tries:
            return self._reset("timed out")
        self._persist_at = now + self.profile.keepalive_interval
        self._replies.append(self._segment((self.snd_nxt - 1) & MASK, ACK, b"", now))
        return 0

    def heard(self, now: Ns) -> None:
        """The peer is there: ask only after another idle time."""
        if not self._out and self.state in _ALIVE:
            self._persist_at = now + self.keepalive
            self._tries = 0

    def _reset(self, why: str) -> int:
        self.error = why
        self._out.clear()
        self._in.clear()
        self._in_size = 0
        self.reassembly.clear()
        self.recovery.board.restart(self.recovery.board.nxt)
        self.stop_timers()
        self._go(Event.RESET)
        return CLOSED | READABLE | WRITABLE
