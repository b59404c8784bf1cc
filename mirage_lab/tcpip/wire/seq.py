"""TCP sequence numbers: integers modulo 2^32, compared by distance (RFC 9293 section 3.4), never with <."""

from __future__ import annotations

__all__ = ["HALF", "MASK", "Seq", "before", "distance", "within"]

MASK = 0xFFFF_FFFF
HALF = 0x8000_0000


def distance(a: int, b: int) -> int:
    """Return how far `b` lies after `a`, -2^31 <= d < 2^31."""
    return ((b - a + HALF) & MASK) - HALF


def before(a: int, b: int) -> bool:
    """True if `a` comes before `b`."""
    return (a - b) & MASK >= HALF


def within(seq: int, start: int, length: int) -> bool:
    """True if start <= seq < start + length, around the circle."""
    return (seq - start) & MASK < length


class Seq:
    """A sequence number for people; the hot path uses the functions on plain integers.

    >>> Seq(0xFFFFFFFF) + 2, Seq(0xFFFFFFFF).before(Seq(1)), Seq(1) - Seq(0xFFFFFFFF)
    (Seq(1), True, 2)
    """

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value & MASK

    def __add__(self, count: int) -> Seq:
        return Seq(self.value + count)

    def __sub__(self, other: Seq) -> int:
        return distance(other.value, self.value)

    def before(self, other: Seq) -> bool:
        """True if this comes before `other`."""
        return before(self.value, other.value)

    def within(self, start: Seq, length: int) -> bool:
        """True if this lies in the `length` numbers from `start` on."""
        return within(self.value, start.value, length)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seq) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Seq({self.value})"
