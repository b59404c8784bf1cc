"""What a connection may send now: the sending half of `Pcb` (RFC 9293 section 3.8, RFC 1122 section 4.2.3.4).

A segment goes out when it is full, or is all there is and nothing is under way (Nagle), or the user has closed.  A window
that opens a little is waited for (silly window avoidance); the persist timer breaks the tie.
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.newreno import NewReno
from mirage_lab.tcpip.tcp.profile import Profile
from mirage_lab.tcpip.tcp.reassembly import Reassembly
from mirage_lab.tcpip.tcp.rtt import Rtt
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.seq import HALF, MASK
from mirage_lab.tcpip.wire.tcp import ACK, FIN, PSH, SYN, Options, Segment

__all__ = ["Output"]

_WITH_DATA: Final = {State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK}
WINDOW: Final = 65_535


class Output:
    """The variables of a connection and what it sends."""

    __slots__ = (
        "_ack_at",
        "_ack_now",
        "_challenges",
        "_end_at",
        "_force",
        "_in",
        "_in_size",
        "_out",
        "_persist_at",
        "_quick",
        "_replies",
        "_resend",
        "_rto_at",
        "_timed_at",
        "_timed_seq",
        "_tries",
        "_unacked",
        "closing",
        "congestion",
        "dst_port",
        "eof",
        "error",
        "fin_sent",
        "irs",
        "iss",
        "max_wnd",
        "mss",
        "our_mss",
        "profile",
        "rcv_adv",
        "rcv_nxt",
        "rcv_scale",
        "reassembly",
        "remarks",
        "rtt",
        "scaling",
        "snd_max",
        "snd_nxt",
        "snd_scale",
        "snd_una",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "src_port",
        "state",
        "watch_cwnd",
    )

    src_port: int
    dst_port: int
    profile: Profile
    state: State
    error: str | None
    remarks: list[tuple[str, dict[str, Any]]]
    watch_cwnd: bool
    iss: int
    snd_una: int
    snd_nxt: int
    snd_max: int
    snd_wnd: int
    snd_wl1: int
    snd_wl2: int
    max_wnd: int
    our_mss: int
    mss: int
    snd_scale: int
    rcv_scale: int
    scaling: bool
    irs: int
    rcv_nxt: int
    rcv_adv: int
    eof: bool
    closing: bool
    fin_sent: bool
    rtt: Rtt
    congestion: NewReno
    reassembly: Reassembly
    _out: bytearray
    _in: list[bytes]
    _in_size: int
    _replies: list[Segment]
    _ack_now: bool
    _unacked: int
    _quick: int
    _resend: bool
    _force: bool
    _tries: int
    _challenges: int
    _timed_seq: int
    _timed_at: int
    _rto_at: int
    _persist_at: int
    _ack_at: int
    _end_at: int

    def transmit(self, now: Ns) -> list[Segment]:
        """Return the segments that may go out now."""
        out, self._replies = self._replies, []
        state = self.state
        if state in _WITH_DATA:
            if self._out or self.closing:
                self._data(out, now)
            if not self._ack_now:
                self._update_window()
            if self._ack_now:
                out.append(self._segment(self.snd_max, ACK, b""))
        elif state is State.SYN_SENT or state is State.SYN_RECEIVED:
            if self.snd_nxt == self.iss:
                out.append(self._syn(now))
        elif state is not State.CLOSED:
            self._update_window()
            if self._ack_now:
                out.append(self._segment(self.snd_nxt, ACK, b""))
        self._ack_now = False
        return out

    # segments ----------------------------------------------------------------------------------------------------

    def _syn(self, now: Ns) -> Segment:
        again = self.snd_max != self.iss
        passive = self.state is State.SYN_RECEIVED
        window = min(self.profile.buffer, WINDOW)
        self.rcv_adv = (self.rcv_nxt + window) & MASK
        options = Options(mss=self.our_mss, wscale=self.profile.wscale if self.scaling else None).encode()
        if again:
            self.remarks.append(("tcp.retransmit", {"seq": self.iss, "length": 0, "why": "SYN"}))
            self._timed_at = -1
        else:
            self._timed_seq, self._timed_at = self.iss, now
        self.snd_nxt = self.snd_max = (self.iss + 1) & MASK
        if self._rto_at < now:
            self._rto_at = now + self.rtt.rto
        flags, ack = (SYN | ACK, self.rcv_nxt) if passive else (SYN, 0)
        return Segment(self.src_port, self.dst_port, self.iss, ack, flags, window, options)

    def _segment(self, seq: int, flags: int, payload: bytes) -> Segment:
        """Return a segment that acknowledges all we have, and say how much more we take."""
        self._unacked = 0
        self._ack_at = -1
        edge = self._edge()
        if (edge - self.rcv_adv) & MASK < HALF:
            self.rcv_adv = edge
        window = (self.rcv_adv - self.rcv_nxt) & MASK
        if window >= HALF:
            window = 0
        return Segment(self.src_port, self.dst_port, seq, self.rcv_nxt, flags, min(window >> self.rcv_scale, WINDOW), b"", payload)

    def _edge(self) -> int:
        """Right edge of the receive window: only moved by a worthwhile amount, never back (RFC 9293 section 3.8.6.2.2)."""
        scale = self.rcv_scale
        room = min(self.profile.buffer - self._in_size, WINDOW << scale)
        room = room >> scale << scale
        edge = (self.rcv_nxt + max(room, 0)) & MASK
        gain = (edge - self.rcv_adv) & MASK
        if gain >= HALF or gain < min(self.profile.buffer // 2, self.mss):
            return self.rcv_adv
        return edge

    def _update_window(self) -> None:
        """Tell the peer when the window was nearly closed and reading has opened it a good deal."""
        buffer = self.profile.buffer
        if (self.rcv_adv - self.rcv_nxt) & MASK < buffer // 8 and self._in_size < buffer // 2 and not self.eof:
            self._ack_now = True

    # data --------------------------------------------------------------------------------------------------------

    def _data(self, out: list[Segment], now: Ns) -> None:
        """Send what the windows allow, the retransmission of the first hole first."""
        if self._resend:
            self._resend = False
            self._hole(out, now)
        buffered = self._out
        total = len(buffered)
        congestion = self.congestion
        window = min(self.snd_wnd, congestion.cwnd + congestion.limited)
        una, mss = self.snd_una, self.mss
        offset = (self.snd_nxt - una) & MASK
        while offset < total:
            size = min(mss, total - offset)
            if size > window - offset:
                size = window - offset
                if size <= 0 or not (self._force or (size < mss and size >= self.max_wnd // 2 and offset + size <= self.snd_wnd)):
                    break
            last = offset + size == total
            if size < mss and not self._force and not self.closing and self.profile.nagle and offset:
                break
            seq = self.snd_nxt
            flags = ACK | PSH if last else ACK
            if last and self.closing:
                flags |= FIN
                self.fin_sent = True
            self._sent(seq, size + (flags & FIN), now)
            out.append(self._segment(seq, flags, bytes(buffered[offset : offset + size])))
            self._ack_now = self._force = False
            offset += size
        if offset == total and self.closing and not self.fin_sent:
            self.fin_sent = True
            self._sent(self.snd_nxt, 1, now)
            out.append(self._segment((una + total) & MASK, ACK | FIN, b""))
            self._ack_now = False
        self._watch_window(out, offset < total, now)

    def _sent(self, seq: int, length: int, now: Ns) -> None:
        """Note that `length` numbers from `seq` on are under way."""
        end = (seq + length) & MASK
        ahead = (end - self.snd_max) & MASK
        if (self.snd_max - seq) & MASK and (self.snd_max - seq) & MASK < HALF:
            self.remarks.append(("tcp.retransmit", {"seq": seq, "length": length, "why": "timeout"}))
        elif self._timed_at < 0:
            self._timed_seq, self._timed_at = seq, now
        self.snd_nxt = end
        if ahead < HALF:
            self.snd_max = end
        if self._rto_at < 0:
            self._rto_at = now + self.rtt.rto

    def _hole(self, out: list[Segment], now: Ns) -> None:
        """Send the first unacknowledged segment once more."""
        size = min(self.mss, len(self._out), max(self.snd_wnd, 1))
        fin = size == len(self._out) and self.fin_sent
        if not size and not fin:
            return
        self.remarks.append(("tcp.retransmit", {"seq": self.snd_una, "length": size, "why": "duplicate ACKs"}))
        out.append(self._segment(self.snd_una, ACK | (FIN if fin else 0), bytes(self._out[:size])))
        self._ack_now = False
        self._rto_at = now + self.rtt.rto

    def _watch_window(self, out: list[Segment], held: bool, now: Ns) -> None:
        """With data to send, nothing under way and too small a window: ask again and again."""
        forced, self._force = self._force, False
        if not held or self.snd_nxt != self.snd_una:
            self._persist_at = -1
            return
        if forced:
            out.append(self._segment((self.snd_una - 1) & MASK, ACK, b""))
            self._ack_now = False
        self._rto_at = -1
        if self._persist_at < 0:
            self._persist_at = now + self.rtt.rto

    def _say_cwnd(self) -> None:
        if self.watch_cwnd:
            congestion = self.congestion
            said = {"cwnd": congestion.cwnd, "ssthresh": congestion.ssthresh, "phase": congestion.phase, "flight": (self.snd_nxt - self.snd_una) & MASK}
            self.remarks.append(("tcp.cwnd", said))

    # timers ------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> Ns | None:
        """Return when `on_deadline` wants to be called, or None."""
        earliest = -1
        for at in (self._rto_at, self._ack_at, self._persist_at, self._end_at):
            if at >= 0 and (earliest < 0 or at < earliest):
                earliest = at
        return Ns(earliest) if earliest >= 0 else None

    def stop_timers(self) -> None:
        """Nothing is due any more."""
        self._rto_at = self._ack_at = self._persist_at = self._end_at = -1
