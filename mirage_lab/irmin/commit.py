"""commit: a tree, the commits it came from, and who made it, when and why; and what can be asked of a history.

A commit made of changes (`Commit.changing`) has its tree made when someone looks at it: who only goes on from it need not wait.

A commit's generation is one more than the largest of its parents': whoever is handled in the order of generations has all
its descendants handled before it.  Commits made here know theirs; those that are only stored learn it by one walk.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, Final, Protocol

from mirage_lab.irmin import objects
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.node import EMPTY, Blob, Node, edit, find
from mirage_lab.irmin.objects import Info
from mirage_lab.irmin.path import Steps

__all__ = ["Changes", "Commit", "History", "ancestors", "common_ancestors", "history", "is_ancestor", "last_modified"]

Changes = list[tuple[Steps, Blob | None]]
"""What is at a path from then on (None: nothing, and nothing below), one after another."""
OURS: Final = 1
THEIRS: Final = 2
STALE: Final = 4


class History(Protocol):
    """Brings commits by name; the same name brings the same object.  Raises ObjectError."""

    def parts(self, name: bytes) -> tuple[Node, tuple[Commit, ...], Info, bytes]:
        """Return the tree, the parents, the info and the whole body of a stored commit."""


class Commit:
    """One moment of a store."""

    __slots__ = ("__weakref__", "_body", "_generation", "_info", "_name", "_parents", "_root", "home")

    def __init__(self, root: Node | None, parents: tuple[Commit, ...], info: Info | None, name: bytes | None = None, reader: History | None = None) -> None:
        self._root: Any = root if root is not None else reader
        self._parents = parents
        self._info = info
        self._name = name
        self.home: object = reader
        self._body: bytes | None = None
        self._generation = -1 if reader is not None else 1 + max((parent.generation for parent in parents), default=-1)

    @classmethod
    def changing(cls, changes: Changes, parents: tuple[Commit, ...], info: Info, name: bytes | None = None) -> Commit:
        """Make a commit whose tree is the first parent's with changes."""
        made = cls(EMPTY, parents, info, name)
        made._root = changes
        return made

    @property
    def changes(self) -> Changes | None:
        """What makes its tree of the first parent's; None when it has its tree.  Not to be changed."""
        return self._root if type(self._root) is list else None

    def _make(self) -> None:
        """Make the tree, and those that it comes from."""
        waiting = [self]
        while (parents := waiting[-1]._parents) and type(parents[0]._root) is list:
            waiting.append(parents[0])
        root = parents[0].root if parents else EMPTY
        for commit in reversed(waiting):
            commit._root = root = edit(root, commit._root)

    def _load(self) -> None:
        if self._info is None:
            assert self._name is not None
            self._root, self._parents, self._info, body = self._root.parts(self._name)
            self.take_body(body)

    def take_body(self, body: bytes) -> None:
        """Keep what others wrote otherwise than we would: an address, a time zone, a signature."""
        assert self._info is not None
        if self._plain(self._info) != body:
            self._body = body

    def _plain(self, info: Info) -> bytes:
        return objects.encode_commit(self.root.name, (parent.name for parent in self._parents), info)

    @property
    def foreign(self) -> bytes | None:
        """The body, where it is not what we would write."""
        self._load()
        return self._body

    def stored(self, reader: History) -> None:
        """Keep only the name: the commit is stored now, and read again when it is looked at."""
        _ = self.name
        self._root, self._parents, self._info, self._body, self.home = reader, (), None, None, reader

    @property
    def root(self) -> Node:
        """The tree."""
        self._load()
        if type(self._root) is list:
            self._make()
        root: Node = self._root
        return root

    @property
    def parents(self) -> tuple[Commit, ...]:
        """The commits this one came from, the branch's own first."""
        self._load()
        return self._parents

    @property
    def info(self) -> Info:
        """Who, when and why."""
        self._load()
        assert self._info is not None
        return self._info

    @property
    def generation(self) -> int:
        """The length of the longest way to a commit without parents."""
        if self._generation < 0:
            self._learn()
        return self._generation

    def _learn(self) -> None:
        waiting = [self]
        while waiting:
            commit = waiting[-1]
            unknown = [parent for parent in commit.parents if parent._generation < 0]
            if unknown:
                waiting += unknown
                continue
            commit._generation = 1 + max((parent._generation for parent in commit.parents), default=-1)
            waiting.pop()

    @property
    def name(self) -> bytes:
        """The name Git gives it: 20 bytes.  Names every ancestor that has none yet."""
        if self._name is None:
            waiting = [self]
            while waiting:
                commit = waiting[-1]
                unnamed = [parent for parent in commit.parents if parent._name is None]
                if unnamed:
                    waiting += unnamed
                    continue
                if commit._name is None:
                    commit._name = objects.name_of(objects.COMMIT, commit.body)
                waiting.pop()
        assert self._name is not None
        return self._name

    @property
    def known(self) -> bytes | None:
        """The name, if it was worked out before."""
        return self._name

    @property
    def body(self) -> bytes:
        """The commit as Git writes it."""
        self._load()
        return self._body if self._body is not None else self._plain(self.info)

    def same(self, other: Commit) -> bool:
        """True for one commit, also when it is held by two objects that both have a name by now."""
        return self is other or (self._name is not None and self._name == other._name)

    def __repr__(self) -> str:
        return f"<Commit {self.name.hex()[:7]} {self.info.message.partition(chr(10))[0][:60]!r}>"


def common_ancestors(ours: Commit, theirs: Commit, max_depth: int | None = None) -> list[Commit]:
    """Return the lowest common ancestors: those that are no ancestors of another common one; two when histories cross.

    Raises StoreError when a way of more than `max_depth` generations would have to be gone back.
    """
    if ours.same(theirs):
        return [ours]
    order = count()
    flags: dict[Commit, int] = {ours: OURS, theirs: THEIRS}
    heap = [(-commit.generation, next(order), commit) for commit in (ours, theirs)]
    heapq.heapify(heap)
    floor = 0 if max_depth is None else max(ours.generation, theirs.generation) - max_depth
    fresh, found = 2, []
    while fresh:
        _, _, commit = heapq.heappop(heap)
        flag = flags[commit]
        if not flag & STALE:
            fresh -= 1
            if commit.generation < floor:
                raise StoreError(f"no common ancestor within {max_depth} generations")
            if flag == OURS | THEIRS:
                found.append(commit)
                flag |= STALE
        for parent in commit.parents:
            there = flags.get(parent)
            if there is None:
                flags[parent] = flag
                heapq.heappush(heap, (-parent.generation, next(order), parent))
                fresh += not flag & STALE
            else:
                flags[parent] = there | flag
                fresh -= bool(flag & STALE and not there & STALE)
    return found


def ancestors(*heads: Commit, most: int | None = None) -> Iterator[Commit]:
    """Yield commits, descendants before ancestors, later dates first among equals; `most` of them at most."""
    seen = set(heads)
    order = count()
    heap = [(-commit.generation, -commit.info.date, next(order), commit) for commit in heads]
    heapq.heapify(heap)
    given = 0
    while heap and (most is None or given < most):
        commit = heapq.heappop(heap)[-1]
        yield commit
        given += 1
        for parent in commit.parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-parent.generation, -parent.info.date, next(order), parent))


def is_ancestor(old: Commit, new: Commit) -> bool:
    """True when `new` is `old`, or came from it."""
    waiting, seen = [new], {new}
    while waiting:
        commit = waiting.pop()
        if commit.same(old):
            return True
        for parent in commit.parents:
            if parent not in seen and parent.generation >= old.generation:
                seen.add(parent)
                waiting.append(parent)
    return False


def history(head: Commit, stop: Iterable[Commit] = (), most: int | None = None) -> list[Commit]:
    """Return the commits that `head` came from, itself first, without those that `stop` came from."""
    left_out = set(ancestors(*stop)) if stop else set()
    found = []
    for commit in ancestors(head):
        if commit not in left_out:
            found.append(commit)
            if len(found) == most:
                break
    return found


def last_modified(head: Commit, steps: Steps, most: int = 1) -> list[Commit]:
    """Return the last `most` commits that changed what is at a path, the newest first."""
    found: list[Commit] = []
    for commit in ancestors(head):
        entry = find(commit.root, steps)
        before = [find(parent.root, steps) for parent in commit.parents]
        changed = all(other is not entry and (other is None or entry is None or other.name != entry.name) for other in before) if before else entry is not None
        if changed:
            found.append(commit)
            if len(found) == most:
                break
    return found
