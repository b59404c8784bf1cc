"""node: values under paths, immutable: a change makes a new root and shares everything beside the path to what changed.

    Node  children by name: a dict, or a `Wide` map when there are many        Blob  bytes

Two trees that share a node share the object, so `is` answers most questions without a hash.  A hash is worked out when it
is asked for, once, and is the name Git gives the same tree.  Where an object is only stored, its node or blob is shallow: a
name and the reader that brings it when it is looked at.  There are no empty directories but the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from mirage_lab.irmin import objects
from mirage_lab.irmin.objects import NOTHING, Kept
from mirage_lab.irmin.path import Steps
from mirage_lab.irmin.wide import Wide

__all__ = ["EMPTY", "Blob", "Entry", "Node", "Reader", "changes", "edit", "find", "put", "remove", "walk"]

WIDE: Final = 64
"""Children from which on a directory is a Wide map."""
NARROW: Final = 48
"""Children at which a Wide map is a dict again."""


class Reader(Protocol):
    """Brings objects by name; raises ObjectError when one is not there or not what its name says."""

    def blob(self, name: bytes) -> bytes:
        """Return the bytes of a blob."""

    def children(self, name: bytes) -> tuple[dict[str, Entry] | Wide[Entry], Kept]:
        """Return the children of a tree, shallow, and what Git alone knows of it."""


class Blob:
    """Bytes at a path."""

    __slots__ = ("_data", "_name", "home")

    def __init__(self, data: bytes | None, name: bytes | None = None, reader: Reader | None = None) -> None:
        self._data: bytes | Reader | None = data if data is not None else reader
        self._name = name
        self.home: object = reader

    @property
    def data(self) -> bytes:
        """The bytes; a shallow blob reads them."""
        data = self._data
        if type(data) is bytes:
            return data
        assert data is not None and self._name is not None
        self._data = read = data.blob(self._name)  # type: ignore[union-attr]
        return read

    @property
    def name(self) -> bytes:
        """The name Git gives it: 20 bytes."""
        if self._name is None:
            self._name = objects.name_of(objects.BLOB, self.data)
        return self._name

    def __repr__(self) -> str:
        return f"<Blob {self.name.hex()[:7]}>"


class Node:
    """A directory."""

    __slots__ = ("_children", "_kept", "_name", "home")

    def __init__(
        self, children: dict[str, Entry] | Wide[Entry] | None, name: bytes | None = None, reader: Reader | None = None, kept: Kept = NOTHING
    ) -> None:
        self._children: Any = children if children is not None else reader
        self._kept = kept
        self._name = name
        self.home: object = reader

    @property
    def children(self) -> dict[str, Entry] | Wide[Entry]:
        """Entries by name; a shallow node reads them.  Not to be changed."""
        found = self._children
        if type(found) is dict or type(found) is Wide:
            return found
        read: dict[str, Entry] | Wide[Entry]
        read, self._kept = found.children(self._name)
        self._children = read
        return read

    @property
    def kept(self) -> Kept:
        """What Git alone knows of it: programs, links, submodules.  Not to be changed."""
        _ = self.children
        return self._kept

    @property
    def empty(self) -> bool:
        """True when there is nothing in it, links and submodules included."""
        return not self.children and not any(name for _, name in self._kept.values())

    def __len__(self) -> int:
        return len(self.children)

    def get(self, step: str) -> Entry | None:
        """Return the entry of that name, or None."""
        return self.children.get(step)

    def list(self) -> Rows:
        """Return (name, entry) in the order of names."""
        return sorted(self.children.items(), key=_first)

    def put(self, step: str, entry: Entry) -> Node:
        """Return the directory with an entry more, or another in its place."""
        children = self.children
        if type(children) is dict:
            if children.get(step) is entry:
                return self
            copied = children.copy()
            copied[step] = entry
            return Node(copied if len(copied) <= WIDE else Wide.of(copied.items()), None, None, self._beside(step, entry))
        if children.get(step) is entry:
            return self
        return Node(children.put(step, entry), None, None, self._beside(step, entry))  # type: ignore[union-attr]

    def _beside(self, step: str, entry: Entry | None) -> Kept:
        """What is kept when there is another entry of a name: a program stays one, a link gives way."""
        kept = self._kept
        if not kept or step not in kept or (type(entry) is Blob and not kept[step][1]):
            return kept
        return {name: row for name, row in kept.items() if name != step}

    def without(self, step: str) -> Node:
        """Return the directory without an entry; itself when there is none of that name."""
        children = self.children
        if children.get(step) is None:
            return self
        if type(children) is dict:
            copied = children.copy()
            del copied[step]
            left = Node(copied, None, None, self._beside(step, None))
            return left if copied or not left.empty else EMPTY
        fewer = children.without(step)  # type: ignore[union-attr]
        return Node(dict(fewer.items()) if len(fewer) <= NARROW else fewer, None, None, self._beside(step, None))

    def own(self) -> Node:
        """Return a copy that nobody else has, for `become`."""
        children = self.children
        return Node(children.copy() if type(children) is dict else children, None, None, self._kept)

    def become(self, step: str, entry: Entry | None) -> None:
        """Have an entry more, or another in its place, or (None) one less: a directory that nobody else has, and that has no name yet."""
        children = self._children
        if type(children) is dict:
            if entry is None:
                del children[step]
            else:
                children[step] = entry
                if len(children) > WIDE:
                    self._children = Wide.of(children.items())
        else:
            fewer = children.without(step) if entry is None else children.put(step, entry)
            self._children = dict(fewer.items()) if len(fewer) <= NARROW else fewer
        if self._kept:
            self._kept = self._beside(step, entry)

    @property
    def name(self) -> bytes:
        """The name Git gives the tree: 20 bytes."""
        if self._name is None:
            _ = self.body
        assert self._name is not None
        return self._name

    @property
    def known(self) -> bytes | None:
        """The name, if it was worked out before."""
        return self._name

    @property
    def body(self) -> bytes:
        """The tree as Git writes it."""
        body = objects.encode_tree([(step, type(entry) is Node, entry.name) for step, entry in self.children.items()], self._kept)
        self.named(body)
        return body

    def named(self, body: bytes) -> bytes:
        """Return its name; `body` is the tree as Git writes it, for whoever had it already."""
        if self._name is None:
            self._name = objects.name_of(objects.TREE, body)
        return self._name

    def __repr__(self) -> str:
        return f"<Node {self.name.hex()[:7]}, {len(self)} entries>"


Entry = Blob | Node
Rows = list[tuple[str, Entry]]
EMPTY: Final = Node({})


def _first(pair: tuple[str, Entry]) -> str:
    return pair[0]


def find(root: Node, steps: Steps) -> Entry | None:
    """Return what is at a path, or None."""
    entry: Entry | None = root
    for step in steps:
        if type(entry) is not Node:
            return None
        entry = entry.children.get(step)
    return entry


def put(root: Node, steps: Steps, entry: Entry) -> Node:
    """Return the tree with `entry` at a path that is not the root; a value on the way there makes room, as in Git."""
    above: list[Node] = []
    node = root
    for step in steps[:-1]:
        above.append(node)
        below = node.children.get(step)
        node = below if type(below) is Node else EMPTY
    new = node.put(steps[-1], entry)
    if new is node:
        return root
    for at in range(len(above) - 1, -1, -1):
        new = above[at].put(steps[at], new)
    return new


def remove(root: Node, steps: Steps) -> Node:
    """Return the tree without what is at a path; directories that become empty go too."""
    if not steps:
        return EMPTY
    above: list[Node] = []
    node = root
    for step in steps[:-1]:
        above.append(node)
        below = node.children.get(step)
        if type(below) is not Node:
            return root
        node = below
    new = node.without(steps[-1])
    if new is node:
        return root
    for at in range(len(above) - 1, -1, -1):
        new = above[at].without(steps[at]) if new.empty else above[at].put(steps[at], new)
    return new


def edit(root: Node, edits: Iterable[tuple[Steps, Entry | None]]) -> Node:
    """Return what `put` and (None) `remove`, one after another, make of a tree; what several change is copied once."""
    copies: dict[int, Node] = {}

    def own(node: Node) -> Node:
        if id(node) in copies:
            return node
        copied = node.own()
        copies[id(copied)] = copied
        return copied

    for steps, entry in edits:
        if not steps or (entry is None and find(root, steps) is None):
            root = root if steps else EMPTY
            continue
        root = node = own(root)
        above = []
        for step in steps[:-1]:
            there = node.children.get(step)
            below = own(there if type(there) is Node else EMPTY)
            if below is not there:
                node.become(step, below)
            above.append((node, step))
            node = below
        node.become(steps[-1], entry)
        while entry is None and node.empty and above:
            node, step = above.pop()
            node.become(step, None)
        root = EMPTY if root.empty else root
    return root


def walk(entry: Entry, steps: Steps = ()) -> Iterator[tuple[Steps, Blob]]:
    """Yield every value below with its path, in order."""
    if isinstance(entry, Blob):
        yield steps, entry
        return
    for step, child in entry.list():
        yield from walk(child, (*steps, step))


def changes(before: Entry | None, after: Entry | None, steps: Steps = ()) -> Iterator[tuple[Steps, Blob | None, Blob | None]]:
    """Yield (path, old value, new value) where two trees differ, in the order of paths; what is shared costs nothing."""
    if before is after or (before is not None and after is not None and _same(before, after)):
        return
    old = before if isinstance(before, Blob) else None
    new = after if isinstance(after, Blob) else None
    if old is not None or new is not None:
        yield steps, old, new
    one = before if isinstance(before, Node) else EMPTY
    two = after if isinstance(after, Node) else EMPTY
    for step in sorted(changed_steps(one, two)):
        yield from changes(one.children.get(step), two.children.get(step), (*steps, step))


def changed_steps(one: Node, two: Node) -> set[str]:
    """Return the names whose entry is not the very same object in both."""
    mine, theirs = one.children, two.children
    if type(mine) is dict and type(theirs) is dict:
        return {step for step, _ in mine.items() ^ theirs.items()}
    if type(mine) is Wide and type(theirs) is Wide:
        return set(mine.changed(theirs))
    return {step for step, _ in dict(mine.items()).items() ^ dict(theirs.items()).items()}


def _same(one: Entry, two: Entry) -> bool:
    """True when two objects that are not one are equal: blobs by their bytes, nodes if both are named already."""
    if type(one) is Blob and type(two) is Blob:
        if one._name is not None and two._name is not None:
            return one._name == two._name
        return one.data == two.data
    if type(one) is Node and type(two) is Node:
        return one.known is not None and one.known == two.known
    return False
