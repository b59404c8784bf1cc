"""TCP segments (RFC 9293 section 3.1) and the options of connection set-up.

    source 2 | destination 2 | sequence 4 | acknowledgment 4 | offset 4 bits, flags 1 | window 2 | checksum 2 | urgent 2

Options are kept raw; `parse_options` reads them.  An option whose length is 0 or 1, or reaches past the header, is a
WireError: in 2014 a length of 0 made the unikernel loop for ever.
"""

from __future__ import annotations

import struct

from mirage_lab.tcpip.wire.error import WireError

__all__ = ["ACK", "FIN", "HEADER", "PSH", "RST", "SYN", "URG", "Options", "Segment", "decode", "encode", "flag_names", "parse_options"]

FIN = 1
SYN = 2
RST = 4
PSH = 8
ACK = 16
URG = 32
HEADER = 20
PROTO = 6
_LAYOUT = struct.Struct(">HHIIBBHHH")
_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"), (URG, "URG"))


class Segment:
    """A segment: ports, `seq`, `ack`, `flags`, `window` as sent (unscaled), raw `options`, `payload`."""

    __slots__ = ("ack", "dst_port", "flags", "options", "payload", "seq", "src_port", "window")

    def __init__(self, src_port: int, dst_port: int, seq: int, ack: int, flags: int, window: int, options: bytes = b"", payload: bytes = b"") -> None:
        self.src_port = src_port
        self.dst_port = dst_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.options = options
        self.payload = payload

    @property
    def length(self) -> int:
        """Sequence numbers it takes: data, SYN and FIN."""
        return len(self.payload) + (self.flags & 1) + (self.flags >> 1 & 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.src_port, self.dst_port, self.seq, self.ack, self.flags))

    def __repr__(self) -> str:
        return f"<{self.src_port} -> {self.dst_port} {flag_names(self.flags)} seq={self.seq} ack={self.ack} win={self.window} len={len(self.payload)}>"


class Options:
    """What set-up options say: `mss`, `wscale` (None: not offered), `sack_ok`."""

    __slots__ = ("mss", "sack_ok", "wscale")

    def __init__(self, mss: int | None = None, wscale: int | None = None, sack_ok: bool = False) -> None:
        self.mss = mss
        self.wscale = wscale
        self.sack_ok = sack_ok

    def encode(self) -> bytes:
        """Return the options, padded to a multiple of four."""
        out = b"" if self.mss is None else b"\x02\x04" + self.mss.to_bytes(2, "big")
        if self.wscale is not None:
            out += b"\x01\x03\x03" + bytes((self.wscale,))
        if self.sack_ok:
            out += b"\x01\x01\x04\x02"
        return out


def flag_names(flags: int) -> str:
    """Return `SYN ACK`."""
    return " ".join(name for bit, name in _NAMES if flags & bit) or "none"


def parse_options(raw: bytes) -> Options:
    """Read the options of a SYN; unknown ones are skipped by their length.  Raises WireError."""
    found, at, end = Options(), 0, len(raw)
    while at < end:
        kind = raw[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = raw[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            raise WireError(f"TCP option {kind} says it has {length} bytes; {end - at} are left")
        if kind == 2 and length == 4:
            found.mss = raw[at + 2] << 8 | raw[at + 3]
        elif kind == 3 and length == 3:
            found.wscale = min(raw[at + 2], 14)
        elif kind == 4 and length == 2:
            found.sack_ok = True
        at += length
    return found


def decode(buf: bytes) -> Segment:
    """Read a segment (its checksum is verified where the addresses are known).  Raises WireError."""
    size = len(buf)
    if size < HEADER:
        raise WireError(f"a TCP segment of {size} bytes; the header alone has {HEADER}")
    src_port, dst_port, seq, ack, offset, flags, window, _, _ = _LAYOUT.unpack_from(buf)
    start = offset >> 4 << 2
    if start == HEADER:
        return Segment(src_port, dst_port, seq, ack, flags, window, b"", buf[HEADER:])
    if start < HEADER or start > size:
        raise WireError(f"a TCP header of {start} bytes in a segment of {size}")
    options = buf[HEADER:start]
    parse_options(options)
    return Segment(src_port, dst_port, seq, ack, flags, window, options, buf[start:])


def encode(segment: Segment, pseudo: int) -> bytes:
    """Return the segment with its checksum; `pseudo` is `checksum.pseudo_v4(src, dst, 6, 0)`, without the length."""
    options, payload = segment.options, segment.payload
    start = HEADER + len(options)
    head = _LAYOUT.pack(
        segment.src_port, segment.dst_port, segment.seq, segment.ack, start << 2, segment.flags, segment.window, 0, 0
    )
    blank = head + options + payload if options else head + payload
    size = len(blank)
    total = int.from_bytes(blank, "big")
    if size & 1:
        total <<= 8
    check = 0xFFFF - ((total + pseudo + size) % 0xFFFF or 0xFFFF)
    return b"%b%b%b" % (blank[:16], check.to_bytes(2, "big"), blank[18:])
