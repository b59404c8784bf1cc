"""savefile: the packets of a capture file, whoever wrote it, one at a time and in bounded memory.

    pcap     magic 0xa1b2c3d4 (us) or 0xa1b23c4d (ns), both byte orders       draft-ietf-opsawg-pcap
             seconds 4 | fraction 4 | captured 4 | original 4 | data
    pcapng   SHB, IDB, EPB, SPB and the obsolete PB; any if_tsresol, if_tsoffset; other blocks are skipped
                                                                              draft-ietf-opsawg-pcapng
    either inside gzip (RFC 1952), one member or several

Every packet comes out as an Ethernet frame.  What was captured without Ethernet (raw IP, Linux "cooked" v1 and v2, BSD
loopback) gets a header of 14 bytes whose addresses are those that are known, else zero; other link types are refused.

Whatever the bytes are, they are read or end in one PcapError that names the place.  Nothing larger than a packet is kept,
a gzip that unfolds to more than `UNFOLDED` + `RATIO` times its size is refused, and a block that nobody wants is passed over
in pieces, so a lie about a length costs no memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Protocol

from mirage_lab.tracing.pcapng import COMMENT, EPB, ETHERNET, IDB, IF_NAME, IF_TSRESOL, LARGEST, MAGIC, PCAP_NS, PCAP_US, SHB, PcapError, Record

__all__ = ["RATIO", "UNFOLDED", "load", "parse", "read"]

PB: Final = 2
SPB: Final = 3
IF_TSOFFSET: Final = 14
INTERFACES: Final = 4_096
BLOCK: Final = LARGEST + (1 << 17)
"""The longest block that is read as a whole: a packet and its options."""
UNFOLDED: Final = 64 << 20
RATIO: Final = 250
"""Deflate can unfold 1,032 times; captures of real traffic seldom do 50 times."""
CHUNK: Final = 1 << 16
LATEST: Final = 1 << 63
NS: Final = 1_000_000_000

RAW: Final = (12, 14, 101, 228, 229)
LOOPBACK: Final = (0, 108)
COOKED: Final = 113
COOKED2: Final = 276
_ETHERTYPES: Final = {4: b"\x08\x00", 6: b"\x86\xdd"}
_PACKERS: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\xfd7zX": "xz", b"BZh9": "bzip2", b"PK\x03\x04": "zip"}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Gunzip:
    """Unfolds gzip members one after the other, a piece at a time."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._unfolding = zlib.decompressobj(wbits=31)
        self._rest = b""
        self._piece = memoryview(b"")
        self._taken = self._given = 0

    def read(self, size: int, /) -> bytes:
        out = bytearray()
        while len(out) < size:
            if not len(self._piece):
                self._piece = memoryview(self._more())
                if not len(self._piece):
                    break
            part = self._piece[: size - len(out)]
            out += part
            self._piece = self._piece[len(part) :]
        return bytes(out)

    def _more(self) -> bytes:
        """Return the next piece, b"" at the end of the file."""
        while True:
            if not self._rest:
                self._rest = self._file.read(CHUNK)
                self._taken += len(self._rest)
            if self._unfolding.eof:
                self._rest = self._rest.lstrip(b"\0")
                if not self._rest:
                    if self._file_ended():
                        return b""
                    continue
                self._unfolding = zlib.decompressobj(wbits=31)
            if not self._rest:
                raise PcapError(f"the gzip file ends after {self._taken:,} bytes, in the middle")
            try:
                piece = self._unfolding.decompress(self._rest, 4 * CHUNK)
            except zlib.error as error:
                raise PcapError(f"before byte {self._taken:,} of the gzip file: {error}") from None
            self._rest = self._unfolding.unused_data if self._unfolding.eof else self._unfolding.unconsumed_tail
            self._given += len(piece)
            if self._given > UNFOLDED + RATIO * self._taken:
                raise PcapError(
                    f"a gzip bomb? {self._taken:,} bytes unfold to more than {self._given:,}; "
                    "if the file is meant to be so, gunzip it and read what comes out"
                )
            if piece:
                return piece

    def _file_ended(self) -> bool:
        self._rest = self._file.read(CHUNK)
        self._taken += len(self._rest)
        return not self._rest


class _Source:
    """A file that knows how far it has been read, and says where it ends too early."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self.at = 0

    def some(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end of the file."""
        got = self._file.read(size)
        while len(got) < size:
            more = self._file.read(size - len(got))
            if not more:
                break
            got += more
        self.at += len(got)
        return got

    def exactly(self, size: int, what: str) -> bytes:
        """Return `size` bytes; raises PcapError when the file ends before."""
        got = self.some(size)
        if len(got) < size:
            raise PcapError(f"byte {self.at - len(got)}: {what} needs {size} bytes; {len(got)} are left")
        return got

    def skip(self, size: int, what: str) -> None:
        """Pass over `size` bytes, a piece at a time."""
        while size:
            size -= len(self.exactly(min(size, CHUNK), what))


class _Again:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: _Readable) -> None:
        self._head = head
        self._file = file

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._file.read(size)
        part, self._head = self._head[:size], self._head[size:]
        return part


class _Interface:
    """What an IDB says: name, link type, units a second, seconds to add."""

    __slots__ = ("link", "name", "offset", "units")

    def __init__(self, link: int = ETHERNET, name: str = "", units: int = 1_000_000, offset: int = 0) -> None:
        self.link = link
        self.name = name
        self.units = units
        self.offset = offset


def load(path: Path) -> list[Record]:
    """Return the packets of a small file at once.  Raises PcapError, OSError."""
    with path.open("rb") as file:
        return list(read(file))


def parse(buf: bytes) -> Iterator[Record]:
    """Read packets from the bytes of a file.  Raises PcapError."""
    return read(io.BytesIO(buf))


def read(file: IO[bytes]) -> Iterator[Record]:
    """Read packets from an open binary file of any size: pcap or pcapng, gzip or not.  Raises PcapError."""
    head = _Source(file).some(4)
    plain: _Readable = _Again(head, file)
    if head[:2] == b"\x1f\x8b":
        plain = _Gunzip(plain)
    source = _Source(plain)
    magic = source.some(4)
    if len(magic) < 4:
        raise PcapError(f"{len(magic)} bytes are no capture file")
    if int.from_bytes(magic, "little") == SHB:
        yield from _blocks(source)
        return
    for order in "<>":
        (number,) = struct.unpack(order + "I", magic)
        if number in (PCAP_US, PCAP_NS):
            yield from _classic(source, order, 1_000 if number == PCAP_US else 1)
            return
    if magic in _PACKERS:
        raise PcapError(f"the file is packed with {_PACKERS[magic]}; unpack it first (only gzip is read here)")
    raise PcapError(f"{magic.hex()} begins neither a pcap nor a pcapng file")


def _classic(source: _Source, order: str, unit: int) -> Iterator[Record]:
    header = struct.Struct(order + "IIII")
    link = struct.unpack(order + "HHiIII", source.exactly(20, "a pcap header"))[5] & 0xFFFF
    while head := source.some(16):
        if len(head) < 16:
            raise PcapError(f"byte {source.at - len(head)}: a record header is cut short")
        seconds, fraction, size, _ = header.unpack(head)
        if size > LARGEST:
            raise PcapError(f"byte {source.at - 8}: a packet says it has {size} bytes; at most {LARGEST:,} are read")
        yield Record(seconds * NS + fraction * unit, _ethernet(link, source.exactly(size, "a packet")))


def _blocks(source: _Source) -> Iterator[Record]:
    order, kind, at, last = "<", SHB, 0, 0
    interfaces: list[_Interface] = []
    while True:
        raw = source.exactly(4, "a block's length")
        if kind == SHB:
            magic = source.exactly(4, "a section header")
            order = next((order for order in "<>" if struct.unpack(order + "I", magic)[0] == MAGIC), "")
            if not order:
                raise PcapError(f"byte {at}: the byte-order magic is {magic.hex()}")
            interfaces = []
        (length,) = struct.unpack(order + "I", raw)
        size = length - 12 - (4 if kind == SHB else 0)
        if size < 0 or length % 4:
            raise PcapError(f"byte {at}: a block says it has {length} bytes")
        if kind in (IDB, EPB, SPB, PB):
            if length > BLOCK:
                raise PcapError(f"byte {at}: a block says it has {length:,} bytes; at most {BLOCK:,} are read")
            body = source.exactly(size, "a block")
            if kind == IDB:
                if len(interfaces) == INTERFACES:
                    raise PcapError(f"byte {at}: more than {INTERFACES:,} interfaces")
                interfaces.append(_interface(body, order, at))
            else:
                record = _packet(kind, body, order, interfaces, at, last)
                last = record.time_ns
                yield record
        else:
            source.skip(size, "a block")
        if source.exactly(4, "a block's second length") != raw:
            raise PcapError(f"byte {at}: the two lengths of a block differ")
        at = source.at
        following = source.some(4)
        if not following:
            return
        if len(following) < 4:
            raise PcapError(f"byte {at}: a block is cut short")
        (kind,) = struct.unpack(order + "I", following)


def _interface(body: bytes, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise PcapError(f"byte {at}: an interface description is cut short")
    options = _options(body[8:], order, at)
    resolution = (options.get(IF_TSRESOL) or b"\x06")[0]
    power = resolution & 0x7F
    if power > (62 if resolution & 0x80 else 18):
        raise PcapError(f"byte {at}: a time resolution of {resolution:#x}")
    offset = options.get(IF_TSOFFSET, bytes(8))
    seconds = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    name = options.get(IF_NAME, b"")[:255].decode("utf-8", "replace")
    return _Interface(struct.unpack_from(order + "H", body)[0], name, 1 << power if resolution & 0x80 else 10**power, seconds)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface], at: int, last: int) -> Record:
    start = 4 if kind == SPB else 20
    if len(body) < start:
        raise PcapError(f"byte {at}: a packet block is cut short")
    number, options, comment = 0, dict[int, bytes](), ""
    if kind == SPB:
        (size,) = struct.unpack_from(order + "I", body)
        size = min(size, len(body) - start)
    else:
        number, high, low, size, _ = struct.unpack_from(order + ("IIIII" if kind == EPB else "HxxIIII"), body)
    if number >= len(interfaces):
        raise PcapError(f"byte {at}: interface {number} was not described")
    if size > LARGEST or size > len(body) - start:
        raise PcapError(f"byte {at}: a packet says it has {size} bytes; {len(body) - start} are left")
    on = interfaces[number]
    if kind == SPB:
        time = last
    else:
        time = (high << 32 | low) * NS // on.units + on.offset * NS
        options = _options(body[start + size + (-size % 4) :], order, at)
        comment = options.get(COMMENT, b"").decode("utf-8", "replace")
    if not 0 <= time < LATEST:
        raise PcapError(f"byte {at}: a time {time // NS:,} s after 1970 is not read; the years 1970 to 2262 are")
    return Record(time, _ethernet(on.link, body[start : start + size]), on.name, comment)


def _ethernet(link: int, data: bytes) -> bytes:
    """Return an Ethernet frame with the packet that a link of this type carried."""
    if link == ETHERNET:
        return data
    if link in LOOPBACK:
        data = data[4:]
    if link in RAW or link in LOOPBACK:
        return bytes(12) + _ETHERTYPES.get(data[0] >> 4 if data else 0, b"\0\0") + data
    if link == COOKED:
        return bytes(6) + data[6:12].ljust(6, b"\0") + data[14:16].ljust(2, b"\0") + data[16:]
    if link == COOKED2:
        return bytes(6) + data[12:18].ljust(6, b"\0") + data[:2].ljust(2, b"\0") + data[20:]
    raise PcapError(f"packets of link type {link} are not read; Ethernet, raw IP, Linux cooked and loopback are")


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
