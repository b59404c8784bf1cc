r"""records: the data of a record as the text of a zone file, and back (RFC 1035 section 5, RFC 3597, RFC 8659).

    A 10.0.0.2    MX 10 mail    SOA ns admin 1 3600 600 86400 300    TXT "a string" "another"    TYPE731 \# 3 0a0b0c
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.address import ip_int, ip_text
from mirage_lab.tcpip.wire.dns import Type, checked
from mirage_lab.tcpip.wire.dnsname import Name
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["Word", "below", "data_of", "duration", "soa", "text_of"]


class Word(str):
    """A word of a zone file; `quoted` words stand in quotation marks, and `raw` is their bytes."""

    quoted: bool = False
    raw: bytes = b""


_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def duration(said: str) -> int:
    """Return seconds of `3600`, `1h` or `1h30m`; raises LocalProtocolError."""
    total, number = 0, ""
    for letter in said.lower():
        if letter.isascii() and letter.isdigit():
            number += letter
        elif number and letter in _UNITS:
            total, number = total + int(number) * _UNITS[letter], ""
        else:
            raise LocalProtocolError(f"{said!r} is no time: 3600, 1h or 1h30m is")
    total += int(number or 0)
    if not said or total > 0x7FFF_FFFF or len(said) > 20:
        raise LocalProtocolError(f"{said!r} is no time: it is 0 to 2147483647 seconds")
    return total


def _number(said: str, bits: int) -> bytes:
    if not (said.isascii() and said.isdigit() and len(said) <= 10 and int(said) < 1 << bits):
        raise LocalProtocolError(f"{said!r} is no number from 0 to {(1 << bits) - 1}")
    return int(said).to_bytes(bits // 8, "big")


def _string(word: str) -> bytes:
    raw = word.raw if isinstance(word, Word) else word.encode()
    if len(raw) > 255:
        raise LocalProtocolError(f"a string of {len(raw)} bytes; it has 255 at most")
    return bytes((len(raw),)) + raw


def below(word: str, origin: Name | None) -> Name:
    """Return the name a word of a zone file says; raises LocalProtocolError for a relative one without an origin."""
    if origin is None and not word.endswith("."):
        raise LocalProtocolError(f"{word!r} is relative, and there is no $ORIGIN yet")
    return dnsname.name(word, origin)


def data_of(kind: int, words: Sequence[str], origin: Name | None) -> bytes:
    """Return the data that the words of a zone file say; raises LocalProtocolError."""
    if words and words[0] == r"\#":
        return _unknown(kind, words)
    wanted = {Type.A: 1, Type.AAAA: 1, Type.NS: 1, Type.CNAME: 1, Type.PTR: 1, Type.MX: 2, Type.SOA: 7, Type.SRV: 4, Type.CAA: 3, Type.HINFO: 2}.get(kind)
    if wanted is not None and len(words) != wanted:
        raise LocalProtocolError(f"{len(words)} words of data; a {Type.NAMES[kind]} record has {wanted}")
    match kind:
        case Type.A:
            return ip_int(words[0]).to_bytes(4, "big")
        case Type.AAAA:
            try:
                return ipaddress.IPv6Address(words[0]).packed
            except ValueError:
                raise LocalProtocolError(f"{words[0]!r} is not an IPv6 address; one looks like fd00::2") from None
        case Type.NS | Type.CNAME | Type.PTR:
            return dnsname.encode(below(words[0], origin))
        case Type.MX:
            return _number(words[0], 16) + dnsname.encode(below(words[1], origin))
        case Type.SRV:
            return b"".join(_number(word, 16) for word in words[:3]) + dnsname.encode(below(words[3], origin))
        case Type.SOA:
            names = b"".join(dnsname.encode(below(word, origin)) for word in words[:2])
            return names + _number(words[2], 32) + b"".join(duration(word).to_bytes(4, "big") for word in words[3:])
        case Type.TXT | Type.HINFO:
            if not words:
                raise LocalProtocolError("a TXT record has one string at least")
            return b"".join(map(_string, words))
        case Type.CAA:
            tag = words[1].encode()
            if not 0 < len(tag) <= 15 or not tag.isalnum():
                raise LocalProtocolError(f"{words[1]!r} is no tag of a CAA record: issue is")
            return _number(words[0], 8) + bytes((len(tag),)) + tag + _string(words[2])[1:]
    raise LocalProtocolError(rf"data of a type without a syntax of its own is written as \# length hex (RFC 3597), not {' '.join(words)[:40]!r}")


def _unknown(kind: int, words: Sequence[str]) -> bytes:
    try:
        data = bytes.fromhex("".join(words[2:]))
    except ValueError:
        data = None
    if data is None or len(words) < 2 or not words[1].isdigit() or int(words[1]) != len(data) or len(data) > 65_535:
        raise LocalProtocolError(r"data after \# is its length, then that many bytes in hexadecimal")
    try:
        return checked(kind, data)
    except WireError as error:
        raise LocalProtocolError(str(error)) from None


def text_of(kind: int, data: bytes) -> str:
    """Return the data as a zone file has it; names are absolute.  `data` is what `decode` or `data_of` returned."""
    match kind:
        case Type.A:
            return ip_text(int.from_bytes(data, "big"))
        case Type.AAAA:
            return str(ipaddress.IPv6Address(data))
        case Type.NS | Type.CNAME | Type.PTR:
            return dnsname.text(dnsname.decode(data, 0)[0])
        case Type.MX:
            return f"{int.from_bytes(data[:2], 'big')} {dnsname.text(dnsname.decode(data, 2)[0])}"
        case Type.SRV:
            numbers = " ".join(str(int.from_bytes(data[at : at + 2], "big")) for at in (0, 2, 4))
            return f"{numbers} {dnsname.text(dnsname.decode(data, 6)[0])}"
        case Type.SOA:
            mname, rname, numbers_ = soa(data)
            return f"{dnsname.text(mname)} {dnsname.text(rname)} {' '.join(map(str, numbers_))}"
        case Type.TXT | Type.HINFO:
            found, at = [], 0
            while at < len(data):
                found.append(_quoted(data[at + 1 : at + 1 + data[at]]))
                at += 1 + data[at]
            return " ".join(found)
        case Type.CAA:
            size = data[1]
            return f"{data[0]} {data[2 : 2 + size].decode('ascii', 'replace')} {_quoted(data[2 + size :])}"
    return rf"\# {len(data)} {data.hex()}".rstrip()


def _quoted(raw: bytes) -> str:
    inner = "".join(f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 32 <= byte < 127 else f"\\{byte:03}" for byte in raw)
    return f'"{inner}"'


def soa(data: bytes) -> tuple[Name, Name, tuple[int, int, int, int, int]]:
    """Return the primary server, the mailbox, and serial, refresh, retry, expire and minimum of an SOA record."""
    mname, at = dnsname.decode(data, 0)
    rname, at = dnsname.decode(data, at)
    serial, refresh, retry, expire, minimum = (int.from_bytes(data[at + n : at + n + 4], "big") for n in range(0, 20, 4))
    return mname, rname, (serial, refresh, retry, expire, minimum)
