"""Pcb: one connection, pure (RFC 9293 section 3.10).

    happened = pcb.receive(segment, now)    bits: READABLE | WRITABLE | ESTABLISHED | CLOSED
    segments = pcb.transmit(now)            what may be sent now; call it after every other method
    pcb.next_deadline(), pcb.on_deadline(now)

Sequence space of what we send, and where the variables of RFC 9293 section 3.3.1 point; which of what lies between una and
nxt has arrived, is under way or is to be sent again, `recovery.board` knows:

    snd_una                       snd_nxt
       │  sent, not acknowledged     │  written, not sent  │
       ▼                             ▼                     ▼ len(_out)

Built up by kind: variables, output (what may be sent), timers, calls (the user's side), and here what comes in.
`remarks` tells what a learner may want to see (state changes, retransmissions); the skin empties it.
"""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.tcp.calls import DEFAULT_MSS, Calls
from mirage_lab.tcpip.tcp.output import LEAST
from mirage_lab.tcpip.tcp.recovery import Phase
from mirage_lab.tcpip.tcp.scoreboard import NEVER
from mirage_lab.tcpip.tcp.states import Event, State
from mirage_lab.tcpip.tcp.variables import CLOSED, ESTABLISHED, READABLE, WRITABLE, reset_for
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import HALF, MASK, distance
from mirage_lab.tcpip.wire.tcp import ACK, CE, CWR, ECE, FIN, PSH, RST, SYN, Options, Segment, parse_options

__all__ = ["CLOSED", "DEFAULT_MSS", "ESTABLISHED", "READABLE", "WRITABLE", "Pcb", "reset_for"]

CHALLENGES: Final = 10
CHALLENGE_TIME: Final = seconds(5)
"""Ten challenge ACKs in five seconds, of each connection by itself (RFC 5961 section 7): a shared limit could be probed."""
PAWS_LIFE: Final = seconds(24 * 24 * 3_600)
SYN_LOST: Final = seconds(3)
"""The timeout after a SYN that had to go again (RFC 6298 section 5.7)."""
_PLAIN: Final = {ACK, ACK | PSH}
_RECEIVING: Final = {State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2}
_STAMPED: Final = struct.Struct(">III")
_PREFIX: Final = 0x0101080A
_NONE: Final = Options()


class Pcb(Calls):
    """The protocol control block of one connection."""

    __slots__ = ()

    def receive(self, segment: Segment, now: Ns) -> int:
        """Take a segment and return what happened."""
        if self.state is State.ESTABLISHED and segment.flags in _PLAIN and segment.seq == self.rcv_nxt and segment.ecn != CE:
            happened = self._predicted(segment, now)
            if happened is not None:
                return happened
        match self.state:
            case State.CLOSED:
                reset = reset_for(segment)
                self._replies += [reset] if reset else []
                return 0
            case State.SYN_SENT:
                return self._in_syn_sent(segment, now)
            case _:
                return self._synchronized(segment, now)

    def _predicted(self, segment: Segment, now: Ns) -> int | None:
        """The two common cases: the next acknowledgment of bulk data sent, the next piece of bulk data received."""
        payload, options = segment.payload, segment.options
        echo = -1
        value = 0
        if self.stamping:
            if len(options) != 12:
                return None
            prefix, value, echo = _STAMPED.unpack(options)
            if prefix != _PREFIX or (value - self.ts_recent) & MASK >= HALF:
                return None
            echo = (echo - self.stamp_offset) & MASK
        elif options:
            return None
        if self.keepalive:
            self.heard(now)
        if not payload:
            count = (segment.ack - self.snd_una) & MASK
            if 0 < count <= (self.snd_nxt - self.snd_una) & MASK:
                if self.stamping and segment.seq == self.last_ack:
                    self.ts_recent, self.ts_recent_at = value, now
                self._window(segment)
                return self._acknowledged(count, segment.ack, [], False, echo, now)
        elif (
            segment.ack == self.snd_una
            and not self.reassembly.size
            and not self.pressed
            and len(payload) <= (self.rcv_adv - self.rcv_nxt) & MASK
            and segment.window << self.snd_scale == self.snd_wnd
        ):
            if self.stamping and segment.seq == self.last_ack:
                self.ts_recent, self.ts_recent_at = value, now
            self._accept_data(payload, now)
            return READABLE
        return None

    def _accept_data(self, payload: bytes, now: Ns) -> None:
        self.rcv_nxt = (self.rcv_nxt + len(payload)) & MASK
        self._in.append(payload)
        self._in_size += len(payload)
        self._unacked += 1
        if self._unacked >= 2 or self._quick:
            self._ack_now = True
            if self._quick:
                self._quick -= 1
        elif self._ack_at == NEVER:
            self._ack_at = now + self.profile.delayed_ack

    # opening -----------------------------------------------------------------------------------------------------

    def _in_syn_sent(self, segment: Segment, now: Ns) -> int:
        """Section 3.10.7.3."""
        flags = segment.flags
        if flags & ACK and segment.ack != (self.iss + 1) & MASK:
            reset = reset_for(segment)
            self._replies += [reset] if reset else []
            return 0
        if flags & RST:
            return self._reset("refused") if flags & ACK else 0
        if not flags & SYN:
            return 0
        try:
            self._take_syn(segment)
        except WireError:
            return 0
        if not flags & ACK:
            self.snd_nxt = self.snd_una
            self._go(Event.SYN)
            return 0
        self._ack_now = True
        return self._established(segment, now)

    def _established(self, segment: Segment, now: Ns) -> int:
        syn = self.recovery.board.records
        self.snd_una = self.snd_nxt = (self.iss + 1) & MASK
        if syn and not syn[0].tries:
            self.rtt.sample(now - syn[0].at)
        elif self._tries:
            self.rtt.timeout = max(self.rtt.timeout, SYN_LOST)
        self.rtt.backoff = 0
        self._rto_at = NEVER
        self._tries = 0
        self.snd_wnd = segment.window if segment.flags & SYN else segment.window << self.snd_scale
        self.max_wnd = self.snd_wnd
        self.snd_wl1, self.snd_wl2 = segment.seq, segment.ack
        self.begin(1, self.recovery.sack)
        if self.rtt.srtt:
            self.recovery.board.min_rtt = self.rtt.srtt
        self._go(Event.SEND_FIN if self.closing else Event.SYN_ACKED)
        if self.keepalive:
            self.heard(now)
        return ESTABLISHED | WRITABLE

    # section 3.10.7.4 --------------------------------------------------------------------------------------------

    def _synchronized(self, segment: Segment, now: Ns) -> int:
        """In its order: sequence number, RST, SYN, ACK, data, FIN; before all PAWS (RFC 7323 section 5.3)."""
        flags = segment.flags
        if self.state is State.SYN_RECEIVED and flags & SYN and not flags & ACK and segment.seq == self.irs:
            self.snd_nxt = self.snd_una
            return 0
        if self.state is State.SYN_RECEIVED and flags & (SYN | ACK) == SYN | ACK and segment.seq == self.irs and segment.ack == (self.iss + 1) & MASK:
            self._ack_now = True  # both ends opened at the same time
            return self._established(segment, now)
        options = _NONE
        if segment.options:
            try:
                options = parse_options(segment.options)
            except WireError:
                return 0
        if self.stamping and not flags & (RST | SYN) and not self._stamped(segment, options, now):
            return 0
        if not self._in_window(segment):
            return self._outside(segment, options, now)
        if flags & RST:
            if segment.seq == self.rcv_nxt or not self.profile.challenge:
                return self._reset("refused" if self.state is State.SYN_RECEIVED else "reset")
            return self._challenge(now)
        if flags & SYN:
            return self._challenge(now) if self.profile.challenge else self._reset("reset")
        if not flags & ACK:
            return 0
        if options.stamps is not None and self.stamping and (self.last_ack - segment.seq) & MASK < HALF:
            self.ts_recent, self.ts_recent_at = options.stamps[0], now
        happened = 0
        if self.state is State.SYN_RECEIVED:
            if segment.ack != (self.iss + 1) & MASK:
                reset = reset_for(segment)
                self._replies += [reset] if reset else []
                return 0
            happened = self._established(segment, now)
        elif self.keepalive:
            self.heard(now)
        if self.ecn:
            self._marks(segment)
        taken = self._take_ack(segment, options, now)
        if taken is None:
            return happened
        happened |= taken
        if self.state is State.CLOSED:
            return happened | CLOSED
        if segment.payload or flags & FIN:
            happened |= self._take_data(segment, now)
        return happened

    def _stamped(self, segment: Segment, options: Options, now: Ns) -> bool:
        """PAWS: False for a segment older than what was seen, which is answered, or without timestamps (RFC 7323 sections 3.2, 5.3)."""
        if options.stamps is None:
            self._drop("no timestamps")
            return False
        if (options.stamps[0] - self.ts_recent) & MASK < HALF or now - self.ts_recent_at > PAWS_LIFE:
            return True
        self._drop("PAWS: an old timestamp")
        self._duplicate_data(segment)
        self._ack_now = True
        return False

    def _outside(self, segment: Segment, options: Options, now: Ns) -> int:
        """A segment that lies wholly outside the window is answered, unless it is a RST."""
        flags = segment.flags
        self._drop("outside the window")
        if flags & RST:
            return 0
        if flags & SYN:
            return self._challenge(now) if self.profile.challenge else 0
        self._ack_now = True
        self._duplicate_data(segment)
        if flags & FIN and self.state is State.TIME_WAIT:
            self._end_at = now + self.profile.time_wait
        count = (segment.ack - self.snd_una) & MASK
        if flags & ACK and 0 < count <= (self.snd_nxt - self.snd_una) & MASK:
            return self._take_ack(segment, options, now) or 0  # a peer that probes our closed window
        return 0

    def _in_window(self, segment: Segment) -> bool:
        """Table 6 of section 3.10.7.4: some of it lies in the receive window."""
        window = (self.rcv_adv - self.rcv_nxt) & MASK
        start = (segment.seq - self.rcv_nxt) & MASK
        length = segment.length
        if not length:
            return start < window or (start == 0 and window == 0)
        if not window:
            return start == 0 and bool(segment.flags & ACK)
        return start < window or (start + length - 1) & MASK < window

    def _challenge(self, now: Ns) -> int:
        """Say where we are instead of believing it (RFC 5961), a limited number of times."""
        self._drop("challenged")
        if now - self._challenges_since >= CHALLENGE_TIME:
            self._challenges, self._challenges_since = 0, now
        if self._challenges < CHALLENGES:
            self._challenges += 1
            self._ack_now = True
        return 0

    def _marks(self, segment: Segment) -> None:
        """What the network and the peer say of congestion (RFC 3168 section 6.1)."""
        if segment.flags & CWR:
            self._echo_ce = False
        if segment.ecn == CE:
            self._echo_ce = self._ack_now = True

    # acknowledgments ---------------------------------------------------------------------------------------------

    def _take_ack(self, segment: Segment, options: Options, now: Ns) -> int | None:
        """Return what happened; None for an acknowledgment that makes the whole segment suspicious."""
        count = (segment.ack - self.snd_una) & MASK
        echo = (options.stamps[1] - self.stamp_offset) & MASK if options.stamps is not None and self.stamping else -1
        if count >= HALF:
            if self.profile.challenge and (self.snd_una - segment.ack) & MASK > max(self.max_wnd, 1):
                self._challenge(now)  # RFC 5961 section 5.2
                return None
            self._blocks(segment, options, echo, now)
            return 0
        if count > (self.snd_nxt - self.snd_una) & MASK:
            self._challenge(now) if self.profile.challenge else self._answer()
            return None
        was = self.snd_wnd
        if self._persist_at != NEVER and self._out:
            self._tries = 0
        if (self.snd_wl1 - segment.seq) & MASK >= HALF or (self.snd_wl1 == segment.seq and (segment.ack - self.snd_wl2) & MASK < HALF):
            self._window(segment)
        if count:
            return self._acknowledged(count, segment.ack, self._positions(options), bool(segment.flags & ECE), echo, now)
        outstanding = self.snd_nxt != self.snd_una
        duplicate = outstanding and self.snd_wnd == was and not segment.payload and not segment.flags & FIN
        if duplicate or options.sack or self.recovery.rack.probe >= 0 or (outstanding and self.ecn and segment.flags & ECE):
            self._hear(self.recovery.board.una, self._positions(options), duplicate, bool(segment.flags & ECE), echo, now)
            self._arm(now)
        return 0

    def _answer(self) -> None:
        self._ack_now = True

    def _blocks(self, segment: Segment, options: Options, echo: int, now: Ns) -> None:
        """An old acknowledgment may still carry SACK that is news."""
        if options.sack and self.recovery.sack:
            self._hear(self.recovery.board.una, self._positions(options), False, False, echo, now)
            self._arm(now)

    def _positions(self, options: Options) -> list[tuple[int, int]]:
        """Return SACK blocks as positions of the scoreboard."""
        if not options.sack or not self.recovery.sack:
            return []
        una, at = self.snd_una, self.recovery.board.una
        return [(at + distance(una, left), at + distance(una, right)) for left, right in options.sack]

    def _hear(self, ack: int, blocks: list[tuple[int, int]], duplicate: bool, ece: bool, echo: int, now: Ns) -> None:
        """Tell loss recovery."""
        recovery = self.recovery
        was = recovery.phase
        if recovery.on_ack(ack, blocks, duplicate, ece and self.ecn, echo, now):
            self.remarks.append(("tcp.undo", {"why": "timestamps", "phase": was.value}))
        if self.ecn and recovery.phase is not was and recovery.phase in (Phase.RECOVERY, Phase.REDUCED):
            self._cwr = True
        if self.watch_cwnd:
            self._say_cwnd()

    def _window(self, segment: Segment) -> None:
        self.snd_wnd = segment.window << self.snd_scale
        self.snd_wl1, self.snd_wl2 = segment.seq, segment.ack
        if self.snd_wnd > self.max_wnd:
            self.max_wnd = self.snd_wnd
        if self.snd_wnd and self._persist_at != NEVER and self._out:
            self._persist_at = NEVER
            self.rtt.backoff = self._tries = 0

    def _acknowledged(self, count: int, ack: int, blocks: list[tuple[int, int]], ece: bool, echo: int, now: Ns) -> int:
        """New data, or our FIN, was acknowledged."""
        out = self._out
        fin = count > len(out)
        del out[: min(count, len(out))]
        self.rtt.backoff = self._tries = 0
        self._hear(self.recovery.board.una + count, blocks, False, ece, echo, now)
        self.snd_una = ack
        self._rto_at = now + self.rtt.rto if self.snd_nxt != ack else NEVER
        self._arm(now)
        happened = 0
        if self._blocked or not out:
            self._blocked = False
            happened = WRITABLE
        if self.keepalive and not out:
            self.heard(now)
        if fin:
            self._fin_acknowledged(now)
        return happened | (CLOSED if self.state is State.CLOSED else 0)

    def _fin_acknowledged(self, now: Ns) -> None:
        self._go(Event.FIN_ACKED)
        if self.state is State.FIN_WAIT_2:
            self._end_at = now + self.profile.fin_wait_2
        elif self.state is State.TIME_WAIT:
            self._end_at = now + self.profile.time_wait

    # data --------------------------------------------------------------------------------------------------------

    def _take_data(self, segment: Segment, now: Ns) -> int:
        """Text and FIN, in order or early.  Urgent data is data (RFC 6093)."""
        if self.state not in _RECEIVING:
            self._ack_now = True
            self._drop("after its FIN")
            return 0
        if self.pressed and segment.payload and self._in_size + len(segment.payload) > LEAST:
            self._ack_now = True  # it will be sent again
            self._drop("short of memory")
            return 0
        payload, fin = segment.payload, segment.flags & FIN
        skip = (self.rcv_nxt - segment.seq) & MASK
        if skip < HALF:
            if skip:
                self._duplicate_data(segment)
            payload = payload[skip:] if skip <= len(payload) else b""
            early = False
        else:
            early = True
        start = (segment.seq - self.rcv_nxt) & MASK if early else 0
        room = (self.rcv_adv - self.rcv_nxt) & MASK
        if start + len(payload) > room:
            payload, fin = payload[: room - start], 0
        if early:
            self._ack_now = True
            if fin:
                self._fin_seq = (segment.seq + len(payload)) & MASK
            if payload and not self.pressed:
                size = self.reassembly.size
                if not self.reassembly.add(self.rcv_nxt, segment.seq, payload):
                    self._drop("too many pieces out of order")
                elif self.reassembly.size == size:
                    self._duplicate_data(segment)
            return 0
        happened = 0
        if payload:
            if self.reassembly.size:
                self._ack_now = True
            self._accept_data(payload, now)
            if self.reassembly.size:
                more = self.reassembly.take(self.rcv_nxt)
                if more:
                    self._accept_data(more, now)
            if self.state is State.FIN_WAIT_2:
                self._end_at = now + self.profile.fin_wait_2
            happened = READABLE
        elif segment.payload:
            self._ack_now = True
        if self._fin_seq == self.rcv_nxt or (fin and (segment.seq + len(segment.payload)) & MASK == self.rcv_nxt):
            self._fin(now)
            happened |= READABLE
        return happened

    def _duplicate_data(self, segment: Segment) -> None:
        """Remember what came twice for a D-SACK (RFC 2883 section 4): no more than what lies before rcv_nxt, or is held."""
        end = (segment.seq + len(segment.payload)) & MASK
        if (end - self.rcv_nxt) & MASK < HALF and (segment.seq - self.rcv_nxt) & MASK >= HALF:
            end = self.rcv_nxt
        if segment.payload and end != segment.seq and self.recovery.sack:
            self._dsack = (segment.seq, end)

    def _fin(self, now: Ns) -> None:
        self._fin_seq = None
        self.rcv_nxt = (self.rcv_nxt + 1) & MASK
        self.rcv_adv = self.rcv_nxt if (self.rcv_adv - self.rcv_nxt) & MASK >= HALF else self.rcv_adv
        self.eof = True
        self._ack_now = True
        self._go(Event.FIN)
        if self.state is State.TIME_WAIT:
            self._end_at = now + self.profile.time_wait
