"""values: what a field can be compared with: numbers, flags, addresses, seconds, bytes, text, each read from a word."""

from __future__ import annotations

import re
from typing import Any, Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.displayfilter.fields import Field, Kind, a
from mirage_lab.tcpip.displayfilter.words import Word
from mirage_lab.tcpip.wire.address import ip_int, mac_bytes
from mirage_lab.tcpip.wire.address6 import ip6_int

__all__ = ["FULL", "WHOLE_ADDRESS", "BadValue", "Net", "Span", "spans", "value"]

FULL: Final = 0xFFFF_FFFF

WHOLE_ADDRESS: Final = {Kind.ADDRESS: FULL, Kind.ADDRESS6: (1 << 128) - 1}
"""The mask of an address without a prefix length, by the kind of its field."""

Net = tuple[int, int]
"""An address and its mask, as `10.0.0.0/24` or `2001:db8::/32`."""

Span = tuple[int, int | None]
"""A part of some bytes: where it begins, from the end when negative, and its length, None for all the rest."""

_TIME: Final = re.compile(r"([+-]?)(\d*)(?:\.(\d{0,9}))?")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}(?:([:.-]?)[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2})*)?")
_SPAN: Final = re.compile(r"(-?\d{1,6})?(?:(:)(-?\d{1,6})?|(-)(\d{1,6}))?")
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED: Final = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}
_FLAGS: Final = {"true": 1, "false": 0}


class BadValue(Exception):
    """A word that is no value of its field: the reason, for the error that points at it."""


def value(field: Field, word: Word) -> Any:
    """Return `word` as a value of the field's kind: int, bytes, str, or `Net` for an address; raises BadValue."""
    if field.kind in (Kind.BYTES, Kind.LAYER):
        return _bytes(word)
    if field.kind == Kind.TEXT:
        return _string(word.text).decode(errors="replace") if word.kind == "string" else word.text
    if word.kind != "word":
        raise BadValue(f"{field.name} is {a(field.kind)}, which is written without quotes")
    if field.kind == Kind.NUMBER:
        return _number(field, word.text)
    if field.kind == Kind.FLAG:
        return _flag(field, word.text)
    if field.kind == Kind.MAC:
        return _mac(word.text)
    if field.kind == Kind.ADDRESS:
        return _address(word.text)
    if field.kind == Kind.ADDRESS6:
        return _address6(word.text)
    return _time(field, word.text)


def spans(text: str) -> list[Span]:
    """Return the parts that `[0:3]`, `[2]`, `[-2:]`, `[1-3,7]` name; raises BadValue."""
    found = []
    for said in text[1:-1].split(","):
        match = _SPAN.fullmatch(said.strip())
        if match is None or not match[0]:
            raise BadValue("a slice is [from:length], [from-to] or [one], in bytes counted from 0, or from the end when negative")
        found.append(_span(match))
    return found


def _span(match: re.Match[str]) -> Span:
    begin, colon, length, dash, last = match.groups()
    start = int(begin or 0)
    if dash:
        size: int | None = int(last) - start + 1
    else:
        size = (int(length) if length else None) if colon else 1
    if (size is not None and size <= 0) or (dash and start < 0):
        raise BadValue(f"[{match[0]}] names no bytes")
    return start, size


def _number(field: Field, text: str) -> int:
    found = _int(text)
    if found is None:
        raise BadValue(f"{field.name} is a number; {text!r} is none")
    if not 0 <= found <= field.largest:
        raise BadValue(f"{field.name} is at most {field.largest}; {text} is never met" if found > 0 else f"{field.name} is never negative")
    return found


def _int(text: str) -> int | None:
    """Return a decimal, hexadecimal (0x), octal (0) or binary (0b) number, as strtol would."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    try:
        if not digits or not digits.isascii() or not digits.isalnum():
            return None
        if digits[0] == "0" and digits.isdigit():
            found = int(digits, 8)
        else:
            found = int(digits, 0)
    except ValueError:
        return None
    return -found if text[0] == "-" else found


def _flag(field: Field, text: str) -> int:
    found = _FLAGS.get(text.lower())
    if found is None:
        number = _int(text)
        found = None if number is None else int(number != 0)
    if found is None:
        raise BadValue(f"{field.name} is a flag: 1, 0, True or False; {text!r} is none")
    return found


def _mac(text: str) -> bytes:
    try:
        return mac_bytes(text.replace(".", "") if _HEX.fullmatch(text) or re.fullmatch(r"(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}", text) else text)
    except LocalProtocolError as error:
        raise BadValue(str(error)) from None


def _address(text: str) -> Net:
    address, slash, prefix = text.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 2 and int(prefix) <= 32):
        raise BadValue(f"{text!r}: the prefix length is 0 to 32, as in 10.0.0.0/24")
    mask = (FULL << 32 - int(prefix)) & FULL if slash else FULL
    try:
        return ip_int(address) & mask, mask
    except LocalProtocolError as error:
        raise BadValue(str(error)) from None


def _address6(text: str) -> Net:
    address, slash, prefix = text.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= 128):
        raise BadValue(f"{text!r}: the prefix length is 0 to 128, as in 2001:db8::/32")
    full = WHOLE_ADDRESS[Kind.ADDRESS6]
    mask = (full << 128 - int(prefix)) & full if slash else full
    try:
        return ip6_int(address) & mask, mask
    except LocalProtocolError as error:
        raise BadValue(str(error)) from None


def _time(field: Field, text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise BadValue(f"{field.name} is in seconds, as 1.25, with at most nine decimals; {text!r} is no time")
    found = int(match[2] or 0) * 1_000_000_000 + int((match[3] or "").ljust(9, "0"))
    return -found if match[1] == "-" else found


def _bytes(word: Word) -> bytes:
    if word.kind == "string":
        return _string(word.text)
    text = word.text
    if text[:2] in ("0x", "0X") and len(text) <= 4:
        text = text[2:]
    text = text.rjust(2, "0") if text else text
    if word.kind != "word" or not _HEX.fullmatch(text):
        raise BadValue(f'{word.text!r} is neither a "string" nor bytes in hexadecimal, as 47:45:54')
    return bytes.fromhex(re.sub("[:.-]", "", text))


def _string(text: str) -> bytes:
    """Return the bytes of a string, its escapes \\n, \\x47, \\107 read."""
    found, at = [], 0
    for match in _ESCAPE.finditer(text):
        said = match[1]
        found.append(text[at : match.start()].encode(errors="replace"))
        if said[0] == "x" and len(said) > 1:
            found.append(bytes([int(said[1:], 16)]))
        elif said[0] in "01234567":
            found.append(bytes([int(said, 8) & 0xFF]))
        else:
            found.append(_ESCAPED.get(said, said.encode(errors="replace")))
        at = match.end()
    return b"".join([*found, text[at:].encode(errors="replace")])
