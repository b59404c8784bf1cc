"""grammar: the words of a filter read into one test, by descent; `and` binds tighter than `or`, `not` tightest.

    filter      = [ either ]                                 nothing lets every frame in
    either      = both { "or" both }
    both        = one { "and" one }
    one         = { "not" } ( "(" either ")" | comparison )
    comparison  = field [slice] [ "&" number ] [ relation (value | field [slice]) | "contains" value | ["not"] "in" "{" set "}" ]
    set         = value [".." value] { [","] value [".." value] }
"""

from __future__ import annotations

import difflib
from typing import Any, Final, NamedTuple, NoReturn

from mirage_lab.tcpip.displayfilter.compare import (
    RELATIONS,
    Test,
    all_of,
    any_bit,
    any_of,
    contains,
    exists,
    inside,
    masked,
    never,
    pairs,
    sliced,
    with_value,
)
from mirage_lab.tcpip.displayfilter.fields import FIELDS, Field, Kind, Reader, a
from mirage_lab.tcpip.displayfilter.values import WHOLE_ADDRESS, BadValue, spans, value
from mirage_lab.tcpip.displayfilter.words import END, FilterError, Word, words

__all__ = ["parse"]

DEEPEST: Final = 50
"""Parentheses inside each other."""

_APPLICATION: Final = "what applications say is not taken apart"
_CAPTURE: Final = "is a word of capture filters, another language"
_ELSEWHERE: Final = {
    "tcp.nxtseq": "is tcp.seq and tcp.len together; compare these",
    "tcp.window_size": "is scaled as the SYN said; tcp.window_size_value is the number as sent",
    "tcp.analysis": "is left out; tcp.stream, tcp.seq and tcp.len tell what was sent again",
    "frame.time_delta": "needs the frame before; frame.time_relative is the time since the first",
    "frame.time": "is the time of day; frame.time_relative is the time since the first frame, in seconds",
    "http": f'{_APPLICATION}; tcp.payload contains "GET" finds text',
    "tls": f"{_APPLICATION}; tcp.port == 443 finds the segments",
    "any": "is left out: a field with several values passes when any of them does",
    "all": "is left out: === and != want all values of a field",
    "data": "is tcp.payload or udp.payload here",
    "host": f"{_CAPTURE}; here: ip.addr == 10.0.0.2",
    "net": f"{_CAPTURE}; here: ip.addr == 10.0.0.0/24",
    "port": f"{_CAPTURE}; here: tcp.port == 80",
    "src": f"{_CAPTURE}; here: ip.src == 10.0.0.2",
    "dst": f"{_CAPTURE}; here: ip.dst == 10.0.0.2",
}


class _Side(NamedTuple):
    """One side of a comparison: the field, what values it has after a slice or a mask, and how they are read."""

    field: Field
    kind: str
    read: Reader
    word: Word
    bits: bool = False


def parse(text: str) -> tuple[Test, bool]:
    """Return the test that `text` says, and whether it follows connections; raises FilterError."""
    parser = _Parser(text)
    return parser.whole(), parser.follows


class _Parser:
    """A text being read: the words and the place in them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = words(text)
        self.at = 0
        self.deep = 0
        self.follows = False

    def wrong(self, reason: str, word: Word) -> NoReturn:
        raise FilterError(reason, self.text, word.at, word.length)

    @property
    def next(self) -> Word:
        return self.words[self.at]

    def take(self, *kinds: str) -> Word | None:
        """Return the next word and go on, if it is of one of the kinds."""
        word = self.words[self.at]
        if word.kind not in kinds:
            return None
        self.at += 1
        return word

    # joined ------------------------------------------------------------------------------------------------------

    def whole(self) -> Test:
        if self.next.kind == END:
            return lambda seen: True
        test = self.either()
        if self.next.kind != END:
            self.wrong(self.unexpected(), self.next)
        return test

    def unexpected(self) -> str:
        word = self.next
        if word.kind in (")", "}"):
            return f"nothing was opened that this {word.kind} closes"
        if word.kind in RELATIONS or word.kind in ("contains", "in", "matches", "&"):
            return f"nothing that {word.text} could compare stands before it; join two comparisons with and"
        return f"{word.text!r} does not follow; join two tests with and, or"

    def either(self) -> Test:
        tests = [self.both()]
        while self.take("or"):
            tests.append(self.both())
        return any_of(tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.take("and"):
            tests.append(self.one())
        return all_of(tests)

    def one(self) -> Test:
        negated = False
        while self.take("not"):
            negated = not negated
        opened = self.take("(")
        if opened is None:
            test = self.comparison()
        else:
            self.deep += 1
            if self.deep > DEEPEST:
                self.wrong(f"parentheses go {DEEPEST} deep at most", opened)
            test = self.either()
            if not self.take(")"):
                self.wrong(self.unexpected(), self.next) if self.next.kind != END else self.wrong("this ( is not closed", opened)
            self.deep -= 1
        return never(test) if negated else test

    # compared ----------------------------------------------------------------------------------------------------

    def comparison(self) -> Test:
        left = self.side()
        word = self.next
        if word.kind in RELATIONS:
            self.at += 1
            return self.relation(left, word)
        if word.kind == "contains":
            self.at += 1
            return self.holding(left, word)
        if word.kind == "in" or (word.kind == "not" and self.words[self.at + 1].kind == "in"):
            self.at += 1 if word.kind == "in" else 2
            test = self.members(left)
            return test if word.kind == "in" else never(test)
        if word.kind == "matches":
            self.wrong("matches is left out: a pattern can take forever; contains finds bytes", word)
        return any_bit(left.read) if left.bits else exists(left.read)

    def side(self) -> _Side:
        """Read a field, perhaps a slice of it, perhaps some bits of it."""
        word = self.take("word")
        if word is None:
            self.wrong(self.no_field(self.next), self.next)
        field = FIELDS.get(word.text)
        if field is None:
            self.wrong(self.unknown(word), word)
        self.follows |= field.follows
        cut = self.take("slice")
        if cut is not None:
            return self.slice(field, word, cut)
        mark = self.take("&")
        if mark is None:
            return _Side(field, field.kind, field.read, word)
        if field.kind != Kind.NUMBER:
            self.wrong(f"{field.name} is no number; & takes the bits of one", mark)
        return _Side(field, field.kind, masked(field.read, self.constant(field)), word, True)

    def slice(self, field: Field, word: Word, cut: Word) -> _Side:
        read = field.read
        if field.kind in WHOLE_ADDRESS:
            read = _octets(read, 4 if field.kind == Kind.ADDRESS else 16)
        elif field.kind not in (Kind.MAC, Kind.BYTES, Kind.LAYER):
            self.wrong(f"{field.name} is {a(field.kind)}, which has no bytes to slice", cut)
        try:
            parts = spans(cut.text)
        except BadValue as error:
            self.wrong(str(error), cut)
        if self.next.kind == "slice":
            self.wrong("a slice is not sliced again; [0:2,5] puts parts together", self.next)
        return _Side(Field(field.name, Kind.BYTES, "", read), Kind.BYTES, sliced(read, parts), word)

    def relation(self, left: _Side, mark: Word) -> Test:
        word = self.next
        if word.kind == "word" and word.text in FIELDS:
            right = self.side()
            if _comparable(right.kind) != _comparable(left.kind):
                self.wrong(f"{left.field.name} is {a(left.kind)} and {right.field.name} {a(right.kind)}: they cannot be compared", word)
            return pairs(left.read, mark.kind, right.read)
        want = self.constant(left.field)
        read = left.read
        if left.kind in WHOLE_ADDRESS:
            want, mask = want
            read = read if mask == WHOLE_ADDRESS[left.kind] else masked(read, mask)
        return with_value(read, mark.kind, want)

    def holding(self, left: _Side, mark: Word) -> Test:
        if left.kind == Kind.TEXT:
            return contains(left.read, self.constant(left.field))
        if left.kind not in (Kind.MAC, Kind.BYTES, Kind.LAYER):
            self.wrong(f"{left.field.name} is {a(left.kind)}; contains looks into bytes and text", mark)
        read = (left.field.all or left.read) if left.kind == Kind.LAYER else left.read
        return contains(read, self.constant(Field(left.field.name, Kind.BYTES, "", read)))

    def members(self, left: _Side) -> Test:
        opened = self.take("{")
        if opened is None:
            self.wrong("a set is written in braces, as {80 443 8000..8080}", self.next)
        exact: set[Any] = set()
        ranges: list[tuple[Any, Any]] = []
        while not self.take("}"):
            if self.next.kind == END:
                self.wrong("this { is not closed", opened)
            first = self.constant(left.field)
            if self.take(".."):
                ranges.append((_low(left.kind, first), _high(left.kind, self.constant(left.field))))
            elif left.kind in WHOLE_ADDRESS and first[1] != WHOLE_ADDRESS[left.kind]:
                ranges.append((_low(left.kind, first), _high(left.kind, first)))
            else:
                exact.add(first[0] if left.kind in WHOLE_ADDRESS else first)
            if self.take(",") and self.next.kind == "}":
                self.wrong("a value follows a comma", self.next)
        if not exact and not ranges:
            self.wrong("this set is empty", opened)
        if left.kind in (Kind.BYTES, Kind.LAYER) and ranges:
            self.wrong("bytes have no ranges: name each value", opened)
        return inside(left.read, frozenset(exact), ranges)

    def constant(self, field: Field) -> Any:
        """Read a value of a field's kind."""
        word = self.next
        if word.kind not in ("word", "string"):
            self.wrong(f"a value of {field.name} ({field.kind}) is missing here", word)
        self.at += 1
        try:
            return value(field, word)
        except BadValue as error:
            self.wrong(str(error), word)

    # what went wrong ---------------------------------------------------------------------------------------------

    def no_field(self, word: Word) -> str:
        if word.kind == END:
            return "a field is missing here"
        return f"{word.text!r} stands where a field belongs, as in tcp.port == 80"

    def unknown(self, word: Word) -> str:
        said = word.text.lower()
        for name in (said, said.rpartition(".")[0], said.partition(".")[0]):
            if name in _ELSEWHERE:
                return f"{word.text}: {name} {_ELSEWHERE[name]}"
        if self.words[self.at].kind in RELATIONS and not said[:1].isalpha():
            return f"{word.text} stands where a field belongs: the field comes first, as in tcp.port == 80"
        if self.words[self.at].kind == "(":
            return f"{word.text}: functions are left out; tcp.len is the length of the data, and a slice takes bytes"
        near = difflib.get_close_matches(said, FIELDS, 3, 0.6)
        if near:
            return f"no field {word.text}; near it: {', '.join(near)}"
        return f"no field {word.text}; there are frame, eth, arp, ip, icmp, ipv6, icmpv6, udp, tcp, dns, dhcp and what is in them, as tcp.port"


def _comparable(kind: str) -> str:
    """Return what a kind's values are when compared with another field's."""
    return {Kind.LAYER: Kind.BYTES, Kind.FLAG: Kind.NUMBER}.get(kind, kind)


def _octets(read: Reader, size: int) -> Reader:
    return lambda seen: [address.to_bytes(size, "big") for address in read(seen)]


def _low(kind: str, found: Any) -> Any:
    return found[0] if kind in WHOLE_ADDRESS else found


def _high(kind: str, found: Any) -> Any:
    return found[0] | (WHOLE_ADDRESS[kind] ^ found[1]) if kind in WHOLE_ADDRESS else found
