"""pcapng and pcap files with nanoseconds (draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap), for Wireshark and tshark.

    pcapng block:  type 4 | total length 4 | body, padded to 4 | total length 4
    SHB 0x0a0d0d0a   byte-order magic 0x1a2b3c4d, version 1.0, section length -1, options
    IDB 1            link type 1 (Ethernet), snaplen 0, if_name, if_tsresol 9 (ns)          one for each port, when first seen
    EPB 6            interface 4 | time high 4 | time low 4 | captured 4 | original 4 | data | opt_comment

Written little-endian.  The reader takes both byte orders and, for pcap, micro- and nanoseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mirage_lab.signatures.errors import RemoteProtocolError

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture

__all__ = ["PcapError", "Record", "Writer", "load", "save"]

SHB: Final = 0x0A0D0D0A
IDB: Final = 1
EPB: Final = 6
MAGIC: Final = 0x1A2B3C4D
PCAP_US: Final = 0xA1B2C3D4
PCAP_NS: Final = 0xA1B23C4D
ETHERNET: Final = 1
COMMENT: Final = 1
IF_NAME: Final = 2
IF_TSRESOL: Final = 9
LARGEST: Final = 1 << 20
SNAPLEN: Final = 262_144


class PcapError(RemoteProtocolError):
    """A file that is not pcap or pcapng, or whose blocks lie about their length."""


@dataclass(frozen=True, slots=True)
class Record:
    """One packet of a file: Unix time (ns), bytes, the interface's name and the comment."""

    time_ns: int
    data: bytes
    port: str = ""
    comment: str = ""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


class Writer:
    """Writes pcapng to an open binary file; `epoch_ns` is the Unix time (ns) of t = 0."""

    def __init__(self, file: IO[bytes], *, epoch_ns: int) -> None:
        self._file = file
        self._epoch_ns = epoch_ns
        self._interfaces: dict[str, int] = {}
        application = _option(4, b"mirage_lab") + _option(0, b"")
        file.write(_block(SHB, struct.pack("<IHHq", MAGIC, 1, 0, -1) + application))

    def frame(self, t: int, data: bytes, port: str = "", comment: str = "") -> None:
        """Write a frame seen at virtual time `t` (ns)."""
        interface = self._interfaces.get(port)
        if interface is None:
            interface = self._interfaces[port] = len(self._interfaces)
            name = _option(IF_NAME, port.encode()[:255]) if port else b""
            options = name + _option(IF_TSRESOL, b"\x09") + _option(0, b"")
            self._file.write(_block(IDB, struct.pack("<HHI", ETHERNET, 0, SNAPLEN) + options))
        when = self._epoch_ns + t
        body = struct.pack("<IIIII", interface, when >> 32, when & 0xFFFF_FFFF, len(data), len(data)) + data + bytes(-len(data) % 4)
        if comment:
            body += _option(COMMENT, comment.encode()[:1_000]) + _option(0, b"")
        self._file.write(_block(EPB, body))


def save(capture: Capture, path: Path, *, epoch_ns: int) -> None:
    """Write a capture's frames as pcapng, or as pcap (ns) when `path` ends in .pcap.  Raises OSError."""
    with path.open("wb") as file:
        if path.suffix == ".pcap":
            file.write(struct.pack("<IHHiIII", PCAP_NS, 2, 4, 0, 0, SNAPLEN, ETHERNET))
            for frame in capture.frames:
                seconds, ns = divmod(epoch_ns + frame.t, 1_000_000_000)
                file.write(struct.pack("<IIII", seconds, ns, len(frame.data), len(frame.data)) + frame.data)
            return
        writer = Writer(file, epoch_ns=epoch_ns)
        for frame in capture.frames:
            writer.frame(frame.t, frame.data, frame.port, "" if frame.fate == "delivered" else frame.fate)


def load(path: Path) -> list[Record]:
    """Read the packets of a pcap or pcapng file.  Raises PcapError, OSError."""
    return list(parse(path.read_bytes()))


def parse(buf: bytes) -> Iterator[Record]:
    """Read packets from the bytes of a file.  Raises PcapError."""
    if len(buf) < 12:
        raise PcapError(f"{len(buf)} bytes are no capture file")
    (magic,) = struct.unpack_from("<I", buf)
    if magic == SHB:
        yield from _blocks(buf)
        return
    for order in "<>":
        (magic,) = struct.unpack_from(order + "I", buf)
        if magic in (PCAP_US, PCAP_NS):
            yield from _classic(buf, order, 1_000 if magic == PCAP_US else 1)
            return
    raise PcapError(f"{buf[:4].hex()} begins neither a pcap nor a pcapng file")


def _classic(buf: bytes, order: str, unit: int) -> Iterator[Record]:
    if len(buf) < 24:
        raise PcapError(f"a pcap header of {len(buf)} bytes; it has 24")
    at = 24
    while at < len(buf):
        if len(buf) - at < 16:
            raise PcapError(f"byte {at}: a record header is cut short")
        seconds, fraction, size, _ = struct.unpack_from(order + "IIII", buf, at)
        at += 16
        if size > LARGEST or size > len(buf) - at:
            raise PcapError(f"byte {at}: a packet says it has {size} bytes; {len(buf) - at} are left")
        yield Record(seconds * 1_000_000_000 + fraction * unit, buf[at : at + size])
        at += size


def _blocks(buf: bytes) -> Iterator[Record]:
    at, order = 0, "<"
    interfaces: list[tuple[str, int]] = []
    while at < len(buf):
        if len(buf) - at < 12:
            raise PcapError(f"byte {at}: a block is cut short")
        (kind,) = struct.unpack_from(order + "I", buf, at)
        if kind == SHB:
            (magic,) = struct.unpack_from("<I", buf, at + 8)
            order = "<" if magic == MAGIC else ">"
            interfaces = []
            if struct.unpack_from(order + "I", buf, at + 8)[0] != MAGIC:
                raise PcapError(f"byte {at}: the byte-order magic is {magic:#x}")
        (length,) = struct.unpack_from(order + "I", buf, at + 4)
        if length < 12 or length % 4 or length > len(buf) - at:
            raise PcapError(f"byte {at}: a block says it has {length} bytes; {len(buf) - at} are left")
        body = buf[at + 8 : at + length - 4]
        if kind == IDB:
            interfaces.append(_interface(body, order, at))
        elif kind == EPB:
            yield _packet(body, order, interfaces, at)
        at += length


def _interface(body: bytes, order: str, at: int) -> tuple[str, int]:
    """Return name and units a second."""
    if len(body) < 8:
        raise PcapError(f"byte {at}: an interface description is cut short")
    options = _options(body[8:], order, at)
    resolution = options.get(IF_TSRESOL, b"\x06")[:1] or b"\x06"
    power = resolution[0] & 0x7F
    if power > (62 if resolution[0] & 0x80 else 18):
        raise PcapError(f"byte {at}: a time resolution of {resolution[0]:#x}")
    units = 1 << power if resolution[0] & 0x80 else 10**power
    return options.get(IF_NAME, b"").decode("utf-8", "replace"), units


def _packet(body: bytes, order: str, interfaces: list[tuple[str, int]], at: int) -> Record:
    if len(body) < 20:
        raise PcapError(f"byte {at}: a packet block is cut short")
    number, high, low, size, _ = struct.unpack_from(order + "IIIII", body)
    if number >= len(interfaces):
        raise PcapError(f"byte {at}: interface {number} was not described")
    if size > LARGEST or size > len(body) - 20:
        raise PcapError(f"byte {at}: a packet says it has {size} bytes; {len(body) - 20} are left")
    name, units = interfaces[number]
    options = _options(body[20 + size + (-size % 4) :], order, at)
    comment = options.get(COMMENT, b"").decode("utf-8", "replace")
    return Record((high << 32 | low) * 1_000_000_000 // units, body[20 : 20 + size], name, comment)


def _options(buf: bytes, order: str, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    here = 0
    while here + 4 <= len(buf):
        code, size = struct.unpack_from(order + "HH", buf, here)
        if code == 0:
            break
        if here + 4 + size > len(buf):
            raise PcapError(f"byte {at}: option {code} says it has {size} bytes; {len(buf) - here - 4} are left")
        found.setdefault(code, buf[here + 4 : here + 4 + size])
        here += 4 + size + (-size % 4)
    return found
