"""What the user of a connection may ask of it (RFC 9293 section 3.9.1): open, send, receive, close, abort."""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.output import LEAST
from mirage_lab.tcpip.tcp.scoreboard import NEVER
from mirage_lab.tcpip.tcp.states import Event, State
from mirage_lab.tcpip.tcp.timers import Timers
from mirage_lab.tcpip.tcp.variables import CLOSED, READABLE, STAMPS, WRITABLE
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, CWR, ECE, RST, SYN, Options, Segment, parse_options

__all__ = ["DEFAULT_MSS", "Calls"]

DEFAULT_MSS: Final = 536
MIN_MSS: Final = 88
"""The least payload of a segment whose headers and options have no more than 100 bytes left of the 188 a path must take."""
_SENDING: Final = {State.ESTABLISHED, State.CLOSE_WAIT, State.SYN_SENT, State.SYN_RECEIVED}


class Calls(Timers):
    """The user's side of a connection."""

    __slots__ = ()

    def connect(self) -> None:
        """Open actively: `transmit` sends the SYN."""
        self._go(Event.ACTIVE_OPEN)

    def accept(self, syn: Segment) -> None:
        """Open passively with the SYN a listener got."""
        self._take_syn(syn)
        self._go(Event.PASSIVE_OPEN)

    def resume(self, segment: Segment, offered: Options, ecn: bool, now: Ns) -> None:
        """Open with the acknowledgment of a SYN cookie, which brought back what the SYN had `offered` (RFC 4987 section 3.6)."""
        flags = SYN | (ECE | CWR if ecn else 0)
        self._take_syn(Segment(segment.src_port, segment.dst_port, (segment.seq - 1) & MASK, 0, flags, segment.window, offered.encode()))
        self._go(Event.PASSIVE_OPEN)
        self.rcv_adv = (self.rcv_nxt + min(self.profile.buffer, self.profile.syn_windows[1])) & MASK
        self.snd_nxt = (self.iss + 1) & MASK
        board = self.recovery.board
        board.send(1, now)
        board.records[0].tries = 1  # nobody timed it

    def _take_syn(self, segment: Segment) -> None:
        """Read the peer's set-up: sequence number and options.  What we do not offer ourselves is not taken up."""
        profile = self.profile
        options = parse_options(segment.options)
        self.irs = segment.seq
        self.rcv_nxt = self.rcv_adv = self.last_ack = (segment.seq + 1) & MASK
        self.stamping = profile.timestamps and options.stamps is not None
        if self.stamping and options.stamps is not None:
            self.ts_recent = options.stamps[0]
        self.mss = max(MIN_MSS, min(self.our_mss, options.mss or DEFAULT_MSS)) - (STAMPS if self.stamping else 0)
        self.scaling = options.wscale is not None
        if options.wscale is not None:
            self.snd_scale, self.rcv_scale = options.wscale, profile.wscale
        self.snd_wnd = self.max_wnd = segment.window
        self.snd_wl1 = segment.seq
        if segment.flags & ACK:
            self.ecn = profile.ecn == "ask" and segment.flags & (ECE | CWR) == ECE
        else:
            self.ecn = profile.ecn != "off" and segment.flags & (ECE | CWR) == ECE | CWR
        board = self.recovery.board
        records = board.records
        self.begin(0, profile.sack and options.sack_ok)
        if records:  # both ends opened at the same time: our SYN is out already
            self.recovery.board = board

    def read(self) -> bytes:
        """Return what has arrived in order (b"": nothing)."""
        data = self._in[0] if len(self._in) == 1 else b"".join(self._in)
        self._in.clear()
        self._in_size = 0
        return data

    def write(self, data: bytes | memoryview) -> int:
        """Queue data and return how many bytes were taken (the buffer is bounded)."""
        if self.closing or self.state not in _SENDING:
            return 0
        waiting = len(self._out)
        room = min(self.profile.buffer - waiting, self.profile.unsent - waiting + self.flight)
        if self.pressed:
            room = min(room, LEAST - waiting)
        if room >= len(data):
            self._out += data
            return len(data)
        self._blocked = True
        self._out += data[: max(room, 0)]
        return max(room, 0)

    def close(self) -> int:
        """End our direction after what is queued."""
        if self.closing or self.state not in _SENDING:
            return 0
        self.closing = True
        if self.state is State.SYN_SENT:
            self.stop_timers()
            self._go(Event.SEND_FIN)
            return CLOSED
        if self.state is not State.SYN_RECEIVED:
            self._go(Event.SEND_FIN)
        return 0

    def abort(self) -> int:
        """Break the connection off: RST to the peer, nothing more for us."""
        if self.state is State.CLOSED:
            return 0
        if self.state not in (State.SYN_SENT, State.TIME_WAIT):
            self._replies.append(Segment(self.src_port, self.dst_port, self.snd_nxt, self.rcv_nxt, RST | ACK, 0))
        return self._reset("aborted")

    def keep_alive(self, idle: Ns, now: Ns) -> None:
        """Ask the peer after `idle` without a word whether it is still there; 0: never."""
        self.keepalive = idle
        if idle:
            self.heard(now)
        elif not self._out:
            self._persist_at = NEVER

    def expire(self) -> int:
        """Give up the rest of TIME_WAIT: its place is needed."""
        self.stop_timers()
        self._go(Event.EXPIRED)
        return CLOSED | READABLE | WRITABLE

    def unreachable(self) -> int:
        """ICMP said that our SYN went nowhere (RFC 1122 section 4.2.3.9); later it is only a hint."""
        return self._reset("refused") if self.state is State.SYN_SENT else 0

    def path_mss(self, mss: int, now: Ns) -> None:
        """The path takes segments of `mss` bytes at most (RFC 1191): what is out is sent again in smaller ones."""
        mss = max(MIN_MSS, mss) - (STAMPS if self.stamping else 0)
        if mss >= self.mss:
            return
        recovery = self.recovery
        self.mss = self.congestion.mss = mss
        self.congestion.cwnd = max(self.congestion.cwnd, mss)
        for record in recovery.board.records:
            if record.end - record.start > mss + 1:
                recovery.board.lose(record)
        recovery.force = True
        self._arm(now)
