"""pcapng and pcap files with nanoseconds (draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap), written for Wireshark and tshark.

    pcapng block:  type 4 | total length 4 | body, padded to 4 | total length 4
    SHB 0x0a0d0d0a   byte-order magic 0x1a2b3c4d, version 1.0, section length -1, options
    IDB 1            link type 1 (Ethernet), snaplen 0, if_name, if_tsresol 9 (ns)          one for each port, when first seen
    EPB 6            interface 4 | time high 4 | time low 4 | captured 4 | original 4 | data | opt_comment

Written little-endian.  `savefile` reads them, and those of others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mirage_lab.signatures.errors import RemoteProtocolError

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture

__all__ = ["PcapError", "Record", "Writer", "save"]

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
    """A file that is not pcap or pcapng, or whose records lie about their length."""


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
