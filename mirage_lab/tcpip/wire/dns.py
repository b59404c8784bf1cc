"""DNS messages (RFC 1035 section 4, RFC 6891).

    id 2 | flags 2 | questions 2 | answers 2 | authority 2 | additional 2 | question ... | record ...
    question: name, type 2, class 2        record: name, type 2, class 2, ttl 4, length 2, data

The data of a record is bytes, with the names in it written out: types nobody knows are carried as they are (RFC 3597).
The OPT record of EDNS is taken out of the additional section: `Message.edns`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.dnsname import Known, Name
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["HEADER", "IN", "PLAIN_LIMIT", "PORT", "Edns", "Message", "Question", "Rcode", "Record", "Type", "checked", "decode", "encode", "query", "type_text"]

PORT: Final = 53
HEADER: Final = 12
IN: Final = 1
ANY_CLASS: Final = 255
PLAIN_LIMIT: Final = 512
"""Bytes of an answer over UDP to a query without EDNS."""
LARGEST: Final = 65_535
RECORDS: Final = 1_024
"""Questions and records of one message; more are refused."""
LONGEST_TTL: Final = 0x7FFF_FFFF

_HEAD: Final = struct.Struct(">HHHHHH")
_AFTER_NAME: Final = struct.Struct(">HHIH")


class Type:
    """Types of records, and what may be asked for."""

    A: Final = 1
    NS: Final = 2
    CNAME: Final = 5
    SOA: Final = 6
    PTR: Final = 12
    MX: Final = 15
    TXT: Final = 16
    AAAA: Final = 28
    SRV: Final = 33
    OPT: Final = 41
    IXFR: Final = 251
    AXFR: Final = 252
    ANY: Final = 255
    HINFO: Final = 13
    CAA: Final = 257

    NAMES: Final = {
        1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 41: "OPT",
        251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
    }  # fmt: skip
    CODES: Final = {name: code for code, name in NAMES.items()}


def type_text(code: int) -> str:
    """Return `A`, or `TYPE731` for one without a name (RFC 3597 section 5)."""
    return Type.NAMES.get(code, f"TYPE{code}")


class Rcode:
    """What became of a query."""

    NOERROR: Final = 0
    FORMERR: Final = 1
    SERVFAIL: Final = 2
    NXDOMAIN: Final = 3
    NOTIMP: Final = 4
    REFUSED: Final = 5
    BADVERS: Final = 16

    NAMES: Final = {0: "no error", 1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused", 16: "bad version"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a name, a type, a class."""

    name: Name
    type: int
    cls: int = IN

    def __repr__(self) -> str:
        return f"{type_text(self.type)} {dnsname.text(self.name)}"


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record; `ttl` in seconds, `data` as bytes with names written out."""

    name: Name
    type: int
    ttl: int
    data: bytes
    cls: int = IN


@dataclass(frozen=True, slots=True)
class Edns:
    """What the OPT record says: the largest answer taken over UDP, the version, whether DNSSEC records are wanted, options."""

    size: int = 1_232
    version: int = 0
    do: bool = False
    options: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message: flags by name (RFC 1035 section 4.1.1), and its four sections."""

    id: int
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    response: bool = False
    opcode: int = 0
    aa: bool = False
    tc: bool = False
    rd: bool = False
    ra: bool = False
    ad: bool = False
    cd: bool = False
    rcode: int = 0
    edns: Edns | None = None


def query(id: int, name: Name, type: int, *, rd: bool = False, edns: Edns | None = None) -> Message:
    """Return a query."""
    return Message(id, (Question(name, type),), rd=rd, edns=edns)


# reading ---------------------------------------------------------------------------------------------------------


def decode(buf: bytes) -> Message:
    """Read a message; raises WireError.  Bytes after the last record are refused."""
    if len(buf) < HEADER:
        raise WireError(f"a DNS message of {len(buf)} bytes; the header alone has {HEADER}")
    id_, flags, *counts = _HEAD.unpack_from(buf)
    if sum(counts) > RECORDS:
        raise WireError(f"a DNS message that says it has {sum(counts)} questions and records; {RECORDS} are taken")
    at = HEADER
    known: Known = {}
    questions = []
    for _ in range(counts[0]):
        name, at = dnsname.decode(buf, at, known)
        if at + 4 > len(buf):
            raise WireError("a DNS question is cut off")
        questions.append(Question(name, buf[at] << 8 | buf[at + 1], buf[at + 2] << 8 | buf[at + 3]))
        at += 4
    sections: list[list[Record]] = [[], [], []]
    edns: Edns | None = None
    extended = 0
    for section, count in zip(sections, counts[1:], strict=True):
        for _ in range(count):
            record, at = _record(buf, at, known)
            if record.type != Type.OPT:
                section.append(record)
                continue
            if edns is not None or record.name or section is not sections[2]:
                raise WireError("an OPT record stands once, in the additional section, with the name of the root")
            extended = record.ttl >> 24 << 4
            edns = Edns(record.cls, record.ttl >> 16 & 255, bool(record.ttl & 0x8000), _edns_options(record.data))
    if at != len(buf):
        raise WireError(f"{len(buf) - at} bytes after the last record of a DNS message")
    answers, authority, additional = (tuple(section) for section in sections)
    return Message(
        id_,
        tuple(questions),
        answers,
        authority,
        additional,
        response=bool(flags & 0x8000),
        opcode=flags >> 11 & 15,
        aa=bool(flags & 0x0400),
        tc=bool(flags & 0x0200),
        rd=bool(flags & 0x0100),
        ra=bool(flags & 0x0080),
        ad=bool(flags & 0x0020),
        cd=bool(flags & 0x0010),
        rcode=extended | flags & 15,
        edns=edns,
    )


def _record(buf: bytes, at: int, known: Known) -> tuple[Record, int]:
    name, at = dnsname.decode(buf, at, known)
    if at + 10 > len(buf):
        raise WireError("a DNS record is cut off")
    kind, cls, ttl, length = _AFTER_NAME.unpack_from(buf, at)
    at += 10
    end = at + length
    if end > len(buf):
        raise WireError(f"a {type_text(kind)} record says it has {length} bytes of data; {len(buf) - at} are left")
    if kind == Type.OPT:
        return Record(name, kind, ttl, buf[at:end], cls), end
    # A TTL with the highest bit set is 0 (RFC 2181 section 8).
    return Record(name, kind, ttl if ttl <= LONGEST_TTL else 0, _data(buf, at, end, kind, known), cls), end


def _edns_options(data: bytes) -> tuple[tuple[int, bytes], ...]:
    found, at = [], 0
    while at < len(data):
        if at + 4 > len(data) or at + 4 + (length := data[at + 2] << 8 | data[at + 3]) > len(data):
            raise WireError("an EDNS option goes beyond its record")
        found.append((data[at] << 8 | data[at + 1], data[at + 4 : at + 4 + length]))
        at += 4 + length
    return tuple(found)


_SHAPES: Final[dict[int, str]] = {
    Type.A: "4",
    Type.AAAA: "16",
    Type.NS: "n",
    Type.CNAME: "n",
    Type.PTR: "n",
    Type.MX: "2n",
    Type.SOA: "nn20",
    Type.SRV: "6N",
    Type.TXT: "t",
    Type.HINFO: "t",
    Type.CAA: "c",
}
"""The data of the types we know: bytes by number, `n` a name that may be compressed, `N` one that is not, `t` strings, `c` CAA."""


def _parts(shape: str) -> list[str | int]:
    found: list[str | int] = []
    for letter in shape:
        if letter.isdigit():
            last = found.pop() if found and isinstance(found[-1], int) else 0
            found.append(int(last) * 10 + int(letter))
        else:
            found.append(letter)
    return found


_PARTS: Final = {kind: _parts(shape) for kind, shape in _SHAPES.items()}


def _data(buf: bytes, at: int, end: int, kind: int, known: Known) -> bytes:
    """Return a record's data with names written out, after looking whether it is what its type says."""
    parts = _PARTS.get(kind)
    if parts is None:
        return buf[at:end]
    found = b""
    for part in parts:
        if isinstance(part, int):
            found += buf[at : at + part]
            at += part
        elif part in "nN":
            name, at = dnsname.decode(buf, at, known)
            found += dnsname.encode(name)
        else:
            found += (_strings if part == "t" else _caa)(buf[at:end])
            at = end
    if at != end:
        raise WireError(f"the data of a {type_text(kind)} record is not what its length says")
    return found


def _strings(data: bytes) -> bytes:
    at = 0
    while at < len(data):
        at += 1 + data[at]
    if at != len(data) or not data:
        raise WireError("a string goes beyond its TXT record, or there is none")
    return data


def _caa(data: bytes) -> bytes:
    if len(data) < 2 or not 0 < data[1] <= 15 or 2 + data[1] > len(data):
        raise WireError("a CAA record has flags, a tag of 1 to 15 letters, and a value")
    return data


# writing ---------------------------------------------------------------------------------------------------------


def encode(message: Message, limit: int = LARGEST) -> bytes:
    """Return the bytes, names compressed.  What does not fit `limit` is left out:

    the additional section silently (RFC 2181 section 9), or else all sections, with TC set.  Raises LocalProtocolError for
    a record too long for any message.
    """
    whole = _encode(message)
    if len(whole) <= limit:
        return whole
    shorter = _encode(message, additional=())
    if len(shorter) <= limit and not _needs_additional(message):
        return shorter
    return _encode(message, answers=(), authority=(), additional=(), tc=True)


def _needs_additional(message: Message) -> bool:
    """True for a referral, which is of no use without its glue (RFC 9471)."""
    return not message.answers and not message.aa and any(record.type == Type.NS for record in message.authority) and bool(message.additional)


def _encode(
    message: Message,
    answers: tuple[Record, ...] | None = None,
    authority: tuple[Record, ...] | None = None,
    additional: tuple[Record, ...] | None = None,
    tc: bool | None = None,
) -> bytes:
    sections = [
        message.answers if answers is None else answers,
        message.authority if authority is None else authority,
        message.additional if additional is None else additional,
    ]
    flags = message.opcode << 11 | message.rcode & 15
    on = (message.response, message.aa, message.tc if tc is None else tc, message.rd, message.ra, message.ad, message.cd)
    for mask, value in zip((0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010), on, strict=True):
        flags |= mask if value else 0
    edns = message.edns
    if message.rcode > 15 and edns is None:
        raise LocalProtocolError(f"rcode {message.rcode} needs EDNS: a message without it has four bits for it")
    out = bytearray(_HEAD.pack(message.id, flags, len(message.questions), len(sections[0]), len(sections[1]), len(sections[2]) + (edns is not None)))
    places: dict[Name, int] = {}
    for question in message.questions:
        out += dnsname.encode(question.name, out, places)
        out += question.type.to_bytes(2, "big") + question.cls.to_bytes(2, "big")
    for section in sections:
        for record in section:
            _put(record, out, places)
    if edns is not None:
        data = b"".join(code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for code, value in edns.options)
        ttl = message.rcode >> 4 << 24 | edns.version << 16 | edns.do << 15
        out += b"\0" + _AFTER_NAME.pack(Type.OPT, edns.size, ttl, len(data)) + data
    return bytes(out)


def _put(record: Record, out: bytearray, places: dict[Name, int]) -> None:
    out += dnsname.encode(record.name, out, places)
    at = len(out)
    out += bytes(10)
    parts = _PARTS.get(record.type)
    if parts is None or "n" not in parts:
        out += record.data
    else:
        _put_names(record.data, parts, out, places)
    length = len(out) - at - 10
    if length > LARGEST:
        raise LocalProtocolError(f"{length} bytes of data; a record has {LARGEST} at most")
    out[at : at + 10] = _AFTER_NAME.pack(record.type, record.cls, record.ttl, length)


def _put_names(data: bytes, parts: list[str | int], out: bytearray, places: dict[Name, int]) -> None:
    """Write data whose names may be compressed: those of RFC 1035 only (RFC 3597 section 4)."""
    at = 0
    for part in parts:
        if isinstance(part, int):
            out += data[at : at + part]
            at += part
        else:
            name, at = dnsname.decode(data, at)
            out += dnsname.encode(name, out, places)


def checked(kind: int, data: bytes) -> bytes:
    """Return `data`, which is to be the data of a record of this type; raises WireError if it is not."""
    return _data(data, 0, len(data), kind, {})
