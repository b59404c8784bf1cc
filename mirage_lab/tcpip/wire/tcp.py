"""TCP segments (RFC 9293 section 3.1) and their options.

    source 2 | destination 2 | sequence 4 | acknowledgment 4 | offset 4 bits, flags 1 | window 2 | checksum 2 | urgent 2

    kind  length
       0          end of the list
       1          nothing, to align what follows
       2       4  MSS: the largest segment its sender takes       in a SYN   RFC 9293 section 3.7.1
       3       3  window scale: shift every later window by it    in a SYN   RFC 7323 section 2
       4       2  SACK permitted                                  in a SYN   RFC 2018 section 2
       5  2 + 8n  SACK: n blocks that have arrived, left, right   later      RFC 2018 section 3; D-SACK RFC 2883
       8      10  timestamps: TSval, TSecr                        in each    RFC 7323 section 3

Options are kept raw; `parse_options` reads them.  An option whose length is 0 or 1, reaches past the header, or is not the
length of its kind is a WireError: in 2014 a length of 0 made the unikernel loop for ever.  The urgent pointer is not read:
no stack of today delivers urgent data apart (RFC 6093).
"""

from __future__ import annotations

import struct

from mirage_lab.tcpip.wire.checksum import folded
from mirage_lab.tcpip.wire.error import WireError

__all__ = [
    "ACK",
    "CE",
    "CWR",
    "ECE",
    "ECT0",
    "FIN",
    "HEADER",
    "PSH",
    "RST",
    "SYN",
    "TIMESTAMPED",
    "URG",
    "Options",
    "Segment",
    "decode",
    "encode",
    "flag_names",
    "parse_options",
    "timestamps",
]

FIN = 1
SYN = 2
RST = 4
PSH = 8
ACK = 16
URG = 32
ECE = 64
CWR = 128
"""Congestion was met, the window was reduced (RFC 3168 section 6.1)."""
ECT0 = 2
CE = 3
"""In IP's two ECN bits: my transport understands; a queue on the way was filling up."""
HEADER = 20
PROTO = 6
BLOCKS = 4
"""SACK blocks that fit beside nothing else; three beside timestamps."""
TIMESTAMPED = b"\x01\x01\x08\x0a"
"""How timestamps begin when they are the only option (RFC 7323 appendix A)."""
_LAYOUT = struct.Struct(">HHIIBBHHH")
_STAMPS = struct.Struct(">II")
_STAMPED = struct.Struct(">III")
_TWO = struct.Struct(">II")
_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"), (URG, "URG"), (ECE, "ECE"), (CWR, "CWR"))
_LENGTHS = {2: 4, 3: 3, 4: 2, 8: 10}


class Segment:
    """A segment: ports, `seq`, `ack`, `flags`, `window` as sent (unscaled), raw `options`, `payload`.

    `ecn`: the two bits of the IP header it travels in (0, ECT0, CE); they are no part of its bytes.
    """

    __slots__ = ("ack", "dst_port", "ecn", "flags", "options", "payload", "seq", "src_port", "window")

    def __init__(
        self, src_port: int, dst_port: int, seq: int, ack: int, flags: int, window: int, options: bytes = b"", payload: bytes = b"", ecn: int = 0
    ) -> None:
        self.src_port = src_port
        self.dst_port = dst_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.options = options
        self.payload = payload
        self.ecn = ecn

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
    """What options say: `mss`, `wscale` (None: not offered), `sack_ok`, `stamps` (TSval, TSecr) and `sack` (pairs of edges)."""

    __slots__ = ("mss", "sack", "sack_ok", "stamps", "wscale")

    def __init__(
        self,
        mss: int | None = None,
        wscale: int | None = None,
        sack_ok: bool = False,
        stamps: tuple[int, int] | None = None,
        sack: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.mss = mss
        self.wscale = wscale
        self.sack_ok = sack_ok
        self.stamps = stamps
        self.sack = sack

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value}" for name in self.__slots__ if (value := getattr(self, name)) not in (None, False, ()))
        return f"Options({said})"

    def encode(self) -> bytes:
        """Return the options, padded to a multiple of four; of `sack`, as many blocks as still fit in 40 bytes."""
        out = b"" if self.mss is None else b"\x02\x04" + self.mss.to_bytes(2, "big")
        if self.stamps is not None:
            out += (b"\x04\x02\x08\x0a" if self.sack_ok else TIMESTAMPED) + _STAMPS.pack(*self.stamps)
        elif self.sack_ok:
            out += b"\x01\x01\x04\x02"
        if self.wscale is not None:
            out += b"\x01\x03\x03" + bytes((self.wscale,))
        room = (40 - len(out) - 4) // 8
        blocks = self.sack[: min(room, BLOCKS)] if room > 0 else ()
        if blocks:
            out += bytes((1, 1, 5, 2 + 8 * len(blocks))) + b"".join(_TWO.pack(left, right) for left, right in blocks)
        return out


def flag_names(flags: int) -> str:
    """Return `SYN ACK`."""
    return " ".join(name for bit, name in _NAMES if flags & bit) or "none"


def timestamps(value: int, echo: int) -> bytes:
    """Return the options of a segment that carries nothing but timestamps: 12 bytes."""
    return _STAMPED.pack(0x0101080A, value, echo)


def parse_options(raw: bytes) -> Options:
    """Read options; unknown ones are skipped by their length.  Raises WireError."""
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
        if length != _LENGTHS.get(kind, length) or (kind == 5 and (length < 10 or length & 7 != 2)):
            raise WireError(f"TCP option {kind} says it has {length} bytes; its kind has {_LENGTHS.get(kind, '2 + 8n')}")
        if kind == 2:
            found.mss = raw[at + 2] << 8 | raw[at + 3]
        elif kind == 3:
            found.wscale = min(raw[at + 2], 14)
        elif kind == 4:
            found.sack_ok = True
        elif kind == 5:
            found.sack = tuple(_TWO.iter_unpack(raw[at + 2 : at + length]))
        elif kind == 8:
            found.stamps = _STAMPS.unpack_from(raw, at + 2)
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
    if start != 32 or not buf.startswith(TIMESTAMPED, HEADER):
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
    total = folded(int.from_bytes(blank, "big"), size)
    if size & 1:
        total <<= 8
    check = 0xFFFF - ((total + pseudo + size) % 0xFFFF or 0xFFFF)
    return b"%b%b%b" % (blank[:16], check.to_bytes(2, "big"), blank[18:])
