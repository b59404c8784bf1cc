"""tcpstory: a story of one TCP connection, a step a line, told to the engine in virtual time.

    tcp_story('''
        listen
        at 0.1 s receive SYN seq 0 win 8000 mss 1000      # the peer's number of its SYN is 0, and so is ours
        expect SYN ACK seq 0 ack 1 mss 1460
        at 0.2 s receive ACK
        expect state ESTABLISHED
        receive ACK PSH data 100
        expect ACK ack 101
    ''')

    connect, listen, close, abort            what the program does; write N, read N: bytes 0, 1, 2, ... of a known pattern
    receive FLAGS FIELDS                     a segment arrives; without `seq`, `ack` and `win` it is the peer's next, has all of
                                             ours, and the window that was said last
    expect FLAGS FIELDS                      the next segment that was sent, at this time: flags (PSH may be left out), bytes of
                                             data (0 when not said), and every field that is said
    expect nothing                           nothing was sent since
    expect state NAME, expect error TEXT, expect event NAME
    at T STEP, after T STEP, within T STEP   time passes until T, for T, or at most for T until something is sent

    fields: seq N  ack N  win N  data N  mss N  wscale N  sackok  sack N-N  stamps N N  raw HEX (options as bytes)  ce  ect

Numbers are relative: the peer's count from its SYN, ours from ours; `win` is as in the header; T is "0.1 s", "40 ms", "5 us".
The first step that does not hold raises `Broken` with the steps before it, what was expected, what came, and every segment
up to it.  A line that is none is a LocalProtocolError.  The manner is that of packetdrill (Cardwell et al. 2013).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.pcb import Pcb, reset_for
from mirage_lab.tcpip.tcp.profile import profile_of
from mirage_lab.tcpip.tcp.states import State
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.tcpip.wire.seq import MASK
from mirage_lab.tcpip.wire.tcp import ACK, CE, ECT0, FIN, PSH, SYN, Options, Segment, decode, encode, flag_names, parse_options
from mirage_lab.testing.story import Story

__all__ = ["TcpStory", "tcp_story"]

ISS: Final = 0xFFFF_FF00
PEER: Final = 0x7FFF_FFF0
"""First sequence numbers near the places where a wrong comparison shows."""
PORTS: Final = (49_152, 80)
DEADLINES: Final = 100_000
SHOWN: Final = 24
FLAGS: Final = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": 4, "PSH": PSH, "URG": 32, "ECE": 64, "CWR": 128}
UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
NUMBERS: Final = ("seq", "ack", "win", "data", "mss", "wscale")
EXACT: Final = 500_000
"""A time in a story means this much about it, in ns."""


def pattern(start: int, size: int) -> bytes:
    """Return the bytes of a stream from `start` on."""
    return bytes((at * 7 + at // 251) & 0xFF for at in range(start, start + size))


@dataclass(slots=True)
class Told:
    """A segment as a line says it."""

    flags: int
    fields: dict[str, Any] = field(default_factory=dict)


def _time(words: list[str], line: str) -> Ns:
    """Take "0.1 s" or "0.1s" from the front."""
    first = words.pop(0) if words else ""
    unit = first.lstrip("0123456789.") or (words.pop(0) if words else "")
    number = first[: len(first) - len(unit)] if first.endswith(unit) else first
    try:
        return Ns(round(float(number) * UNITS[unit]))
    except (ValueError, KeyError):
        raise LocalProtocolError(f"{line!r}: a time is a number and s, ms or us, as in 0.1 s") from None


def _number(words: list[str], what: str, line: str) -> int:
    word = words.pop(0) if words else ""
    if not (word.isascii() and word.isdigit() and len(word) < 12):
        raise LocalProtocolError(f"{line!r}: {what} is a number, not {word!r}")
    return int(word)


def _segment(words: list[str], line: str) -> Told:
    told = Told(0)
    while words and words[0] in FLAGS:
        told.flags |= FLAGS[words.pop(0)]
    while words:
        word = words.pop(0).rstrip(",")
        if word in NUMBERS:
            told.fields[word] = _number(words, word, line)
        elif word in ("sackok", "ce", "ect"):
            told.fields[word] = True
        elif word == "stamps":
            told.fields[word] = (_number(words, word, line), _number(words, word, line))
        elif word == "sack":
            blocks = []
            while words and "-" in words[0]:
                edges = words.pop(0).rstrip(",").split("-")
                blocks.append((_number(edges, word, line), _number(edges, word, line)))
            told.fields[word] = tuple(blocks)
        elif word == "raw":
            try:
                told.fields[word] = bytes.fromhex(words.pop(0) if words else "")
            except ValueError:
                raise LocalProtocolError(f"{line!r}: raw is bytes in hex, as in 01020000") from None
        else:
            raise LocalProtocolError(f"{line!r}: {word!r} is no flag ({' '.join(FLAGS)}) and no field")
    return told


class TcpStory:
    """A connection and what has been told of it; `run(text)` tells more."""

    def __init__(self, title: str = "a TCP story", *, profile: str = "today", mss: int = 1_460, **changes: Any) -> None:
        """`changes`: numbers of the profile that differ, as in `nagle=False` (tcpip.tcp.profile has them)."""
        self.story = Story(title, "step", "held", "that does not hold")
        self.now = Ns(0)
        self.pcb = Pcb(*PORTS, ISS, replace(profile_of(profile), **changes), mss)
        self.moves: list[tuple[str, str]] = []
        self.listening = False
        self._sent: list[tuple[Ns, Segment]] = []
        self._log: list[str] = []
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._written = self._read = self._wrote = 0
        self._peer_next = 0
        self._window = 65_535

    def run(self, text: str) -> TcpStory:
        """Tell the steps of `text`; raises Broken at the first that does not hold, LocalProtocolError at a line that is none."""
        for raw in text.splitlines():
            line = " ".join(raw.split("#")[0].split())
            if line:
                self._tell(line, line.split())
                self.story.step(line)
        if self._sent:
            self.fail("nothing else is sent", "nothing", self._said(*self._sent[0]))
        return self

    def fail(self, promise: str, expected: str, came: str) -> None:
        """Raise the Broken of this story."""
        log = self._log[-SHOWN:] or ["nothing was sent or received"]
        self.story.fail(promise, f"expected  {expected}", f"came      {came}", f"state     {self.pcb.state.value}, t = {self.now / 1e9:.3f} s", "so far", *log)

    # the words ---------------------------------------------------------------------------------------------------

    def _tell(self, line: str, words: list[str]) -> None:
        word = words.pop(0)
        if word in ("at", "after", "within"):
            until = _time(words, line) + (0 if word == "at" else self.now)
            if until < self.now:
                raise LocalProtocolError(f"{line!r}: it is {self.now / 1e9:g} s already")
            self._pass(Ns(until), early=word == "within")
            if words:
                self._tell(line, words)
            return
        actions = {"connect": self._connect, "listen": self._listen, "close": self._close, "abort": self._abort}
        if word in ("connect", "listen") and (self.listening or self.pcb.state is not State.CLOSED or self.pcb.error):
            raise LocalProtocolError(f"{line!r}: a story opens one connection, once")
        if word in actions and not words:
            actions[word]()
        elif word == "write":
            size = _number(words, "write", line)
            taken = self.pcb.write(pattern(self._wrote, size))
            self._wrote += taken
            if taken != size:
                self.fail(line, f"{size} bytes are taken", f"{taken}")
        elif word == "read":
            self._read_bytes(line, _number(words, "read", line))
        elif word == "receive":
            self._receive(_segment(words, line), line)
        elif word == "expect":
            self._expect(line, words)
            return
        else:
            raise LocalProtocolError(f"{line!r}: a step begins with connect, listen, write, read, close, abort, receive, expect, at, after or within")
        if words:
            raise LocalProtocolError(f"{line!r}: {' '.join(words)!r} is too much")
        self._flush()

    def _connect(self) -> None:
        self.pcb.connect()

    def _listen(self) -> None:
        self.listening = True

    def _close(self) -> None:
        self.pcb.close()

    def _abort(self) -> None:
        self.pcb.abort()

    def _read_bytes(self, line: str, size: int) -> None:
        data = self.pcb.read()
        if data != pattern(self._read, size):
            same = data == pattern(self._read, len(data))
            self.fail(line, f"{size} bytes", f"{len(data)} bytes" if same else f"{len(data)} bytes, not those that were sent")
        self._read += size

    def _receive(self, told: Told, line: str) -> None:
        fields, flags = told.fields, told.flags
        seq = fields.get("seq", self._peer_next)
        ack = (ISS + fields["ack"]) & MASK if "ack" in fields else self.pcb.snd_nxt if flags & ACK else 0
        blocks = tuple(((ISS + left) & MASK, (ISS + right) & MASK) for left, right in fields.get("sack", ()))
        offered = Options(fields.get("mss"), fields.get("wscale"), "sackok" in fields, fields.get("stamps"), blocks)
        options = fields.get("raw", offered.encode())
        self._window = fields.get("win", self._window)
        size = fields.get("data", 0)
        payload = pattern(seq - (0 if flags & SYN else 1), size) if size else b""
        segment = Segment(PORTS[1], PORTS[0], (PEER + seq) & MASK, ack, flags, self._window, options, payload)
        self._peer_next = max(self._peer_next, seq + segment.length)
        self._log.append(f"{self.now / 1e9:9.3f} s  <- {self._words(segment, seq, fields.get('ack'))}")
        try:
            segment = decode(encode(segment, 0))
        except WireError as error:
            self._events.append(("malformed", {"text": str(error)}))
            return
        segment.ecn = CE if "ce" in fields else ECT0 if "ect" in fields else 0
        if self.pcb.state is State.CLOSED and self.listening and not self.pcb.error and flags & (SYN | ACK | 4 | FIN) == SYN:
            self.pcb.accept(segment)
        elif self.pcb.state is State.CLOSED:
            answer = reset_for(segment)
            if answer is not None:
                self._send(answer)
        else:
            self.pcb.receive(segment, self.now)

    # what comes of it ---------------------------------------------------------------------------------------------

    def _pass(self, until: Ns, *, early: bool) -> None:
        """Let time pass; `early`: only until something is sent."""
        for _ in range(DEADLINES):
            at = self.pcb.next_deadline()
            if (early and self._sent) or at is None or at > until:
                break
            self.now = max(self.now, at)
            self.pcb.on_deadline(self.now)
            self._flush()
        else:
            raise LocalProtocolError(f"the connection has something to do {DEADLINES:,} times before {until / 1e9:g} s")
        if not (early and self._sent):
            self.now = until

    def _flush(self) -> None:
        for segment in self.pcb.transmit(self.now):
            self._send(segment)
        for name, fields in self.pcb.remarks:
            self._events.append((name, fields))
            if name == "tcp.state":
                self.moves.append((fields["old"], fields["why"]))
                self._log.append(f"{self.now / 1e9:9.3f} s  {fields['old']} -> {fields['new']} ({fields['why']})")
        self.pcb.remarks.clear()

    def _send(self, segment: Segment) -> None:
        segment = decode(encode(segment, 0)) if segment.options or segment.payload else segment
        self._sent.append((self.now, segment))
        self._log.append(f"{self.now / 1e9:9.3f} s  -> {self._ours(segment)}")

    def _ours(self, segment: Segment) -> str:
        ack = (segment.ack - PEER) & MASK if segment.flags & ACK else None
        return self._words(segment, (segment.seq - ISS) & MASK, ack)

    def _words(self, segment: Segment, seq: int, ack: int | None) -> str:
        told = [flag_names(segment.flags), f"seq {seq}"] + ([] if ack is None else [f"ack {ack}"])
        told += [f"win {segment.window}"] + ([f"data {len(segment.payload)}"] if segment.payload else [])
        try:
            options = parse_options(segment.options)
        except WireError:
            return " ".join([*told, f"raw {segment.options.hex()}"])
        told += [f"{name} {value}" for name in ("mss", "wscale") if (value := getattr(options, name)) is not None]
        told += ["sackok"] if options.sack_ok else []
        told += [f"stamps {options.stamps[0]} {options.stamps[1]}"] if options.stamps else []
        start = PEER if (segment.src_port, segment.dst_port) == PORTS else ISS
        told += ["sack " + " ".join(f"{(left - start) & MASK}-{(right - start) & MASK}" for left, right in options.sack)] if options.sack else []
        return " ".join(told)

    def _said(self, at: Ns, segment: Segment) -> str:
        return f"{self._ours(segment)}, sent at {at / 1e9:.3f} s"

    def _expect(self, line: str, words: list[str]) -> None:
        kind = words[0] if words else ""
        if kind == "nothing":
            if self._sent:
                self.fail(line, "nothing", self._said(*self._sent[0]))
        elif kind == "state":
            if self.pcb.state.value != " ".join(words[1:]):
                self.fail(line, " ".join(words[1:]), self.pcb.state.value)
        elif kind == "error":
            if self.pcb.error != " ".join(words[1:]):
                self.fail(line, " ".join(words[1:]), self.pcb.error or "none")
        elif kind == "event":
            names = [name if name != "tcp.drop" else f"tcp.drop {fields['reason']}" for name, fields in self._events]
            self._events.clear()
            if " ".join(words[1:]) not in names:
                self.fail(line, " ".join(words[1:]), ", ".join(names) or "none")
        else:
            self._expect_segment(line, _segment(words, line))

    def _expect_segment(self, line: str, told: Told) -> None:
        if not self._sent:
            self.fail(line, line.partition("expect ")[2], "nothing was sent")
        at, segment = self._sent.pop(0)
        options = parse_options(segment.options)
        size = told.fields.get("data", 0)
        start = (segment.seq - ISS - 1) & MASK
        came: dict[str, Any] = {
            "seq": (segment.seq - ISS) & MASK,
            "ack": (segment.ack - PEER) & MASK,
            "win": segment.window,
            "mss": options.mss,
            "wscale": options.wscale,
            "sackok": options.sack_ok,
            "stamps": options.stamps,
            "sack": tuple(((left - PEER) & MASK, (right - PEER) & MASK) for left, right in options.sack),
            "raw": segment.options,
            "data": len(segment.payload),
        }
        flags = segment.flags if told.flags & PSH else segment.flags & ~PSH
        right = flags == told.flags and all(came.get(name, True) == value for name, value in {**told.fields, "data": size}.items())
        if not right or abs(at - self.now) > EXACT or (size and segment.payload != pattern(start, size)):
            when = f" at {self.now / 1e9:.3f} s"
            self.fail(line, line.partition("expect ")[2] + when, self._said(at, segment))


def tcp_story(text: str, title: str = "a TCP story", *, profile: str = "today", mss: int = 1_460, **changes: Any) -> Story:
    """Tell a story to a connection and return it with its steps ticked.

    Raises Broken at the first step that does not hold, with every segment up to it; LocalProtocolError at a line that is none.
    """
    return TcpStory(title, profile=profile, mss=mss, **changes).run(text).story
