r"""zonefile: master files (RFC 1035 section 5): $ORIGIN, $TTL (RFC 2308), @, parentheses, quotes, comments, relative names.

    $ORIGIN example.org.
    $TTL 1h
    @       SOA   ns admin ( 2026112301 3h 1h 1w 5m )   ; who keeps the zone
            NS    ns
    ns      A     10.0.0.53
    www 60  CNAME @

A line that begins with a space belongs to the name before it.  $INCLUDE is refused: a zone is one text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.dns.records import Word, below, data_of, duration
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.dns import IN, Record, Type
from mirage_lab.tcpip.wire.dnsname import Name

__all__ = ["LARGEST", "ZoneError", "parse"]

LARGEST: Final = 8 << 20
"""Characters of a zone file."""

RECORDS: Final = 200_000
_CLASSES: Final = {"IN": 1, "CH": 3, "HS": 4}


class ZoneError(LocalProtocolError):
    """A zone that cannot be: `line` is where, counted from 1 (0: the zone as a whole)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


@dataclass(slots=True)
class _Entry:
    """One entry: its words, the line it begins on, and whether it begins with a space."""

    line: int
    words: list[Word]
    indented: bool


def parse(text: str, origin: str = "") -> list[Record]:
    """Return the records of a zone file; names without a dot at the end are below `origin` until $ORIGIN says otherwise.  Raises ZoneError."""
    if len(text) > LARGEST:
        raise ZoneError(f"a zone file of {len(text)} characters; {LARGEST} are read")
    here: Name | None = dnsname.name(_dotted(origin)) if origin else None
    ttl: int | None = None
    before: Name | None = None
    found: list[Record] = []
    for entry in _entries(text):
        try:
            words = entry.words
            if words[0].startswith("$") and not entry.indented:
                here, ttl = _directive(words, here, ttl)
                continue
            record = _record(words, entry.indented, here, before, ttl)
        except ZoneError:
            raise
        except LocalProtocolError as error:
            raise ZoneError(str(error), entry.line) from None
        before = record.name
        if ttl is None:
            ttl = record.ttl
        found.append(record)
        if len(found) > RECORDS:
            raise ZoneError(f"more than {RECORDS} records", entry.line)
    return found


def _dotted(origin: str) -> str:
    return origin if origin.endswith(".") else origin + "."


def _directive(words: list[Word], here: Name | None, ttl: int | None) -> tuple[Name | None, int | None]:
    match words[0].upper():
        case "$ORIGIN" if len(words) == 2:
            return dnsname.name(words[1], here or ()), ttl
        case "$TTL" if len(words) == 2:
            return here, duration(words[1])
        case "$INCLUDE":
            raise LocalProtocolError("$INCLUDE is not read: a zone is one text")
    raise LocalProtocolError(f"{' '.join(words)[:40]!r}: $ORIGIN name and $TTL seconds are understood")


def _record(words: list[Word], indented: bool, here: Name | None, before: Name | None, ttl: int | None) -> Record:
    at = 0
    if indented:
        if before is None:
            raise LocalProtocolError("this line belongs to the name before it, and there is none")
        name = before
    else:
        name = below(words[0], here)
        at = 1
    own: int | None = None
    cls: int | None = None
    while at < len(words):
        word = words[at]
        if word.upper() in _CLASSES and cls is None:
            cls = _CLASSES[word.upper()]
        elif word[:1].isdigit() and own is None:
            own = duration(word)
        else:
            break
        at += 1
    if cls not in (None, IN):
        raise LocalProtocolError("only the class IN is served")
    if at == len(words):
        raise LocalProtocolError(f"{' '.join(words)[:60]!r} has no type")
    kind = _type(words[at])
    if own is None:
        own = ttl
    data = data_of(kind, words[at + 1 :], here)
    if own is None:
        own = _minimum(kind, data)
    return Record(name, kind, own, data)


def _minimum(kind: int, data: bytes) -> int:
    """Return the TTL of a first record that has none: an SOA's last field, as name servers do (RFC 1035 section 3.3.13)."""
    if kind != Type.SOA:
        raise LocalProtocolError("no TTL: say $TTL before, or give the record one")
    return int.from_bytes(data[-4:], "big")


def _type(word: str) -> int:
    said = word.upper()
    code = Type.CODES.get(said)
    if code is None and said.startswith("TYPE") and said[4:].isascii() and said[4:].isdigit() and 0 < int(said[4:9]) < 65_536 and len(said) <= 9:
        code = int(said[4:])
    if code is None or code in (Type.OPT, Type.ANY, Type.AXFR, Type.IXFR):
        raise LocalProtocolError(f"{word[:20]!r} is no type of a record")
    return code


# words -----------------------------------------------------------------------------------------------------------


def _entries(text: str) -> Iterator[_Entry]:
    """Cut the text into entries; within parentheses a line does not end one.  Raises ZoneError."""
    entry: _Entry | None = None
    depth, opened = 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        if entry is None:
            entry = _Entry(number, [], line[:1] in (" ", "\t"))
        for word in _words(line, number):
            if not word.quoted and word in ("(", ")"):
                depth += 1 if word == "(" else -1
                opened = number if word == "(" else opened
                if depth not in (0, 1):
                    raise ZoneError("parentheses do not nest, and close what was opened", number)
            else:
                entry.words.append(word)
        if not depth:
            if entry.words:
                yield entry
            entry = None
    if depth:
        raise ZoneError("the parenthesis that opens here is never closed", opened)


def _words(line: str, number: int) -> Iterator[Word]:
    at = 0
    while at < len(line):
        letter = line[at]
        if letter == ";":
            return
        if letter in "()":
            yield Word(letter)
            at += 1
        elif letter == '"':
            raw, at = _string(line, at + 1, number)
            word = Word(raw.decode("latin-1"))
            word.quoted, word.raw = True, raw
            yield word
        elif letter.isspace():
            at += 1
        else:
            begin = at
            while at < len(line) and not line[at].isspace() and line[at] not in '();"':
                at += 2 if line[at] == "\\" else 1
            word = Word(line[begin:at])
            word.raw = _string(line[begin:at] + '"', 0, number)[0]
            yield word


def _string(line: str, at: int, number: int) -> tuple[bytes, int]:
    """Read up to the closing quotation mark; return the bytes and where they end."""
    raw = bytearray()
    while at < len(line):
        if line[at] == '"':
            return bytes(raw), at + 1
        if line[at] == "\\":
            digits = line[at + 1 : at + 4]
            if len(digits) == 3 and digits.isascii() and digits.isdigit() and int(digits) < 256:
                raw.append(int(digits))
                at += 4
                continue
            at += 1
            if at == len(line):
                break
        raw += line[at].encode()
        at += 1
    raise ZoneError("a string without its closing quotation mark", number)
