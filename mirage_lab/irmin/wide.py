"""wide: the children of a directory that has many: a persistent map, so that a change copies a path and not the directory.

    root (32) --hash, 5 bits a level--> branch (32) --> ... --> leaf: (name, child, name, child, ...), LEAF names at most

A branch is a list that nobody changes once it is made, a leaf a tuple.  Setting one of 10,000 children copies two branches
and a leaf: under 1 KiB and a few microseconds, where copying the directory would take 50 (a hash trie, Bagwell 2001).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

__all__ = ["Wide"]

T = TypeVar("T")
BITS: Final = 5
FANOUT: Final = 1 << BITS
MASK: Final = FANOUT - 1
LEAF: Final = 12
"""Names in a leaf, unless hashes run out of bits."""
DEEPEST: Final = 60


class Wide(Generic[T]):
    """An immutable map from names to children; `put` and `without` return another one that shares what did not change."""

    __slots__ = ("_root", "size")

    def __init__(self, root: list[Any] | None = None, size: int = 0) -> None:
        self._root: list[Any] = root if root is not None else [None] * FANOUT
        self.size = size

    @classmethod
    def of(cls, items: Iterable[tuple[str, T]]) -> Wide[T]:
        """Make one of (name, child) pairs; names are distinct."""
        made: Wide[T] = cls()
        for name, child in items:
            made = made.put(name, child)
        return made

    def __len__(self) -> int:
        return self.size

    def get(self, name: str) -> T | None:
        """Return the child of that name, or None."""
        code = hash(name)
        node: Any = self._root
        while type(node) is list:
            node = node[code & MASK]
            code >>= BITS
        if node is None:
            return None
        names = node[::2]
        if name not in names:
            return None
        found: T = node[2 * names.index(name) + 1]
        return found

    def __getitem__(self, name: str) -> T:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items())

    def put(self, name: str, child: T) -> Wide[T]:
        """Return the map with one child more, or another in its place."""
        code, shift = hash(name), 0
        root = node = self._root.copy()
        while True:
            at = code >> shift & MASK
            there = node[at]
            shift += BITS
            if there is None:
                node[at] = (name, child)
                return Wide(root, self.size + 1)
            if type(there) is list:
                node[at] = node = there.copy()
                continue
            try:
                index = there.index(name) + 1
            except ValueError:
                node[at] = _grown((*there, name, child), shift)
                return Wide(root, self.size + 1)
            node[at] = (*there[:index], child, *there[index + 1 :])
            return Wide(root, self.size)

    def without(self, name: str) -> Wide[T]:
        """Return the map without one child; the same map when there is none of that name."""
        if self.get(name) is None:
            return self
        code = hash(name)
        root = node = self._root.copy()
        while type(there := node[code & MASK]) is list:
            node[code & MASK] = there = there.copy()
            node = there
            code >>= BITS
        index = there.index(name)
        node[code & MASK] = (*there[:index], *there[index + 2 :]) or None
        return Wide(root, self.size - 1)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield (name, child), in no order that means anything."""
        return _pairs(self._root)

    def changed(self, other: Wide[T]) -> Iterator[str]:
        """Yield the names whose child is not the very same in `other`; what is shared costs nothing."""
        return _changed(self._root, other._root)


def _grown(leaf: tuple[Any, ...], shift: int) -> Any:
    """A leaf that has become too long is a branch of shorter ones."""
    if len(leaf) <= 2 * LEAF or shift >= DEEPEST:
        return leaf
    branch: list[Any] = [None] * FANOUT
    for index in range(0, len(leaf), 2):
        at = hash(leaf[index]) >> shift & MASK
        branch[at] = (*(branch[at] or ()), leaf[index], leaf[index + 1])
    for at, each in enumerate(branch):
        if each is not None:
            branch[at] = _grown(each, shift + BITS)
    return branch


def _pairs(node: Any) -> Iterator[tuple[str, Any]]:
    if type(node) is list:
        for each in node:
            if each is not None:
                yield from _pairs(each)
    elif node is not None:
        for index in range(0, len(node), 2):
            yield node[index], node[index + 1]


def _changed(one: Any, other: Any) -> Iterator[str]:
    if one is other:
        return
    if type(one) is list and type(other) is list:
        for mine, theirs in zip(one, other):
            if mine is not theirs:
                yield from _changed(mine, theirs)
        return
    before, after = dict(_pairs(one)), dict(_pairs(other))
    for name, child in before.items():
        if after.pop(name, None) is not child:
            yield name
    yield from after
