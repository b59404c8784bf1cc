r"""Domain names (RFC 1035 sections 3.1 and 4.1.4): labels, their bytes, their text, and compression.

A name is a tuple of labels, the root is `()`.  Case is kept and does not count (RFC 4343): `fold` makes names comparable.
In text a dot or backslash within a label is escaped, `a\.b`, and other bytes are `\123` (RFC 1035 section 5.1).
"""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.tcpip.wire.error import WireError

__all__ = ["LABEL", "LONGEST", "Known", "Name", "decode", "encode", "fold", "inside", "name", "reverse", "text", "within"]

Name = tuple[bytes, ...]

Known = dict[int, tuple[Name, int]]
"""Names by the place they begin at, with their length in bytes."""

LABEL: Final = 63
LONGEST: Final = 255
JUMPS: Final = 127
"""Pointers followed for one name; each could lead to a label, and a name has no more of them."""
TOO_LONG: Final = "a domain name of more than 255 bytes"
_POINTER: Final = 0xC0
_FARTHEST: Final = 0x4000
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b'.\\";()@$')


def fold(of: Name) -> Name:
    """Return the name in lower case: what is compared."""
    return tuple(label.lower() for label in of)


def within(of: Name, origin: Name) -> bool:
    """True if a folded name is `origin` (folded) or below it."""
    return not origin or of[-len(origin) :] == origin


def decode(buf: bytes, at: int, known: Known | None = None) -> tuple[Name, int]:
    """Read a name at `at`; return it and where it ends.  Pointers lead back only, so there is no loop.  Raises WireError.

    `known` remembers what was read at which place of `buf`, so that a thousand pointers to a long name cost little.
    """
    labels: list[bytes] = []
    size, end, before, jumps = 1, -1, at, 0
    begun = [(at, 0, 0)]
    while True:
        if at >= len(buf):
            raise WireError("a domain name goes beyond the message")
        length = buf[at]
        if length >= _POINTER:
            if at + 1 >= len(buf):
                raise WireError("a compression pointer is cut off")
            target = (length & 0x3F) << 8 | buf[at + 1]
            end = at + 2 if end < 0 else end
            if target >= before:
                raise WireError(f"a compression pointer to {target} does not lead back from {before}")
            jumps += 1
            if jumps > JUMPS:
                raise WireError(f"a domain name of more than {JUMPS} compression pointers")
            found = known.get(target) if known is not None else None
            if found is None:
                begun.append((target, len(labels), size - 1))
                at = before = target
                continue
            labels += found[0]
            size += found[1] - 1
            if size > LONGEST:
                raise WireError(TOO_LONG)
            break
        if length > LABEL:
            raise WireError(f"a label of type {length >> 6}: only 0 (a label) and 3 (a pointer) are known")
        at += 1
        if not length:
            break
        size += length + 1
        if size > LONGEST:
            raise WireError(TOO_LONG)
        if at + length > len(buf):
            raise WireError("a label goes beyond the message")
        labels.append(buf[at : at + length])
        at += length
    if known is not None:
        for place, before_it, bytes_before in begun:
            known[place] = (tuple(labels[before_it:]), size - bytes_before)
    return tuple(labels), at if end < 0 else end


def encode(of: Name, into: bytearray | None = None, places: dict[Name, int] | None = None, *, share: bool = True) -> bytes:
    """Return the bytes of a name that will stand at the end of `into`; `places` remembers where names begin.

    With `share` it is compressed: what `into` has already is pointed to.
    """
    if places is None:
        return b"".join(bytes((len(label),)) + label for label in of) + b"\0"
    out = bytearray()
    base = len(into) if into is not None else 0
    key = fold(of)
    for at, label in enumerate(of):
        rest = key[at:]
        if share and rest in places:
            return bytes(out) + (_POINTER << 8 | places[rest]).to_bytes(2, "big")
        if base + len(out) < _FARTHEST:
            places.setdefault(rest, base + len(out))
        out.append(len(label))
        out += label
    return bytes(out) + b"\0"


def text(of: Name) -> str:
    """Return `www.example.org.`; the root is `.`."""
    return "".join(_label(label) + "." for label in of) or "."


def _label(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"\\{chr(byte)}" if 0x21 <= byte < 0x7F else f"\\{byte:03}" for byte in label)


def name(said: str, origin: Name | None = None) -> Name:
    """Return the name that text says, below `origin` unless it ends in a dot; `@` is the origin.  Raises LocalProtocolError."""
    if said == "@" and origin is not None:
        return origin
    labels, absolute = _labels(said)
    whole = (*labels, *(origin or ())) if not absolute else tuple(labels)
    if sum(len(label) + 1 for label in whole) + 1 > LONGEST:
        raise LocalProtocolError(f"{said!r}: a domain name has 255 bytes at most")
    return whole


def _labels(said: str) -> tuple[list[bytes], bool]:
    if said == ".":
        return [], True
    labels, label, at = [], bytearray(), 0
    raw = said.encode("utf-8")
    while at < len(raw):
        byte = raw[at]
        if byte == 0x2E:
            labels.append(_fit(bytes(label), said))
            label.clear()
        elif byte == 0x5C:
            digits = raw[at + 1 : at + 4]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                at += 3
            elif at + 1 < len(raw) and not digits[:1].isdigit():
                label.append(raw[at + 1])
                at += 1
            else:
                raise LocalProtocolError(f"{said!r}: a backslash is followed by a character or three digits up to 255")
        else:
            label.append(byte)
        at += 1
    if label:
        labels.append(_fit(bytes(label), said))
    elif not labels:
        raise LocalProtocolError("a domain name without a letter; the root is written as a dot")
    return labels, not label


def _fit(label: bytes, said: str) -> bytes:
    if not 0 < len(label) <= LABEL:
        raise LocalProtocolError(f"{said!r}: a label has 1 to {LABEL} bytes")
    return label


def inside(of: Name, origin: Name) -> str:
    """Return the text of a name relative to `origin`: `www`, or `@` for the origin itself."""
    if fold(of) == fold(origin):
        return "@"
    return text(of[: len(of) - len(origin)])[:-1] if within(fold(of), fold(origin)) and origin else text(of)


def reverse(address: int) -> Name:
    """Return the name under in-addr.arpa of an IPv4 address (RFC 1035 section 3.5)."""
    return (*(str(byte).encode() for byte in reversed(address.to_bytes(4, "big"))), b"in-addr", b"arpa")
