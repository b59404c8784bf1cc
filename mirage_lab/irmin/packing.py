"""packing: commits encoded for the next pack: each tree once, and a large directory as its difference from the one before.

    the directory before    row row row row row            the directory    row row row* row row
    in the pack             copy 2 rows, insert 1, copy 2  (gitformat-pack, OBJ_REF_DELTA: its base is in the same pack)

What is kept of a large directory is its rows in order: another row costs no look at the others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Final, NamedTuple

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.node import EMPTY, Blob, Entry, Node, changed_steps
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE, tree_rows
from mirage_lab.irmin.pack import delta, packed, packed_delta

__all__ = ["Packing"]

FEW: Final = 12
"""Entries of a directory that is encoded as a whole each time."""
KEPT: Final = 100
"""Larger directories whose rows are kept."""
DEEPEST: Final = 30
"""Differences from differences."""


class _Rows(NamedTuple):
    name: bytes
    rows: list[tuple[bytes, bytes]]
    body: bytes
    depth: int


class Packing:
    """Objects that are to be in the next pack, by name, as they stand there: `entries`."""

    def __init__(self, home: object) -> None:
        """What has `home` is stored already."""
        self.entries: dict[bytes, bytes] = {}
        self._home = home
        self._ready: list[Entry] = []
        self._large: OrderedDict[Node, _Rows] = OrderedDict()

    def add(self, commit: Commit) -> None:
        """Encode a commit and what is not encoded or stored yet of its tree."""
        before = commit.parents[0].root if commit.parents else None
        if not self._has(commit.root):
            self._gather(commit.root, before)
        self.entries[commit.name] = packed(COMMIT, commit.body)

    def stored(self) -> None:
        """They are in a pack: begin another."""
        for entry in self._ready:
            entry.home = self._home
        self._ready.clear()
        self.entries.clear()

    def _has(self, entry: Entry) -> bool:
        return entry.home is self._home or entry.home is self._ready

    def _gather(self, entry: Entry, before: Entry | None) -> None:
        """Encode an entry, children first; `before` was in its place in the commit before."""
        if isinstance(entry, Blob):
            if entry.name not in self.entries:
                self.entries[entry.name] = packed(BLOB, entry.data)
        elif len(entry) > FEW:
            self._gather_large(entry, before if isinstance(before, Node) and self._has(before) else None)
        else:
            old = before.children if isinstance(before, Node) else EMPTY.children
            for step, child in entry.children.items():
                if child.home is not self._home and child.home is not self._ready:
                    self._gather(child, old.get(step))
            if entry.known is None or entry.known not in self.entries:
                body = entry.body
                self.entries[entry.name] = packed(TREE, body)
        if entry is not EMPTY:
            entry.home = self._ready
            self._ready.append(entry)

    def _gather_large(self, node: Node, before: Node | None) -> None:
        """Encode a directory of many entries; what is in `before` too is encoded already."""
        children, old = node.children, EMPTY.children if before is None else before.children
        names = sorted(children if before is None else changed_steps(before, node))
        for step in names:
            child = children.get(step)
            if child is not None and not self._has(child):
                self._gather(child, old.get(step))
        base = None if before is None or node.kept or before.kept else self._large.get(before)
        if base is None:
            rows = tree_rows([(step, type(entry) is Node, entry.name) for step, entry in children.items()], node.kept)
        else:
            rows = base.rows.copy()
            for step in names:
                _replace(rows, step, old.get(step), children.get(step))
        body = b"".join([row for _, row in rows])
        name, difference, depth = node.named(body), None, 0
        if base is not None and base.depth < DEEPEST and base.name in self.entries:
            difference, depth = delta(base.body, body), base.depth + 1
        self._large[node] = _Rows(name, rows, body, 0 if difference is None else depth)
        if len(self._large) > KEPT:
            self._large.popitem(last=False)
        if name not in self.entries:
            self.entries[name] = packed(TREE, body) if difference is None or base is None else packed_delta(base.name, difference)


def _replace(rows: list[tuple[bytes, bytes]], step: str, old: Entry | None, new: Entry | None) -> None:
    """Have the row of another entry among the rows of a tree, in order."""
    if old is not None:
        [(key, _)] = tree_rows([(step, type(old) is Node, old.name)])
        del rows[bisect_left(rows, (key, b""))]
    if new is not None:
        [row] = tree_rows([(step, type(new) is Node, new.name)])
        rows.insert(bisect_left(rows, row), row)
