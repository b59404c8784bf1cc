"""watch: being told when a branch, or what is at a path of it, has changed.

A watcher that raises does not keep the others from being told, nor the branch from moving: what it raised is kept for
whoever asks (`Watches.trouble`, the last ones).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.contents import Contents
from mirage_lab.irmin.node import EMPTY, Entry, Node, find
from mirage_lab.irmin.path import Steps
from mirage_lab.irmin.tree import Change, Tree

__all__ = ["Moved", "Watch", "Watches"]


@dataclass(frozen=True, slots=True)
class Moved:
    """A branch has moved from a commit (None: there was none) to another (None: it is gone); changes are those at the path."""

    branch: str
    before: Commit | None
    after: Commit | None
    changes: tuple[Change, ...]


class Watch:
    """A watch that is on until `stop` is called."""

    __slots__ = ("_watches", "branch", "contents", "path", "told")

    def __init__(self, watches: Watches, branch: str, path: Steps, contents: Contents[Any], told: Callable[[Moved], None]) -> None:
        self._watches = watches
        self.branch = branch
        self.path = path
        self.contents = contents
        self.told = told

    def stop(self) -> None:
        """Be told no more."""
        self._watches.drop(self)


class Watches:
    """The watches of a repository, told in the order they were set."""

    def __init__(self) -> None:
        self._all: list[Watch] = []
        self.trouble: deque[Exception] = deque(maxlen=20)

    @property
    def any(self) -> bool:
        """True when someone watches."""
        return bool(self._all)

    def add(self, branch: str, path: Steps, contents: Contents[Any], told: Callable[[Moved], None]) -> Watch:
        """Set a watch."""
        watch = Watch(self, branch, path, contents, told)
        self._all.append(watch)
        return watch

    def drop(self, watch: Watch) -> None:
        """Take a watch away."""
        if watch in self._all:
            self._all.remove(watch)

    def tell(self, branch: str, before: Commit | None, after: Commit | None) -> None:
        """Tell who watches what has changed."""
        for watch in tuple(self._all):
            if watch.branch != branch or watch not in self._all:
                continue
            old, new = _at(before, watch.path), _at(after, watch.path)
            if old is new:
                continue
            changes = Tree(watch.contents, _wrapped(old)).diff(Tree(watch.contents, _wrapped(new)))
            if not changes:
                continue
            told = tuple(Change(watch.path + change.path[1:], change.before, change.after) for change in changes)
            try:
                watch.told(Moved(branch, before, after, told))
            except Exception as error:
                self.trouble.append(error)


def _at(commit: Commit | None, path: Steps) -> Entry | None:
    return None if commit is None else find(commit.root, path)


def _wrapped(entry: Entry | None) -> Node:
    """A directory with what is at the path as its only entry, so that a value and a directory are compared alike."""
    return EMPTY if entry is None else Node({"*": entry})
