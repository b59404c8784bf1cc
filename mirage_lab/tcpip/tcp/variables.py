"""The variables of a connection (RFC 9293 section 3.3.1), and what it is called with."""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.congestion import Congestion, congestion_of
from mirage_lab.tcpip.tcp.profile import Profile
from mirage_lab.tcpip.tcp.reassembly import Reassembly
from mirage_lab.tcpip.tcp.recovery import Recovery
from mirage_lab.tcpip.tcp.rtt import Rtt
from mirage_lab.tcpip.tcp.scoreboard import NEVER
from mirage_lab.tcpip.tcp.states import NEXT, Event, State
from mirage_lab.tcpip.wire.tcp import ACK, RST, Segment

__all__ = ["CLOSED", "ESTABLISHED", "READABLE", "STAMPS", "WRITABLE", "Variables", "reset_for"]

READABLE: Final = 1
WRITABLE: Final = 2
ESTABLISHED: Final = 4
CLOSED: Final = 8
STAMPS: Final = 12
"""Bytes that timestamps take in each segment."""


class Variables:
    """Everything a connection remembers."""

    __slots__ = (
        "_ack_at",
        "_ack_now",
        "_blocked",
        "_challenges",
        "_challenges_since",
        "_cwr",
        "_dsack",
        "_echo_ce",
        "_end_at",
        "_fin_seq",
        "_force",
        "_in",
        "_in_size",
        "_out",
        "_pace_at",
        "_persist_at",
        "_quick",
        "_replies",
        "_rto_at",
        "_sent_at",
        "_soon_at",
        "_tries",
        "_unacked",
        "closing",
        "congestion",
        "dst_port",
        "ecn",
        "eof",
        "error",
        "fin_sent",
        "irs",
        "iss",
        "keepalive",
        "last_ack",
        "limited_by",
        "max_wnd",
        "mss",
        "nagle",
        "our_mss",
        "pressed",
        "profile",
        "rcv_adv",
        "rcv_nxt",
        "rcv_scale",
        "reassembly",
        "recovery",
        "remarks",
        "rtt",
        "scaling",
        "snd_nxt",
        "snd_scale",
        "snd_una",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "src_port",
        "stamp_offset",
        "stamping",
        "state",
        "ts_recent",
        "ts_recent_at",
        "watch_cwnd",
    )

    def __init__(self, src_port: int, dst_port: int, iss: int, profile: Profile, mss: int, *, stamp_offset: int = 0) -> None:
        """`mss`: the largest segment we take and send; `stamp_offset`: where our timestamps begin, ms.

        Raises LocalProtocolError for a congestion control that is not there.
        """
        self.src_port = src_port
        self.dst_port = dst_port
        self.profile = profile
        self.state = State.CLOSED
        self.error: str | None = None
        self.remarks: list[tuple[str, dict[str, Any]]] = []
        self.watch_cwnd = False
        self.nagle = profile.nagle
        self.keepalive: int = profile.keepalive
        self.pressed = False
        self.iss = self.snd_una = self.snd_nxt = iss
        self.snd_wnd = self.snd_wl1 = self.snd_wl2 = self.max_wnd = 0
        self.our_mss = self.mss = mss
        self.snd_scale = self.rcv_scale = 0
        self.scaling = True
        self.stamping = False
        self.stamp_offset = stamp_offset
        self.ts_recent = self.ts_recent_at = self.last_ack = 0
        self.ecn = False
        self.irs = self.rcv_nxt = self.rcv_adv = 0
        self.eof = self.closing = self.fin_sent = False
        self.limited_by = "application"
        self.rtt = Rtt(profile)
        self.congestion: Congestion = congestion_of(profile.congestion, mss, profile.initial_window, iss)
        self.recovery = Recovery(profile, self.rtt, self.congestion, False)
        self.reassembly = Reassembly(profile.buffer)
        self._out = bytearray()
        self._in: list[bytes] = []
        self._in_size = 0
        self._replies: list[Segment] = []
        self._ack_now = self._force = self._blocked = False
        self._dsack: tuple[int, int] | None = None
        self._fin_seq: int | None = None
        self._echo_ce = self._cwr = False
        self._unacked = 0
        self._quick = profile.quick_acks
        self._tries = 0
        self._challenges = self._challenges_since = 0
        self._sent_at = 0
        self._pace_at = 0
        self._rto_at = self._soon_at = self._persist_at = self._ack_at = self._end_at = NEVER

    def __repr__(self) -> str:
        return f"{self.state.value} cwnd={self.congestion.cwnd} flight={self.flight}"

    @property
    def flight(self) -> int:
        """Bytes sent and not acknowledged."""
        board = self.recovery.board
        return board.nxt - board.una

    @property
    def buffered(self) -> tuple[int, int, int]:
        """Bytes to be read, out of order, and written but not acknowledged."""
        return self._in_size, self.reassembly.size, len(self._out)

    @property
    def held(self) -> int:
        """Bytes of memory that data takes."""
        return self._in_size + self.reassembly.size + len(self._out)

    def begin(self, position: int, sack: bool) -> None:
        """Data begins at `position`, our MSS and SACK are agreed on: a fresh start for the window and the scoreboard."""
        profile = self.profile
        self.congestion = congestion_of(profile.congestion, self.mss, profile.initial_window, self.iss)
        if profile.threshold:
            self.congestion.ssthresh = max(self.snd_wnd, 2 * self.mss)
        self.recovery = Recovery(profile, self.rtt, self.congestion, sack)
        self.recovery.board.restart(position)

    def stamp(self, now: Ns) -> int:
        """Return our timestamp: milliseconds and an offset (RFC 7323 section 5.4)."""
        return (now // 1_000_000 + self.stamp_offset) & 0xFFFF_FFFF

    def _go(self, event: Event) -> None:
        before, self.state = self.state, NEXT[self.state][event]
        self.remarks.append(("tcp.state", {"old": before.value, "new": self.state.value, "why": event.value}))

    def _drop(self, reason: str) -> None:
        """Say that a segment, or a part of one, was thrown away."""
        self.remarks.append(("tcp.drop", {"reason": reason}))

    def _say_cwnd(self) -> None:
        if self.watch_cwnd:
            congestion, rtt, recovery = self.congestion, self.rtt, self.recovery
            said = {
                "cwnd": congestion.cwnd,
                "ssthresh": congestion.ssthresh,
                "phase": recovery.name,
                "flight": self.flight,
                "pipe": recovery.board.pipe,
                "sacked": recovery.board.sacked,
                "snd_wnd": self.snd_wnd,
                "rtt": rtt.latest,
                "srtt": rtt.srtt,
                "rto": rtt.rto,
                "unsent": len(self._out) - self.flight,
                "unread": self._in_size,
                "limited": self.limited_by,
            }
            self.remarks.append(("tcp.cwnd", said))


def reset_for(segment: Segment) -> Segment | None:
    """Return the RST that answers a segment of no connection (section 3.10.7.1); a RST is never answered."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        seq, ack, flags = segment.ack, 0, RST
    else:
        seq, ack, flags = 0, (segment.seq + segment.length) & 0xFFFF_FFFF, RST | ACK
    return Segment(segment.dst_port, segment.src_port, seq, ack, flags, 0)
