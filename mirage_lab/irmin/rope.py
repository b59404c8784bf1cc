"""rope: a long text as an immutable tree of short ones: an edit costs the depth of the tree (Boehm, Atkinson, Plass 1995)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["Rope"]

LEAF: Final = 512
"""Characters of a leaf."""


class Rope:
    """Text; `insert`, `delete` and `+` return another rope that shares the pieces."""

    __slots__ = ("_depth", "_left", "_right", "_text", "size")

    def __init__(self, text: str = "") -> None:
        made = _build(text) if len(text) > LEAF else None
        self._left: Rope | None = made._left if made else None
        self._right: Rope | None = made._right if made else None
        self._text = "" if made else text
        self._depth: int = made._depth if made else 0
        self.size = len(text)

    def __len__(self) -> int:
        return self.size

    def pieces(self) -> Iterator[str]:
        """Yield the short texts in order."""
        waiting: list[Rope] = [self]
        while waiting:
            node = waiting.pop()
            if node._left is None or node._right is None:
                yield node._text
            else:
                waiting += (node._right, node._left)

    def __str__(self) -> str:
        return "".join(self.pieces())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rope) and self.size == other.size and (self is other or str(self) == str(other))

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Rope({str(self)[:60]!r}{'…' if self.size > 60 else ''})"

    def __add__(self, other: Rope) -> Rope:
        return _join(self, other)

    def split(self, at: int) -> tuple[Rope, Rope]:
        """Return the text before character `at`, and from it on."""
        at = max(0, min(at, self.size))
        if self._left is None or self._right is None:
            return Rope(self._text[:at]), Rope(self._text[at:])
        if at <= self._left.size:
            first, second = self._left.split(at)
            return first, _join(second, self._right)
        first, second = self._right.split(at - self._left.size)
        return _join(self._left, first), second

    def insert(self, at: int, text: str) -> Rope:
        """Return the rope with `text` before character `at`."""
        before, after = self.split(at)
        return before + Rope(text) + after

    def delete(self, at: int, count: int) -> Rope:
        """Return the rope without `count` characters from `at` on."""
        before, rest = self.split(at)
        return before + rest.split(count)[1]


def _join(left: Rope, right: Rope) -> Rope:
    if not left.size or not right.size:
        return right if not left.size else left
    if left.size + right.size <= LEAF:
        return Rope(str(left) + str(right))
    made = _node(left, right)
    return made if made._depth <= 2 * made.size.bit_length() else _build(str(made))


def _node(left: Rope, right: Rope) -> Rope:
    made = Rope()
    made._left, made._right, made.size = left, right, left.size + right.size
    made._depth = 1 + max(left._depth, right._depth)
    return made


def _build(text: str) -> Rope:
    row = [Rope(text[at : at + LEAF]) for at in range(0, len(text), LEAF)] or [Rope()]
    while len(row) > 1:
        row = [_node(row[at], row[at + 1]) if at + 1 < len(row) else row[at] for at in range(0, len(row), 2)]
    return row[0]
