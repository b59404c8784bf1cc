"""compare: the tests a filter is made of: closures that look at one frame.

A field with several values passes when any of them does; `!=` and `===` want all of them.  Without a value no comparison
holds, which is why `tcp.port != 80` leaves frames without ports out and `not tcp.port == 80` lets them in.  Bytes are
ordered by length first, then byte by byte.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from mirage_lab.tcpip.displayfilter.fields import Reader
from mirage_lab.tcpip.displayfilter.places import Seen
from mirage_lab.tcpip.displayfilter.values import Span

__all__ = ["RELATIONS", "Test", "all_of", "any_bit", "any_of", "contains", "exists", "inside", "masked", "never", "pairs", "sliced", "with_value"]

Test = Callable[[Seen], bool]

RELATIONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    "~=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
"""Each relation as Python says it; `===` and `!=` hold for all values of a field, the others for any."""

_OF_ALL: Final = frozenset({"===", "!="})


def exists(read: Reader) -> Test:
    """Test that the field is there."""
    return lambda seen: bool(read(seen))


def never(holds: Test) -> Test:
    """Test that `holds` does not."""
    return lambda seen: not holds(seen)


def all_of(tests: Sequence[Test]) -> Test:
    """Test that all hold, the first first."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda seen: one(seen) and other(seen)
    fixed = tuple(tests)
    return lambda seen: all(holds(seen) for holds in fixed)


def any_of(tests: Sequence[Test]) -> Test:
    """Test that one holds, the first first."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda seen: one(seen) or other(seen)
    fixed = tuple(tests)
    return lambda seen: any(holds(seen) for holds in fixed)


def any_bit(read: Reader) -> Test:
    """Test that a value is not 0."""
    return lambda seen: any(read(seen))


def with_value(read: Reader, relation: str, want: Any) -> Test:
    """Test the field against a value."""
    if relation == "==":
        return lambda seen: want in read(seen)
    if relation == "!=":
        return lambda seen: bool(values := read(seen)) and want not in values
    if relation in ("===", "~=") or not isinstance(want, bytes):
        return _each(read, relation, want)
    return _each(lambda seen: [(len(value), value) for value in read(seen)], relation, (len(want), want))


def _each(read: Reader, relation: str, want: Any) -> Test:
    holds = RELATIONS[relation]
    if relation in _OF_ALL:
        return lambda seen: bool(values := read(seen)) and all(holds(value, want) for value in values)
    return lambda seen: any(holds(value, want) for value in read(seen))


def pairs(read: Reader, relation: str, other: Reader) -> Test:
    """Test the field against another: each value of the one against each of the other."""
    holds, quantifier = RELATIONS[relation], all if relation in _OF_ALL else any

    def ordered(value: Any) -> Any:
        return (len(value), value) if isinstance(value, bytes) else value

    def test(seen: Seen) -> bool:
        ones, others = read(seen), other(seen)
        return bool(ones) and bool(others) and quantifier(holds(ordered(a), ordered(b)) for a in ones for b in others)

    return test


def inside(read: Reader, exact: frozenset[Any], ranges: Sequence[tuple[Any, Any]]) -> Test:
    """Test that a value is one of `exact` or lies in one of `ranges`, both ends included."""
    fixed = tuple(ranges)
    if not fixed:
        return lambda seen: not exact.isdisjoint(read(seen))
    return lambda seen: any(value in exact or any(low <= value <= high for low, high in fixed) for value in read(seen))


def contains(read: Reader, want: bytes | str) -> Test:
    """Test that the bytes, or the text, are somewhere in a value."""
    return lambda seen: any(want in value for value in read(seen))


def masked(read: Reader, mask: int) -> Reader:
    """Read a number's bits in `mask`."""
    return lambda seen: [value & mask for value in read(seen)]


def sliced(read: Reader, parts: Sequence[Span]) -> Reader:
    """Read parts of bytes, put together; a value that is too short for one of them has none."""

    def cut(value: bytes) -> bytes | None:
        found = []
        size = len(value)
        for begin, length in parts:
            start = begin + size if begin < 0 else begin
            stop = size if length is None else start + length
            if not 0 <= start < size or stop > size:
                return None
            found.append(value[start:stop])
        return b"".join(found)

    return lambda seen: [part for value in read(seen) if (part := cut(value)) is not None]
