"""flows: one direction of a TCP connection, as a capture saw it.

Sequence numbers are unwrapped and relative to the first one seen (the SYN is 0), as Wireshark shows them.  A segment is
a retransmission when it begins before the highest sequence number already seen in its direction (RFC 9293 section 3.4);
an acknowledgement is a duplicate when it repeats the last one with the same window and carries no data (RFC 5681
section 2).  The advertised window is scaled only if both SYNs offered a scale, and never in a SYN (RFC 7323 section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mirage_lab.plot.frames import ACK, FIN, RST, SYN, Seen, TcpSeen

__all__ = ["Acked", "Flow", "Sent", "flows", "pick"]

_WRAP = 1 << 32
_HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class Sent:
    """A segment that takes sequence space (or a RST): frame `n` at `t` ns, bytes [seq, end), relative."""

    n: int
    t: int
    seq: int
    end: int
    length: int
    flags: int
    retransmitted: bool
    lost: bool


@dataclass(frozen=True, slots=True)
class Acked:
    """What the receiver said: all before `ack` arrived, up to `edge` may be sent; `duplicate` if it said so before."""

    n: int
    t: int
    ack: int
    edge: int
    duplicate: bool
    lost: bool


@dataclass(slots=True)
class Flow:
    """The bytes going from `src` to `dst` ("10.0.0.2:80"): what was sent, and what was acknowledged; `bytes` of data, each counted once."""

    src: str
    dst: str
    bytes: int = 0
    sent: list[Sent] = field(default_factory=list)
    acked: list[Acked] = field(default_factory=list)
    _base: int | None = field(default=None, repr=False)
    _at: int = field(default=0, repr=False)
    _top: int = field(default=0, repr=False)
    _scale: int | None = field(default=None, repr=False)
    _syn: bool = field(default=False, repr=False)

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

    def _send(self, seen: Seen, tcp: TcpSeen) -> None:
        seq = self._relative(tcp.seq)
        taken = tcp.length + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
        end = seq + taken
        if tcp.flags & SYN:
            self._syn, self._scale = True, tcp.scale
        if taken or tcp.flags & RST:
            again = taken > 0 and seq < self._top
            self.sent.append(Sent(seen.n, seen.t, seq, end, tcp.length, tcp.flags, again, bool(seen.lost)))
        start = seq + bool(tcp.flags & SYN)
        self.bytes += max(0, start + tcp.length - max(start, self._top))
        self._at = max(self._at, end)
        self._top = max(self._top, end)

    def _acknowledge(self, seen: Seen, tcp: TcpSeen, scale: int) -> None:
        ack = self._relative(tcp.ack)
        edge = ack + (tcp.window << scale)
        last = self.acked[-1] if self.acked else None
        pure = not tcp.length and not tcp.flags & (SYN | FIN)
        duplicate = pure and last is not None and (last.ack, last.edge) == (ack, edge) and ack < self._top
        self.acked.append(Acked(seen.n, seen.t, ack, edge, duplicate, bool(seen.lost)))


def flows(frames: Iterable[Seen]) -> list[Flow]:
    """Return the flows in order of appearance, two for each connection: the opener's direction first.

    A SYN with a new sequence number between the same two ends begins a new connection.
    """
    found: list[Flow] = []
    current: dict[tuple[str, str], tuple[Flow, Flow]] = {}
    for seen in frames:
        tcp = seen.tcp
        if tcp is None:
            continue
        pair = current.get((tcp.src, tcp.dst))
        opening = tcp.flags & (SYN | ACK) == SYN
        if pair is None or (opening and pair[0]._base is not None and pair[0]._base != tcp.seq):
            there, back = Flow(tcp.src, tcp.dst), Flow(tcp.dst, tcp.src)
            pair = current[tcp.src, tcp.dst] = (there, back)
            current[tcp.dst, tcp.src] = (back, there)
            # Caught in the middle, the end with the lower port number is taken for the server.
            swap = not opening and (tcp.flags & SYN or _port(tcp.src) < _port(tcp.dst))
            found += [back, there] if swap else [there, back]
        there, back = pair
        there._send(seen, tcp)
        if tcp.flags & ACK and not tcp.flags & RST:
            scaled = there._scale is not None and back._scale is not None and not tcp.flags & SYN
            back._acknowledge(seen, tcp, (there._scale or 0) if scaled else 0)
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


def _port(end: str) -> int:
    return int(end.rpartition(":")[2])
