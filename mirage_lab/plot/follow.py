"""follow: what two ends said to one another, the bytes in order and without headers.

TCP is put together as the receiver would: by sequence number, each byte once, what came too early kept until its turn.
Bytes that were acknowledged but are not in the capture (a snap length, a late start) are told as a gap, never invented.
UDP is its datagrams.  At most `LIMIT` bytes are kept in each direction, and the rest is counted.

Whatever the ends said is shown as text with its control characters visible, and escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from mirage_lab.plot.axes import SECONDS
from mirage_lab.plot.flows import Flow, flows, pick
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.segments import ACK, FIN, RST, SYN, TCP, UDP, Head, Segment, heads, host_of, segments
from mirage_lab.tracing.selection import Selection
from mirage_lab.tracing.svg import html_table, visible

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture

__all__ = ["LIMIT", "Stream", "Turn", "connection", "follow"]

LIMIT: Final = 16 << 20
WAITING: Final = 4_096
"""Segments that wait for one before them; then the gap is taken as it is."""
_HALF: Final = 1 << 31
_WRAP: Final = 1 << 32
_TURNS, _WIDE = 20, 400


@dataclass(slots=True)
class Turn:
    """What one end said before the other spoke: `sender` 0 opened the connection; frame `n` at `t` ns began it; `missing` bytes are not there."""

    sender: int
    n: int
    t: int
    data: bytearray
    missing: int = 0


class Stream:
    """A conversation: its two `ends` (the opener first), the `turns`, and the bytes of each direction."""

    def __init__(self, ends: tuple[str, str], protocol: str, hosts: Hosts | None = None) -> None:
        self.ends = ends
        self.protocol = protocol
        self.turns: list[Turn] = []
        self.left_out = [0, 0]
        self._kept = [0, 0]
        self._hosts = hosts or Hosts()

    @property
    def sent(self) -> bytes:
        """All that the opener said."""
        return b"".join(turn.data for turn in self.turns if turn.sender == 0)

    @property
    def received(self) -> bytes:
        """All that the other end answered."""
        return b"".join(turn.data for turn in self.turns if turn.sender == 1)

    @property
    def missing(self) -> int:
        """Bytes that were said but are not in the capture."""
        return sum(turn.missing for turn in self.turns)

    def add(self, sender: int, n: int, t: int, data: bytes, missing: int = 0) -> None:
        """Take in the next bytes of one end, after `missing` ones."""
        room = max(0, LIMIT - self._kept[sender])
        self.left_out[sender] += max(0, len(data) - room)
        self._kept[sender] += min(len(data), room)
        if not self.turns or self.turns[-1].sender != sender or missing:
            self.turns.append(Turn(sender, n, t, bytearray(), missing))
        self.turns[-1].data += data[:room]

    def _rows(self, turns: int, wide: int) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for turn in self.turns[:turns]:
            gap = f"[{turn.missing:,} bytes are not in the capture] " if turn.missing else ""
            text = bytes(turn.data[:wide]).decode("utf-8", "replace").replace("\r\n", "\n").replace("\n", " \u23ce ")
            more = f" \u2026 {len(turn.data):,} bytes" if len(turn.data) > wide else ""
            name = self._hosts.name(host_of(self.ends[turn.sender]))
            rows.append((f"{turn.n}", f"{turn.t / SECONDS:.6f}", name, f"{len(turn.data):,}", gap + visible(text, 2 * wide) + more))
        return rows

    def _title(self) -> str:
        (a, b), (to, back) = self.ends, (len(self.sent), len(self.received))
        return f"{self.protocol} {a} <-> {b}: {to:,} bytes there, {back:,} back, {len(self.turns)} turns"

    def _rest(self, shown: int) -> str:
        told = [f"{len(self.turns) - shown:,} more turns"] if len(self.turns) > shown else []
        told += [f"{sum(self.left_out):,} bytes beyond {LIMIT >> 20} MiB left out"] if sum(self.left_out) else []
        return ", ".join(told)

    def __repr__(self) -> str:
        lines = [self._title(), *(f"{n:>6} {t} {name}: {text}" for n, t, name, _, text in self._rows(6, 120))]
        return "\n".join([*lines, rest] if (rest := self._rest(6)) else lines)

    def _repr_html_(self) -> str:
        rows = self._rows(_TURNS, _WIDE)
        colours = [self._hosts.meet(name) for _, _, name, _, _ in rows]
        return html_table(("n", "time (s)", "from", "bytes", "said"), rows, caption=self._title(), note=self._rest(_TURNS), colours=colours)


class _Half:
    """One direction of a TCP connection being put together."""

    __slots__ = ("base", "early", "fin", "next")

    def __init__(self) -> None:
        self.base: int | None = None
        self.next = 0
        self.fin: int | None = None
        self.early: list[tuple[int, int, Segment]] = []

    def place(self, number: int) -> int:
        if self.base is None:
            self.base = number
        return self.next + ((number - self.base - self.next + _HALF) % _WRAP) - _HALF


def connection(capture: Capture, wanted: Flow | str | int) -> Selection:
    """Return the frames of a flow's connection, both directions.  Raises ValueError when there is no such flow."""
    found = flows(segments(capture))
    chosen = found[wanted.number] if isinstance(wanted, Flow) and wanted.number < len(found) else pick(found, wanted)
    both = (chosen, found[chosen.number ^ 1])
    numbers = {one.n for flow in both for one in flow.sent} | {one.n for flow in both for one in flow.acked}
    selected = Selection(capture.source if isinstance(capture, Selection) else capture, f"{capture.name}, {chosen.name}")
    for n in sorted(numbers):
        frame = capture.frame_number(n)
        if frame is not None:
            selected.add(frame)
    return selected


def follow(capture: Capture, n: int, hosts: Hosts | None = None) -> Stream:
    """Return what was said in the TCP connection, or between the UDP ports, that frame `n` belongs to.

    Raises ValueError when there is no such frame, or it is neither TCP nor UDP.
    """
    frame = capture.frame_number(n)
    if frame is None:
        raise ValueError(f"{capture.name} has no frame {n}")
    wanted = next((head for head in heads(capture) if head.n == n), None)
    if wanted is None or not wanted.sport or wanted.proto not in (TCP, UDP):
        raise ValueError(f"frame {n} of {capture.name} is neither TCP nor UDP: there is no stream to follow")
    return _tcp(capture, n, hosts) if wanted.proto == TCP else _udp(capture, wanted, hosts)


def _udp(capture: Capture, wanted: Head, hosts: Hosts | None) -> Stream:
    a, b = (wanted.src, wanted.sport), (wanted.dst, wanted.dport)
    stream: Stream | None = None
    first = a
    for head in heads(capture):
        there, back = (head.src, head.sport), (head.dst, head.dport)
        if head.proto != UDP or head.lost or {there, back} != {a, b}:
            continue
        if stream is None:
            first = there
            stream = Stream((f"{there[0]}:{there[1]}", f"{back[0]}:{back[1]}"), "UDP", hosts)
        stream.add(int(there != first), head.n, head.t, head.data[head.at + 8 : head.end])
    return stream if stream is not None else Stream((f"{a[0]}:{a[1]}", f"{b[0]}:{b[1]}"), "UDP", hosts)


def _tcp(capture: Capture, n: int, hosts: Hosts | None) -> Stream:
    every = segments(capture)
    here = next((seen for seen in every if seen.n == n), None)
    if here is None:
        raise ValueError(f"frame {n} of {capture.name} is cut short: its TCP header is not there")
    ends = {here.src, here.dst}
    mine = [seen for seen in every if {seen.src, seen.dst} == ends]
    # The last SYN with a new sequence number at or before frame n opens its connection; the next one ends it.
    opened = [seen for seen in mine if seen.flags & (SYN | ACK) == SYN]
    starts = [seen for place, seen in enumerate(opened) if not place or (seen.src, seen.seq) != (opened[place - 1].src, opened[place - 1].seq)]
    begun = max((seen.n for seen in starts if seen.n <= n), default=0)
    over = min((seen.n for seen in starts if seen.n > n), default=capture.last + 1)
    mine = [seen for seen in mine if begun <= seen.n < over and not seen.lost]
    opener = mine[0].src if begun or not mine else max(ends, key=lambda end: int(end.rpartition(":")[2]))
    stream = Stream((opener, next(iter(ends - {opener}), opener)), "TCP", hosts)
    halves = (_Half(), _Half())
    for seen in mine:
        sender = int(seen.src != opener)
        _take(stream, halves[sender], sender, seen)
        other = halves[1 - sender]
        if seen.flags & ACK and not seen.flags & (RST | SYN):
            _told(stream, other, 1 - sender, other.place(seen.ack), seen.n, seen.t)
    for sender, half in enumerate(halves):
        _flush(stream, half, sender)
    return stream


def _take(stream: Stream, half: _Half, sender: int, seen: Segment) -> None:
    """A segment: its bytes are said now, or wait for those before them."""
    seq = half.place(seen.seq)
    if seen.flags & SYN:
        half.next = max(half.next, seq + 1)
        seq += 1
    if seen.flags & FIN:
        half.fin = seq + seen.length
    if seen.length and seq + seen.length > half.next:
        heappush(half.early, (seq, seen.n, seen))
        _ready(stream, half, sender)
        if len(half.early) > WAITING:
            _told(stream, half, sender, half.early[0][0])


def _ready(stream: Stream, half: _Half, sender: int, missing: int = 0) -> None:
    """Say all that is next, after `missing` bytes that never came."""
    while half.early and half.early[0][0] <= half.next:
        seq, _, seen = heappop(half.early)
        skip = half.next - seq
        if skip < seen.length:
            data = seen.payload[skip:]
            half.next = seq + seen.length
            stream.add(sender, seen.n, seen.t, data, missing)
            missing = 0
            if len(data) < seen.length - skip:
                stream.add(sender, seen.n, seen.t, b"", seen.length - skip - len(data))


def _told(stream: Stream, half: _Half, sender: int, upto: int, n: int = 0, t: int = 0) -> None:
    """The other end has all before `upto`, it said in frame `n`: what is not there by now will not come."""
    if half.fin is not None:
        upto = min(upto, half.fin)
    while half.next < upto:
        reach = min(upto, half.early[0][0]) if half.early else upto
        gap = max(0, reach - half.next)
        half.next += gap
        if half.early and half.early[0][0] <= half.next:
            _ready(stream, half, sender, gap)
        else:
            stream.add(sender, n, t, b"", gap)


def _flush(stream: Stream, half: _Half, sender: int) -> None:
    """The capture is over: what waits is said, gaps and all."""
    while half.early:
        seq, n, seen = half.early[0]
        _told(stream, half, sender, seq + 1, n, seen.t)
        _ready(stream, half, sender)
