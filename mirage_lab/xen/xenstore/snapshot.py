"""snapshot: the nodes as they were when a transaction began, while others change them.

    now      {path: node}                      what there is
    _was     {path: [(7, old), (9, older)]}    until change 7 it was `old`, from then until change 9 ...

Only what changes while somebody holds a snapshot is kept, and only until nobody does who could ask for it: a store without
open transactions is one dict, and beginning a transaction copies nothing (multiversion concurrency, Reed 1978).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Generic, TypeVar
from weakref import ref

__all__ = ["Snapshot", "Versions"]

T = TypeVar("T")


class Snapshot(Generic[T]):
    """What there was at one moment, by path."""

    __slots__ = ("__weakref__", "_now", "_was", "moment")

    def __init__(self, now: dict[str, T], was: dict[str, list[tuple[int, T | None]]], moment: int) -> None:
        self._now = now
        self._was = was
        self.moment = moment

    def get(self, path: str) -> T | None:
        """Return what there was at a path, or None."""
        was = self._was.get(path)
        if was is not None:
            for until, entry in was:
                if until > self.moment:
                    return entry
        return self._now.get(path)


class Versions(Generic[T]):
    """What there is, by path, and what whoever holds a snapshot may still ask for."""

    __slots__ = ("_changes", "_held", "_moment", "_was", "now")

    def __init__(self) -> None:
        self.now: dict[str, T] = {}
        """What there is.  Changed by `put` and `clear` alone."""
        self._was: dict[str, list[tuple[int, T | None]]] = {}
        self._changes: deque[tuple[int, str]] = deque()
        self._held: deque[ref[Snapshot[T]]] = deque()
        self._moment = 0

    @property
    def kept(self) -> int:
        """How many of the changes are kept for somebody."""
        return len(self._changes)

    def snapshot(self) -> Snapshot[T]:
        """Return what there is, to be asked for as long as the caller holds it."""
        self._let_go()
        found = Snapshot(self.now, self._was, self._moment)
        self._moment += 1
        self._held.append(ref(found))
        return found

    def put(self, entries: Mapping[str, T | None]) -> None:
        """Have something else at these paths, or (None) nothing."""
        now = self.now
        if self._held and self._held[0]() is None:
            self._let_go()
        if self._held:
            moment, kept = self._moment, self._was
            for path in entries:
                was = kept.get(path)
                if was is None:
                    kept[path] = [(moment, now.get(path))]
                elif was[-1][0] == moment:
                    continue
                else:
                    was.append((moment, now.get(path)))
                self._changes.append((moment, path))
        for path, entry in entries.items():
            if entry is None:
                now.pop(path, None)
            else:
                now[path] = entry

    def clear(self) -> None:
        """Begin with nothing; snapshots stay what they are."""
        self.now, self._was = {}, {}
        self._changes.clear()
        self._held.clear()

    def _let_go(self) -> None:
        """Forget what nobody can ask for any more."""
        held, changes = self._held, self._changes
        while held and held[0]() is None:
            held.popleft()
        oldest = held[0]() if held else None
        moment = self._moment if oldest is None else oldest.moment
        while changes and changes[0][0] <= moment:
            path = changes.popleft()[1]
            was = self._was[path]
            if len(was) == 1:
                del self._was[path]
            else:
                del was[0]
