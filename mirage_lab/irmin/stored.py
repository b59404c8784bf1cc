"""stored: objects that are kept somewhere, brought by name: shallow trees and commits, the same object for the same commit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.node import WIDE, Blob, Entry, Node
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE, Info, Kept, decode_commit, decode_tree, kept_of
from mirage_lab.irmin.wide import Wide

__all__ = ["Stored"]

NODES: Final = 4_096
"""Directories kept once they were read."""


class Stored:
    """`read(name, kind)` returns the body of an object; raises ObjectError when it is not there, or not what its name says."""

    def __init__(self, read: Callable[[bytes, bytes], bytes]) -> None:
        self._read = read
        self._commits: WeakValueDictionary[bytes, Commit] = WeakValueDictionary()
        self._nodes: OrderedDict[bytes, tuple[dict[str, Entry] | Wide[Entry], Kept]] = OrderedDict()

    def blob(self, name: bytes) -> bytes:
        """Return the bytes of a blob."""
        return self._read(name, BLOB)

    def children(self, name: bytes) -> tuple[dict[str, Entry] | Wide[Entry], Kept]:
        """Return the children of a tree, shallow, and what Git alone knows of it."""
        found = self._nodes.get(name)
        if found is None:
            body = self._read(name, TREE)
            rows = decode_tree(body)
            entries: dict[str, Entry] = {step: Node(None, child, self) if directory else Blob(None, child, self) for step, directory, child in rows}
            found = self._nodes[name] = (entries if len(entries) <= WIDE else Wide.of(entries.items()), kept_of(body))
            if len(self._nodes) > NODES:
                self._nodes.popitem(last=False)
        return found

    def parts(self, name: bytes) -> tuple[Node, tuple[Commit, ...], Info, bytes]:
        """Return what a stored commit is made of."""
        body = self._read(name, COMMIT)
        tree, parents, info = decode_commit(body)
        return Node(None, tree, self), tuple(self.commit(parent) for parent in parents), info, body

    def commit(self, name: bytes) -> Commit:
        """Return a commit, shallow: it is read when it is looked at."""
        found = self._commits.get(name)
        if found is None:
            found = self._commits[name] = Commit(None, (), None, name, self)
        return found

    def keep(self, commit: Commit) -> None:
        """Take a commit that was made here and is stored now."""
        self._commits[commit.name] = commit
