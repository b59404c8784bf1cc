"""flows: one direction of a TCP connection, as a capture saw it.

Sequence numbers are unwrapped and relative to the first one seen (the SYN is 0), as Wireshark shows them.

    sent again     begins before the highest sequence number seen in its direction (RFC 9293 section 3.4), and either these
                   bytes were seen before, or two duplicate acknowledgments asked for them, or it comes late
    out of order   begins before it, its bytes are new, and it comes within a handshake's round trip (without a handshake,
                   3 ms) of the segment that overtook it: Wireshark's rule
    probe          a byte beyond a window of 0 (RFC 9293 section 3.8.6.1)
    keep-alive     one byte, or none, before what was sent last (RFC 9293 section 3.8.4): no retransmission
    duplicate      an acknowledgment that repeats the last one with the same window, carries no data, while data is out
                   (RFC 5681 section 2); the third in a row asks for a retransmission

The advertised window is scaled only if both SYNs offered a scale, and never in a SYN (RFC 7323 section 2.2).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge

from mirage_lab.plot.segments import ACK, FIN, RST, SYN, Segment

__all__ = ["Acked", "Flow", "Outstanding", "Sent", "both", "flows", "outstanding", "pick", "round_trips"]

_WRAP = 1 << 32
_HALF = 1 << 31
_SOON = 3_000_000
_HOLES = 1_000
"""Gaps between the bytes seen that are remembered; the oldest are forgotten."""


@dataclass(slots=True)
class Sent:
    """A segment that takes sequence space (or a RST): frame `n` at `t` ns, bytes [seq, end), relative; `size` of its frame."""

    n: int
    t: int
    seq: int
    end: int
    length: int
    flags: int
    retransmitted: bool
    lost: bool
    out_of_order: bool = False
    probe: bool = False
    keep_alive: bool = False
    size: int = 0


@dataclass(slots=True)
class Acked:
    """What the receiver said: all before `ack` arrived, up to `edge` may be sent; `duplicate` if it said so before.

    `repeated` counts duplicates in a row; `sack` are the blocks beyond `ack` that arrived; `zero`: nothing may be sent.
    """

    n: int
    t: int
    ack: int
    edge: int
    duplicate: bool
    lost: bool
    repeated: int = 0
    sack: tuple[tuple[int, int], ...] = ()
    zero: bool = False


@dataclass(slots=True)
class Flow:
    """The bytes going from `src` to `dst` ("10.0.0.2:80"): what was sent, and what was acknowledged; `bytes` of data, each counted once.

    `mss` is what the sender's SYN offered to take, `rtt` (ns) the handshake's round trip, if they were seen.
    """

    src: str
    dst: str
    bytes: int = 0
    sent: list[Sent] = field(default_factory=list)
    acked: list[Acked] = field(default_factory=list)
    mss: int | None = None
    rtt: int | None = None
    number: int = 0
    _base: int | None = field(default=None, repr=False)
    _at: int = field(default=0, repr=False)
    _top: int = field(default=0, repr=False)
    _top_t: int = field(default=0, repr=False)
    _scale: int | None = field(default=None, repr=False)
    _opened: int | None = field(default=None, repr=False)
    _spans: list[tuple[int, int]] = field(default_factory=list, repr=False)

    @property
    def retransmitted(self) -> int:
        """Segments sent again."""
        return sum(sent.retransmitted for sent in self.sent)

    @property
    def name(self) -> str:
        """`10.0.0.2:80 -> 10.0.0.1:49152`."""
        return f"{self.src} -> {self.dst}"

    def __repr__(self) -> str:
        return f"<flow {self.name}: {len(self.sent)} segments, {self.bytes:,} bytes, {self.retransmitted} sent again>"

    def _relative(self, number: int) -> int:
        """Unwrap a 32-bit number next to the last one seen."""
        if self._base is None:
            self._base = number
        return self._at + ((number - self._base - self._at + _HALF) % _WRAP) - _HALF

    def _send(self, seen: Segment) -> None:
        seq = self._relative(seen.seq)
        taken = seen.length + (seen.flags >> 1 & 1) + (seen.flags & FIN)
        end = seq + taken
        if seen.flags & SYN:
            self._scale, self.mss = seen.scale, seen.mss
            self._opened = seen.t
        if taken or seen.flags & RST:
            last = self.acked[-1] if self.acked else None
            keep = taken == 1 and seen.length == 1 and seq == self._top - 1 and len(self.sent) > 0
            probe = seen.length == 1 and seq == self._top and last is not None and last.zero
            behind = taken > 0 and seq < self._top and not keep
            late = behind and self._late(seq, end, seen.t, last)
            self.sent.append(Sent(seen.n, seen.t, seq, end, seen.length, seen.flags, late, seen.lost, behind and not late, probe, keep, seen.size))
        start = seq + (seen.flags >> 1 & 1)
        data = start + seen.length
        if data > self._top:
            self.bytes += data - max(start, self._top)
        elif taken and not self._covered(start, data):
            self.bytes += seen.length
        if taken:
            self._note(seq, end)
        if end > self._top:
            self._at = self._top = end
            self._top_t = seen.t

    def _late(self, seq: int, end: int, t: int, last: Acked | None) -> bool:
        """True for a segment behind the top that was sent again; False when it was only overtaken."""
        if self._covered(seq, end) or (last is not None and last.repeated >= 2 and last.ack == seq):
            return True
        return t - self._top_t > max(_SOON, self.rtt or 0)

    def _covered(self, seq: int, end: int) -> bool:
        """True if some of these bytes were seen before."""
        place = bisect_right(self._spans, (seq, _WRAP << 32))
        before = place > 0 and self._spans[place - 1][1] > seq
        return before or (place < len(self._spans) and self._spans[place][0] < end)

    def _note(self, seq: int, end: int) -> None:
        """Remember that bytes [seq, end) were seen: spans stay sorted and apart."""
        spans = self._spans
        if spans and spans[-1][1] == seq:
            spans[-1] = (spans[-1][0], end)
            return
        low = bisect_right(spans, (seq, -1))
        if low and spans[low - 1][1] >= seq:
            low -= 1
        high = bisect_right(spans, (end, _WRAP << 32))
        if low < high:
            seq, end = min(seq, spans[low][0]), max(end, spans[high - 1][1])
        spans[low:high] = [(seq, end)]
        if len(spans) > _HOLES:
            del spans[0]

    def _acknowledge(self, seen: Segment, scale: int) -> None:
        ack = self._relative(seen.ack)
        edge = ack + (seen.window << scale)
        last = self.acked[-1] if self.acked else None
        pure = not seen.length and not seen.flags & (SYN | FIN)
        duplicate = pure and last is not None and (last.ack, last.edge) == (ack, edge) and ack < self._top
        repeated = (last.repeated if last is not None else 0) + 1 if duplicate else 0
        blocks = tuple((self._relative(left), self._relative(right)) for left, right in seen.sack)
        zero = not seen.window and not seen.flags & SYN
        self.acked.append(Acked(seen.n, seen.t, ack, edge, duplicate, seen.lost, repeated, blocks, zero))


def flows(seen: Iterable[Segment]) -> list[Flow]:
    """Return the flows in order of appearance, two for each connection: the opener's direction first.

    A SYN with a new sequence number between the same two ends begins a new connection.
    """
    found: list[Flow] = []
    current: dict[tuple[str, str], tuple[Flow, Flow]] = {}
    for tcp in seen:
        pair = current.get((tcp.src, tcp.dst))
        opening = tcp.flags & (SYN | ACK) == SYN
        if pair is None or (opening and pair[0]._base is not None and pair[0]._base != tcp.seq):
            there, back = Flow(tcp.src, tcp.dst), Flow(tcp.dst, tcp.src)
            pair = current[tcp.src, tcp.dst] = (there, back)
            current[tcp.dst, tcp.src] = (back, there)
            # Caught in the middle, the end with the lower port number is taken for the server.
            swap = not opening and (tcp.flags & SYN or _port(tcp.src) < _port(tcp.dst))
            for flow in (back, there) if swap else (there, back):
                flow.number = len(found)
                found.append(flow)
        there, back = pair
        there._send(tcp)
        if tcp.flags & ACK and not tcp.flags & RST:
            scaled = there._scale is not None and back._scale is not None and not tcp.flags & SYN
            back._acknowledge(tcp, (there._scale or 0) if scaled else 0)
            if there.rtt is None and not tcp.flags & SYN and there._opened is not None and back._opened is not None and there._opened <= back._opened:
                there.rtt = back.rtt = tcp.t - there._opened
    return found


def pick(found: list[Flow], wanted: Flow | str | int | None) -> Flow:
    """Return the flow meant: a Flow, its number, its name or its sending end; None means the one with most data.

    Raises ValueError naming the flows there are.
    """
    if isinstance(wanted, Flow):
        return wanted
    if not found:
        raise ValueError("no TCP segment was captured; run the lab while something connects, then plot again")
    if wanted is None:
        return max(found, key=lambda flow: (flow.bytes, len(flow.sent)))
    if isinstance(wanted, int) and -len(found) <= wanted < len(found):
        return found[wanted]
    for flow in found:
        if wanted in (flow.name, flow.src):
            return flow
    told = "\n".join(f"  {number}: {flow.name}" for number, flow in enumerate(found[:20]))
    raise ValueError(f"no flow {wanted!r} in this capture; it has\n{told}")


def both(flow: Flow) -> Iterator[Sent | Acked]:
    """What was sent and what was acknowledged, in the order of the frames; acknowledgments that never arrived left out."""
    return merge(flow.sent, (acked for acked in flow.acked if not acked.lost), key=lambda one: one.n)


def round_trips(flow: Flow) -> list[tuple[int, int, int]]:
    """Return (time of the acknowledgment, round trip, sequence number), ns, for each acknowledgment that measures one.

    It does if it acknowledges new bytes of which none was sent twice: of the others nobody knows which copy it answers
    (Karn's rule, RFC 6298 section 3).
    """
    found: list[tuple[int, int, int]] = []
    waiting: deque[tuple[int, int, bool]] = deque()
    top = 0
    for one in both(flow):
        if isinstance(one, Sent):
            if one.end > top:
                waiting.append((one.end, one.t, one.seq < top))
                top = one.end
            elif one.end > one.seq:
                waiting = deque((end, t, doubtful or (one.seq < end and start < one.end)) for (end, t, doubtful), start in _starts(waiting))
            continue
        last: tuple[int, int] | None = None
        clear = True
        while waiting and waiting[0][0] <= one.ack:
            end, t, doubtful = waiting.popleft()
            clear = clear and not doubtful
            last = (end, t)
        if last is not None and clear:
            found.append((one.t, one.t - last[1], last[0]))
    return found


def _starts(waiting: deque[tuple[int, int, bool]]) -> Iterator[tuple[tuple[int, int, bool], int]]:
    """Each waiting segment and where it starts: at the end of the one before."""
    start = -_HALF
    for entry in waiting:
        yield entry, start
        start = entry[0]


@dataclass(slots=True)
class Outstanding:
    """At `t` ns, bytes sent and not yet acknowledged, and the receiver's window (bytes, from the acknowledgment; None before one)."""

    t: int
    bytes: int
    window: int | None


def outstanding(flow: Flow) -> list[Outstanding]:
    """Return what was outstanding after each segment and each acknowledgment that changed something."""
    found: list[Outstanding] = []
    top = ack = 0
    window: int | None = None
    for one in both(flow):
        before = (top, ack, window)
        if isinstance(one, Sent):
            top = max(top, one.end)
        else:
            ack = max(ack, one.ack)
            window = one.edge - one.ack
        if (top, ack, window) != before:
            found.append(Outstanding(one.t, max(0, top - ack), window))
    return found


def _port(end: str) -> int:
    return int(end.rpartition(":")[2])
