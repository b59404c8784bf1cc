"""Pcb: one connection, pure (RFC 9293 section 3.10).

    happened = pcb.receive(segment, now)    bits: READABLE | WRITABLE | ESTABLISHED | CLOSED
    segments = pcb.transmit(now)            what may be sent now; call it after every other method
    pcb.next_deadline(), pcb.on_deadline(now)

Sequence space of what we send, and where the variables of RFC 9293 section 3.3.1 point (`snd_max`: as far as we ever got;
after a timeout `snd_nxt` goes back to `snd_una`):

    snd_una          snd_nxt           snd_max
       │  sent, not    │                  │  written, not sent  │
       ▼  acknowledged ▼                  ▼                     ▼ len(_out)

`remarks` tells what a learner may want to see (state changes, retransmissions); the skin empties it.
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.newreno import NewReno
from mirage_lab.tcpip.tcp.output import Output
from mirage_lab.tcpip.tcp.profile import Profile
from mirage_lab.tcpip.tcp.reassembly import Reassembly
from mirage_lab.tcpip.tcp.rtt import Rtt
from mirage_lab.tcpip.tcp.states import NEXT, Event, State
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import HALF, MASK
from mirage_lab.tcpip.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment, parse_options

__all__ = ["CLOSED", "DEFAULT_MSS", "ESTABLISHED", "READABLE", "WRITABLE", "Pcb", "reset_for"]

READABLE: Final = 1
WRITABLE: Final = 2
ESTABLISHED: Final = 4
CLOSED: Final = 8
DEFAULT_MSS: Final = 536
MIN_MSS: Final = 64
CHALLENGES: Final = 10
_PLAIN: Final = {ACK, ACK | PSH}
_RECEIVING: Final = {State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2}
_SENDING: Final = {State.ESTABLISHED, State.CLOSE_WAIT, State.SYN_SENT, State.SYN_RECEIVED}


def reset_for(segment: Segment) -> Segment | None:
    """Return the RST that answers a segment of no connection (3.10.7.1); a RST is never answered."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return Segment(segment.dst_port, segment.src_port, segment.ack, 0, RST, 0)
    return Segment(segment.dst_port, segment.src_port, 0, (segment.seq + segment.length) & MASK, RST | ACK, 0)


class Pcb(Output):
    """The protocol control block of one connection."""

    __slots__ = ()

    def __init__(self, src_port: int, dst_port: int, iss: int, profile: Profile, mss: int) -> None:
        """`mss`: the largest segment we take and send."""
        self.src_port = src_port
        self.dst_port = dst_port
        self.profile = profile
        self.state = State.CLOSED
        self.error: str | None = None
        self.remarks: list[tuple[str, dict[str, Any]]] = []
        self.watch_cwnd = False
        self.iss = self.snd_una = self.snd_nxt = self.snd_max = iss
        self.snd_wnd = self.snd_wl1 = self.snd_wl2 = self.max_wnd = 0
        self.our_mss = self.mss = mss
        self.snd_scale = self.rcv_scale = 0
        self.scaling = True
        self.irs = self.rcv_nxt = self.rcv_adv = 0
        self.eof = False
        self.closing = False
        self.fin_sent = False
        self.rtt = Rtt(profile)
        self.congestion = NewReno(mss, profile.initial_window, iss)
        self.reassembly = Reassembly(profile.buffer)
        self._out = bytearray()
        self._in: list[bytes] = []
        self._in_size = 0
        self._replies: list[Segment] = []
        self._ack_now = False
        self._unacked = 0
        self._quick = profile.quick_acks
        self._resend = False
        self._force = False
        self._tries = 0
        self._challenges = 0
        self._timed_seq = self._timed_at = -1
        self._rto_at = self._persist_at = self._ack_at = self._end_at = -1

    def __repr__(self) -> str:
        return f"{self.state.value} cwnd={self.congestion.cwnd} flight={self.flight}"

    @property
    def flight(self) -> int:
        """Bytes sent and not acknowledged."""
        return (self.snd_nxt - self.snd_una) & MASK

    @property
    def buffered(self) -> tuple[int, int, int]:
        """Bytes to be read, out of order, and written but not acknowledged."""
        return self._in_size, self.reassembly.size, len(self._out)

    def _go(self, event: Event) -> None:
        before, self.state = self.state, NEXT[self.state][event]
        self.remarks.append(("tcp.state", {"old": before.value, "new": self.state.value, "why": event.value}))

    # opening -----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open actively: `transmit` sends the SYN."""
        self._go(Event.ACTIVE_OPEN)

    def accept(self, syn: Segment) -> None:
        """Open passively with the SYN a listener got."""
        self._take_syn(syn)
        self._go(Event.PASSIVE_OPEN)

    def _take_syn(self, segment: Segment) -> None:
        """Read the peer's set-up: sequence number, MSS, window scale."""
        options = parse_options(segment.options)
        self.irs = segment.seq
        self.rcv_nxt = self.rcv_adv = (segment.seq + 1) & MASK
        self.mss = max(MIN_MSS, min(self.our_mss, options.mss or DEFAULT_MSS))
        self.scaling = options.wscale is not None
        if options.wscale is not None:
            self.snd_scale, self.rcv_scale = options.wscale, self.profile.wscale
        self.congestion = NewReno(self.mss, self.profile.initial_window, self.iss)
        self.snd_wnd = self.max_wnd = segment.window
        self.snd_wl1 = segment.seq

    # receiving ---------------------------------------------------------------------------------------------------

    def receive(self, segment: Segment, now: Ns) -> int:
        """Take a segment and return what happened."""
        if self.state is State.ESTABLISHED and segment.flags in _PLAIN and segment.seq == self.rcv_nxt:
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
        payload = segment.payload
        if not payload:
            count = (segment.ack - self.snd_una) & MASK
            if 0 < count <= (self.snd_nxt - self.snd_una) & MASK and self.snd_nxt == self.snd_max:
                self._window(segment)
                return self._acknowledged(count, segment.ack, now)
        elif (
            segment.ack == self.snd_una
            and not self.reassembly.size
            and len(payload) <= (self.rcv_adv - self.rcv_nxt) & MASK
            and segment.window << self.snd_scale == self.snd_wnd
        ):
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
        elif self._ack_at < 0:
            self._ack_at = now + self.profile.delayed_ack

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
        self.snd_una = self.snd_nxt = self.snd_max = (self.iss + 1) & MASK
        if self._timed_seq == self.iss and self._timed_at >= 0:
            self.rtt.sample(now - self._timed_at)
        elif self._tries:
            self.rtt.timeout = max(self.rtt.timeout, self.profile.initial_rto)
        self.rtt.backoff = 0
        self._timed_at = self._rto_at = -1
        self._tries = 0
        self.snd_wnd = segment.window if segment.flags & SYN else segment.window << self.snd_scale
        self.max_wnd = self.snd_wnd
        self.snd_wl1, self.snd_wl2 = segment.seq, segment.ack
        self._go(Event.SYN_ACKED)
        return ESTABLISHED | WRITABLE

    def _synchronized(self, segment: Segment, now: Ns) -> int:
        """Section 3.10.7.4, in its order: sequence number, RST, SYN, ACK, data, FIN."""
        flags = segment.flags
        if self.state is State.SYN_RECEIVED and flags & SYN and not flags & ACK and segment.seq == self.irs:
            self.snd_nxt = self.snd_una
            return 0
        if self.state is State.SYN_RECEIVED and flags & (SYN | ACK) == SYN | ACK and segment.seq == self.irs and segment.ack == (self.iss + 1) & MASK:
            self._ack_now = True  # both ends opened at the same time
            return self._established(segment, now)
        if not self._in_window(segment):
            if not flags & RST:
                self._ack_now = True
                if flags & FIN and self.state is State.TIME_WAIT:
                    self._end_at = now + self.profile.time_wait
            return self._old_ack(segment, now) if flags & ACK and not flags & (RST | SYN) else 0
        if flags & RST:
            if segment.seq == self.rcv_nxt or not self.profile.challenge:
                return self._reset("refused" if self.state is State.SYN_RECEIVED else "reset")
            return self._challenge()
        if flags & SYN:
            return self._challenge() if self.profile.challenge else self._reset("reset")
        if not flags & ACK:
            return 0
        happened = 0
        if self.state is State.SYN_RECEIVED:
            if segment.ack != (self.iss + 1) & MASK:
                reset = reset_for(segment)
                self._replies += [reset] if reset else []
                return 0
            happened = self._established(segment, now)
            if self.closing:
                self._go(Event.SEND_FIN)
        happened |= self._take_ack(segment, now)
        if self.state is State.CLOSED:
            return happened | CLOSED
        if segment.payload or flags & FIN:
            happened |= self._take_data(segment, now)
        return happened

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

    def _challenge(self) -> int:
        """Say where we are instead of believing it (RFC 5961); only so often between two pieces of progress."""
        if self._challenges < CHALLENGES:
            self._challenges += 1
            self._ack_now = True
        return 0

    def _old_ack(self, segment: Segment, now: Ns) -> int:
        """A segment out of the window may still acknowledge something new (a peer that probes our zero window)."""
        count = (segment.ack - self.snd_una) & MASK
        if 0 < count <= (self.snd_max - self.snd_una) & MASK:
            return self._take_ack(segment, now)
        return 0

    def _take_ack(self, segment: Segment, now: Ns) -> int:
        count = (segment.ack - self.snd_una) & MASK
        if count >= HALF:
            return 0
        if count > (self.snd_max - self.snd_una) & MASK:
            return self._challenge()
        was = self.snd_wnd
        if self._persist_at >= 0:
            self._tries = 0
        if (self.snd_wl1 - segment.seq) & MASK >= HALF or (self.snd_wl1 == segment.seq and (segment.ack - self.snd_wl2) & MASK < HALF):
            self._window(segment)
        if count:
            return self._acknowledged(count, segment.ack, now)
        if self.snd_wnd != was:
            return 0
        if not segment.payload and not segment.flags & FIN and self.snd_max != self.snd_una:
            congestion = self.congestion
            if congestion.duplicate(self.snd_una, self.snd_max, self.flight):
                self._resend = True
                self._timed_at = -1
            self._say_cwnd()
        return 0

    def _window(self, segment: Segment) -> None:
        self.snd_wnd = segment.window << self.snd_scale
        self.snd_wl1, self.snd_wl2 = segment.seq, segment.ack
        if self.snd_wnd > self.max_wnd:
            self.max_wnd = self.snd_wnd
        if self.snd_wnd and self._persist_at >= 0:
            self._persist_at = -1
            self.rtt.backoff = self._tries = 0

    def _acknowledged(self, count: int, ack: int, now: Ns) -> int:
        """New data, or our FIN, was acknowledged."""
        out = self._out
        data = min(count, len(out))
        fin = count > len(out)
        was_full = len(out) >= self.profile.buffer
        del out[:data]
        self.snd_una = ack
        if (self.snd_nxt - ack) & MASK >= HALF:
            self.snd_nxt = ack
        if self._timed_at >= 0 and (ack - self._timed_seq) & MASK < HALF and ack != self._timed_seq:
            self.rtt.sample(now - self._timed_at)
            self._timed_at = -1
        self.rtt.backoff = self._tries = self._challenges = 0
        if self.congestion.acked(count, ack, self.flight):
            self._resend = True
        self._rto_at = now + self.rtt.rto if self.snd_max != ack else -1
        if self.watch_cwnd:
            self._say_cwnd()
        happened = WRITABLE if was_full or not out else 0
        if fin:
            self._fin_acknowledged(now)
        return happened | (CLOSED if self.state is State.CLOSED else 0)

    def _fin_acknowledged(self, now: Ns) -> None:
        self._go(Event.FIN_ACKED)
        if self.state is State.FIN_WAIT_2:
            self._end_at = now + self.profile.fin_wait_2
        elif self.state is State.TIME_WAIT:
            self._end_at = now + self.profile.time_wait

    def _take_data(self, segment: Segment, now: Ns) -> int:
        """Text and FIN, in order or early."""
        if self.state not in _RECEIVING:
            self._ack_now = True
            return 0
        payload, fin = segment.payload, segment.flags & FIN
        skip = (self.rcv_nxt - segment.seq) & MASK
        if skip < HALF:
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
            if payload:
                self.reassembly.add(self.rcv_nxt, segment.seq, payload)
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
        if fin and (segment.seq + len(segment.payload)) & MASK == self.rcv_nxt:
            self._fin(now)
            happened |= READABLE
        elif fin:
            self._ack_now = True
        return happened

    def _fin(self, now: Ns) -> None:
        self.rcv_nxt = (self.rcv_nxt + 1) & MASK
        self.rcv_adv = self.rcv_nxt if (self.rcv_adv - self.rcv_nxt) & MASK >= HALF else self.rcv_adv
        self.eof = True
        self._ack_now = True
        self._go(Event.FIN)
        if self.state is State.TIME_WAIT:
            self._end_at = now + self.profile.time_wait

    # the user ----------------------------------------------------------------------------------------------------

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
        room = self.profile.buffer - len(self._out)
        if room >= len(data):
            self._out += data
            return len(data)
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
            self._replies.append(Segment(self.src_port, self.dst_port, self.snd_max, self.rcv_nxt, RST | ACK, 0))
        return self._reset("aborted")

    def unreachable(self) -> int:
        """ICMP said that our SYN went nowhere (RFC 1122 section 4.2.3.9); later it is only a hint."""
        return self._reset("refused") if self.state is State.SYN_SENT else 0

    def _reset(self, why: str) -> int:
        self.error = why
        self._out.clear()
        self._in.clear()
        self._in_size = 0
        self.stop_timers()
        self._go(Event.RESET)
        return CLOSED | READABLE | WRITABLE

    # time --------------------------------------------------------------------------------------------------------

    def on_deadline(self, now: Ns) -> int:
        """Handle the timers that are due and return what happened."""
        if 0 <= self._end_at <= now:
            self.stop_timers()
            self._go(Event.EXPIRED)
            return CLOSED | READABLE | WRITABLE
        if 0 <= self._ack_at <= now:
            self._ack_now = True
        if 0 <= self._persist_at <= now:
            return self._probe(now)
        if 0 <= self._rto_at <= now:
            return self._timed_out(now)
        return 0

    def _given_up(self) -> bool:
        opening = self.state in (State.SYN_SENT, State.SYN_RECEIVED)
        self._tries += 1
        return self._tries > (self.profile.syn_tries if opening else self.profile.data_tries)

    def _probe(self, now: Ns) -> int:
        if self._given_up():
            return self._reset("timed out")
        self.rtt.back_off()
        self._persist_at = now + self.rtt.rto
        self._force = True
        return 0

    def _timed_out(self, now: Ns) -> int:
        if self._given_up():
            return self._reset("timed out")
        self.congestion.timeout(self.snd_max, self.flight, self._tries > 1)
        self.rtt.back_off()
        self.remarks.append(("tcp.rto", {"seq": self.snd_una, "rto": self.rtt.rto, "tries": self._tries}))
        self._say_cwnd()
        self.snd_nxt = self.snd_una
        self.fin_sent = False
        self._timed_at = -1
        self._rto_at = now + self.rtt.rto
        return 0
