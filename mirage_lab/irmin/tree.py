"""tree: a tree of values as a person holds it: nodes, and the contents type that makes their bytes values.

A Tree is a value: `set` and `remove` return another one, nothing is written anywhere until a store takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from mirage_lab.irmin import node
from mirage_lab.irmin.contents import Contents
from mirage_lab.irmin.errors import PathError, StoreError
from mirage_lab.irmin.merging import Conflicts, merge_trees
from mirage_lab.irmin.node import EMPTY, Blob, Node
from mirage_lab.irmin.path import Path, Steps, shown, steps_of

__all__ = ["Change", "Concrete", "Stats", "Tree"]

LINES: Final = 40
Listing = list[tuple[str, Literal["contents", "node"]]]


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs between two trees; None where there is none."""

    path: Steps
    before: Any
    after: Any

    @property
    def kind(self) -> Literal["added", "removed", "updated"]:
        """What became of it."""
        return "added" if self.before is None else "removed" if self.after is None else "updated"

    def __str__(self) -> str:
        sign = {"added": "+", "removed": "-", "updated": "~"}[self.kind]
        told = f"{self.before!r} -> {self.after!r}" if self.kind == "updated" else repr(self.before if self.after is None else self.after)
        return f"{sign} {shown(self.path)} {told}"


@dataclass(frozen=True, slots=True)
class Stats:
    """How large a tree is: directories (the root is one), values, the steps of the longest path, the entries of the widest directory."""

    directories: int
    values: int
    depth: int
    width: int


Changes = list[Change]
Lines = list[str]
Kind = Literal["contents", "node"]
Concrete = dict[str, Any]
"""A directory as a dictionary: names to values, or to other directories."""


class Tree:
    """Values of one contents type under paths."""

    __slots__ = ("contents", "node")

    def __init__(self, contents: Contents[Any], root: Node = EMPTY) -> None:
        self.contents = contents
        self.node = root

    @classmethod
    def of(cls, contents: Contents[Any], values: Mapping[str, Any]) -> Tree:
        """Make a tree of {path: value}."""
        tree = cls(contents)
        for path, value in values.items():
            tree = tree.set(path, value)
        return tree

    @classmethod
    def of_concrete(cls, contents: Contents[Any], concrete: Concrete) -> Tree:
        """Make a tree of dictionaries in dictionaries (no values then); an empty one is nothing.  Raises PathError."""
        tree = cls(contents)
        waiting: list[tuple[Steps, Concrete]] = [((), concrete)]
        while waiting:
            above, entries = waiting.pop()
            for step, entry in entries.items():
                if isinstance(entry, dict):
                    waiting.append(((*above, step), entry))
                else:
                    tree = tree.set((*above, step), entry)
        return tree

    def concrete(self) -> Concrete:
        """Return the tree as dictionaries in dictionaries."""
        found: Concrete = {}
        for steps, blob in node.walk(self.node):
            into = found
            for step in steps[:-1]:
                into = into.setdefault(step, {})
            into[steps[-1]] = self.contents.decode(blob.data)
        return found

    def walk(self, least: int = 0, most: int | None = None) -> Iterator[tuple[Steps, Kind]]:
        """Yield (path, what it is) of what is `least` to `most` steps below the root, a directory before what is in it, by name."""
        waiting: list[tuple[Steps, node.Entry]] = [((), self.node)]
        while waiting:
            steps, entry = waiting.pop()
            directory = isinstance(entry, Node)
            if len(steps) >= least:
                yield steps, "node" if directory else "contents"
            if isinstance(entry, Node) and (most is None or len(steps) < most):
                waiting += [((*steps, step), child) for step, child in reversed(entry.list())]

    def stats(self) -> Stats:
        """Return how large it is."""
        directories = values = depth = width = 0
        waiting: list[tuple[int, node.Entry]] = [(0, self.node)]
        while waiting:
            down, entry = waiting.pop()
            depth = max(depth, down)
            if isinstance(entry, Node):
                directories, width = directories + 1, max(width, len(entry))
                waiting += [(down + 1, child) for _, child in entry.children.items()]
            else:
                values += 1
        return Stats(directories, values, depth, width)

    def find(self, path: Path) -> Any:
        """Return the value at a path; None where there is none, or a directory."""
        entry = node.find(self.node, steps_of(path))
        return self.contents.decode(entry.data) if isinstance(entry, Blob) else None

    def get(self, path: Path) -> Any:
        """Return the value at a path; raises StoreError where there is none."""
        value = self.find(path)
        if value is None:
            raise StoreError(f"no value at {shown(steps_of(path))}")
        return value

    def kind(self, path: Path = ()) -> Literal["contents", "node"] | None:
        """Return what is at a path, None for nothing."""
        entry = node.find(self.node, steps_of(path))
        return None if entry is None else "contents" if isinstance(entry, Blob) else "node"

    def list(self, path: Path = (), offset: int = 0, most: int | None = None) -> Listing:
        """Return (name, what it is) of the entries at a path, by name; a page of them from `offset` on."""
        entry = node.find(self.node, steps_of(path))
        found = entry.list() if isinstance(entry, Node) else []
        return [(step, "contents" if isinstance(each, Blob) else "node") for step, each in found[offset : None if most is None else offset + most]]

    def set(self, path: Path, value: Any) -> Tree:
        """Return the tree with a value at a path, in place of whatever was there; raises PathError for the root."""
        steps = steps_of(path)
        if not steps:
            raise PathError("the root is a directory: a value needs a path of one step at least")
        return Tree(self.contents, node.put(self.node, steps, _blob(node.find(self.node, steps), self.contents.encode(value))))

    def remove(self, path: Path) -> Tree:
        """Return the tree without what is at a path, a directory with all that is in it."""
        return Tree(self.contents, node.remove(self.node, steps_of(path)))

    def sub(self, path: Path) -> Tree:
        """Return the directory at a path; empty where there is none."""
        entry = node.find(self.node, steps_of(path))
        return Tree(self.contents, entry if isinstance(entry, Node) else EMPTY)

    def put(self, path: Path, tree: Tree) -> Tree:
        """Return the tree with another in place of what is at a path."""
        steps = steps_of(path)
        if not steps:
            return tree
        return Tree(self.contents, node.put(self.node, steps, tree.node) if not tree.node.empty else node.remove(self.node, steps))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield (path, value) in order."""
        for steps, blob in node.walk(self.node):
            yield "/".join(steps), self.contents.decode(blob.data)

    def diff(self, other: Tree) -> Changes:
        """Return what `other` has otherwise."""
        decode = self.contents.decode
        return [
            Change(steps, None if old is None else decode(old.data), None if new is None else decode(new.data))
            for steps, old, new in node.changes(self.node, other.node)
        ]

    def merge(self, old: Tree, theirs: Tree) -> Tree | Conflicts:
        """Return both sides' changes since `old` in one tree, or the conflicts."""
        merged, conflicts = merge_trees(self.contents, old.node, self.node, theirs.node)
        return conflicts or Tree(self.contents, merged)

    @property
    def hash(self) -> str:
        """The name Git gives the tree: 40 hexadecimal digits."""
        return self.node.name.hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and (self.node is other.node or self.node.name == other.node.name)

    def __hash__(self) -> int:
        return hash(self.node.name)

    def __repr__(self) -> str:
        rows: Lines = []
        for path, value in self.items():
            if len(rows) == LINES:
                rows.append("…")
                break
            rows.append(f"{path} = {value!r}")
        return "\n".join(rows) or "empty"


def _blob(there: object, data: bytes) -> Blob:
    """Keep the object that is there when it has the same bytes."""
    return there if isinstance(there, Blob) and there.data == data else Blob(data)
