"""What a connection may send now: the sending half of `Pcb` (RFC 9293 section 3.8, RFC 1122 section 4.2.3.4).

What is lost goes first.  A new segment goes out when it is full, or is all there is and nothing is under way (Nagle), or
the user has closed; and when the peer's window, the congestion window and the pacing of the connection allow it.  A window
that opens a little is waited for (silly window avoidance); the persist timer breaks the tie.
"""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.recovery import Phase
from mirage_lab.tcpip.tcp.scoreboard import NEVER, RECORDS, Sent
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.tcp.variables import Variables
from mirage_lab.tcpip.wire.seq import HALF, MASK
from mirage_lab.tcpip.wire.tcp import ACK, CWR, ECE, ECT0, FIN, PSH, SYN, Options, Segment

__all__ = ["Output"]

_WITH_DATA: Final = {State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK}
_STAMPED: Final = struct.Struct(">III")
WINDOW: Final = 65_535
LEAST: Final = 4_096
"""Bytes in each direction that a connection may hold however short of memory the stack is."""


class Output(Variables):
    """What a connection sends."""

    __slots__ = ()

    def transmit(self, now: Ns) -> list[Segment]:
        """Return the segments that may go out now."""
        out, self._replies = self._replies, []
        state = self.state
        if state in _WITH_DATA:
            if self._ack_now and (self.reassembly.size or self._dsack):
                out.append(self._segment(self.snd_nxt, ACK, b"", now))  # SACK travels alone, so that data segments keep their size
                self._ack_now = False
            if self._out or self.closing:
                self._data(out, now)
            else:
                self.limited_by = "application"
            if not self._ack_now:
                self._update_window()
            if self._ack_now:
                out.append(self._segment(self.snd_nxt, ACK, b"", now))
        elif state is State.SYN_SENT or state is State.SYN_RECEIVED:
            if self.snd_nxt == self.iss:
                out.append(self._syn(now))
        elif state is not State.CLOSED:
            self.limited_by = "application"
            self._update_window()
            if self._ack_now:
                out.append(self._segment(self.snd_nxt, ACK, b"", now))
        self._ack_now = False
        return out

    # segments ----------------------------------------------------------------------------------------------------

    def _syn(self, now: Ns) -> Segment:
        profile, board = self.profile, self.recovery.board
        again = board.nxt > 0
        passive = self.state is State.SYN_RECEIVED
        window = min(profile.buffer, profile.syn_windows[passive])
        self.rcv_adv = (self.rcv_nxt + window) & MASK
        self.last_ack = self.rcv_nxt
        if again:
            self.remarks.append(("tcp.retransmit", {"seq": self.iss, "length": 0, "why": "SYN"}))
            board.resend(board.records[0], now)
        else:
            board.send(1, now)
        self.snd_nxt = (self.iss + 1) & MASK
        self._rto_at = now + self.rtt.rto
        stamping = self.stamping if passive else profile.timestamps
        options = Options(
            mss=self.our_mss,
            wscale=profile.wscale if self.scaling else None,
            sack_ok=self.recovery.sack if passive else profile.sack,
            stamps=(self.stamp(now), self.ts_recent if passive else 0) if stamping else None,
        ).encode()
        if passive:
            flags, ack = SYN | ACK | (ECE if self.ecn else 0), self.rcv_nxt
        else:
            flags, ack = SYN | (ECE | CWR if profile.ecn == "ask" and not self._tries else 0), 0
        return Segment(self.src_port, self.dst_port, self.iss, ack, flags, window, options)

    def _segment(self, seq: int, flags: int, payload: bytes, now: Ns) -> Segment:
        """Return a segment that acknowledges all we have, and say how much more we take."""
        self._unacked = 0
        self._ack_at = NEVER
        self.last_ack = rcv_nxt = self.rcv_nxt
        edge = self._edge()
        if (edge - self.rcv_adv) & MASK < HALF:
            self.rcv_adv = edge
        window = (self.rcv_adv - rcv_nxt) & MASK
        if window >= HALF:
            window = 0
        if self._echo_ce:
            flags |= ECE
        if not payload and (self.reassembly.size or self._dsack):
            options = self._sacks(now)
        elif self.stamping:
            options = _STAMPED.pack(0x0101080A, (now // 1_000_000 + self.stamp_offset) & MASK, self.ts_recent)
        else:
            options = b""
        return Segment(self.src_port, self.dst_port, seq, rcv_nxt, flags, min(window >> self.rcv_scale, WINDOW), options, payload)

    def _sacks(self, now: Ns) -> bytes:
        """Return options with what has come early, the news first (RFC 2018 section 4), a duplicate before all (RFC 2883)."""
        end = self._fin_seq
        blocks = [(left, right if right != end else (right + 1) & MASK) for left, right in self.reassembly.blocks[:4]] if self.recovery.sack else []
        if self._dsack:
            if self.recovery.sack:
                blocks.insert(0, self._dsack)
            self._dsack = None
        return Options(stamps=(self.stamp(now), self.ts_recent) if self.stamping else None, sack=tuple(blocks)).encode()

    def _edge(self) -> int:
        """Right edge of the receive window: only moved by a worthwhile amount, never back (RFC 9293 section 3.8.6.2.2)."""
        scale = self.rcv_scale
        buffer = LEAST if self.pressed else self.profile.buffer
        room = min(buffer - self._in_size, WINDOW << scale)
        room = room >> scale << scale
        edge = (self.rcv_nxt + max(room, 0)) & MASK
        gain = (edge - self.rcv_adv) & MASK
        if gain >= HALF or gain < min(self.profile.buffer // 2, self.mss):
            return self.rcv_adv
        return edge

    def _update_window(self) -> None:
        """Tell the peer when the window was nearly closed and reading has opened it a good deal."""
        buffer = self.profile.buffer
        if (self.rcv_adv - self.rcv_nxt) & MASK < buffer // 8 and self._in_size < buffer // 2 and not self.eof and not self.pressed:
            self._ack_now = True

    # data --------------------------------------------------------------------------------------------------------

    def _data(self, out: list[Segment], now: Ns) -> None:
        """Send what the windows allow, what is lost first."""
        recovery, congestion = self.recovery, self.congestion
        board = recovery.board
        if board.due and not self._lost(out, now):
            return
        buffered = self._out
        total = len(buffered)
        offset = first = board.nxt - board.una
        if not offset and total and self._sent_at and now - self._sent_at > self.rtt.rto:
            congestion.on_idle(max(self.profile.initial_window * self.mss, self.mss))
        mss, rate = self.mss, congestion.pacing_rate
        room = congestion.cwnd - board.pipe
        limited = "application"
        while offset < total:
            size = min(mss, total - offset)
            window = self.snd_wnd - offset
            if size > window:
                size = window
                if size <= 0 or not (self._force or size >= self.max_wnd // 2):
                    limited = "window"
                    break
            if size > room and offset and not recovery.force:
                limited = "congestion"
                break
            last = offset + size == total
            if size < mss and not self._force and not self.closing and self.nagle and offset:
                break
            if rate is not None:
                if now < self._pace_at:
                    limited = "pacing"
                    break
                self._pace(size, rate, now)
            if len(board.records) >= RECORDS:
                break
            flags = ACK | PSH if last else ACK
            length = size
            if last and self.closing:
                flags |= FIN
                length += 1
                self.fin_sent = True
            segment = self._segment(self.snd_nxt, flags, bytes(buffered[offset : offset + size]), now)
            if self.ecn:
                segment.ecn = ECT0
                if self._cwr:
                    segment.flags |= CWR
                    self._cwr = False
            board.send(length, now)
            recovery.prr.out += size
            self.snd_nxt = (self.snd_nxt + length) & MASK
            out.append(segment)
            self._ack_now = self._force = recovery.force = False
            offset += size
            room -= size
        if offset == total and self.closing and not self.fin_sent:
            self.fin_sent = True
            out.append(self._segment(self.snd_nxt, ACK | FIN, b"", now))
            board.send(1, now)
            self.snd_nxt = (self.snd_nxt + 1) & MASK
            self._ack_now = False
        if limited == "application" and self._blocked:
            limited = "buffer"
        self.limited_by = limited
        if limited == "application" and room > 0:
            board.limited = max(board.delivered + board.pipe, 1)
        if board.nxt - board.una != first:
            self._sent_at = now
            self._arm(now)
        self._watch_window(out, offset < total, now)

    def _lost(self, out: list[Segment], now: Ns) -> bool:
        """Send again what is due; True when nothing is left of it."""
        recovery, congestion = self.recovery, self.congestion
        board = recovery.board
        rate = congestion.pacing_rate
        self.limited_by = "congestion"
        while (record := board.first_due()) is not None:
            size = record.end - record.start
            if size > self.mss + 1:
                board.split(record, self.mss)
                size = self.mss
            if board.pipe + size > congestion.cwnd and not recovery.force:
                return False
            if record.end - board.una > max(self.snd_wnd, 1) and record.start != board.una:
                return False
            if rate is not None and not recovery.force:
                if now < self._pace_at:
                    self.limited_by = "pacing"
                    return False
                self._pace(size, rate, now)
            recovery.force = False
            out.append(self._again(record, "timeout" if recovery.phase is Phase.LOSS else "loss", now))
        return True

    def _again(self, record: Sent, why: str, now: Ns) -> Segment:
        """Return a segment that goes out once more."""
        recovery = self.recovery
        board = recovery.board
        offset = record.start - board.una
        data = bytes(self._out[offset : offset + record.end - record.start])
        seq = (self.snd_una + offset) & MASK
        fin = self.fin_sent and record.end == board.nxt
        if not recovery.sack and why == "loss":
            why = "duplicate ACKs"
        self.remarks.append(("tcp.retransmit", {"seq": seq, "length": record.end - record.start, "why": why}))
        recovery.on_resend(record, now)
        self._ack_now = False
        self._sent_at = now
        self._rto_at = now + self.rtt.rto
        return self._segment(seq, ACK | (FIN if fin else 0) | (PSH if data and offset + len(data) == len(self._out) else 0), data, now)

    def _pace(self, size: int, rate: int, now: Ns) -> None:
        """Say when the next segment may go: a little may be sent in one go (1 ms worth, at least two segments)."""
        burst = min(1_000_000, 2 * self.mss * 1_000_000_000 // rate)
        self._pace_at = max(self._pace_at, now - burst) + size * 1_000_000_000 // rate

    def _watch_window(self, out: list[Segment], held: bool, now: Ns) -> None:
        """With data to send, nothing under way and too small a window: ask again and again."""
        forced, self._force = self._force, False
        if not held or self.snd_nxt != self.snd_una:
            self._persist_at = NEVER
            return
        if self.limited_by == "pacing":
            return
        if forced:
            out.append(self._segment((self.snd_una - 1) & MASK, ACK, b"", now))
            self._ack_now = False
        self._rto_at = NEVER
        if self._persist_at == NEVER:
            self._persist_at = now + self.rtt.rto

    def _arm(self, now: Ns) -> None:
        """Set the timers of what is outstanding: the retransmission timer, or before it the probe of RACK-TLP."""
        recovery = self.recovery
        board = recovery.board
        out = board.nxt - board.una
        if not out:
            self._rto_at = self._soon_at = NEVER
            return
        if self._rto_at == NEVER:
            self._rto_at = now + self.rtt.rto
        at = recovery.look_at
        if at == NEVER and recovery.phase is Phase.OPEN and recovery.sack and self.profile.rack:
            at = now + recovery.rack.patience(board, self.rtt.srtt, out <= self.mss)
        self._soon_at = at if at < self._rto_at else NEVER
