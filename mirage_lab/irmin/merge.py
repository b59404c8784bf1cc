"""merge: what becomes of a value that two sides have changed: `merge(old, ours, theirs)` is a value or a `Conflict`.

`old` is None when the common ancestor had no value.  The first three rules hold for every type (Irmin's default merge):

    ours == theirs  ->  ours         theirs == old  ->  ours         ours == old  ->  theirs

A combinator makes a merge of merges: `option`, `pair`, `mapping`, `first_of`, `via`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from mirage_lab.irmin.path import Steps, shown

__all__ = ["Conflict", "Merge", "counter", "default", "first_of", "idempotent", "latest", "mapping", "option", "pair", "sets", "via"]

_NOTHING: Final = object()
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sides that cannot be one: where, what the ancestor had and what each side has (None: nothing), and why."""

    why: str
    ancestor: Any = None
    ours: Any = None
    theirs: Any = None
    path: Steps = ()

    def at(self, path: Steps) -> Conflict:
        """Return the conflict with its path."""
        return replace(self, path=path)

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.why}: was {self.ancestor!r}, ours {self.ours!r}, theirs {self.theirs!r}"


Merge = Callable[[Any, Any, Any], Any]
"""(old or None, ours, theirs) -> value or Conflict."""


def default(old: Any, ours: Any, theirs: Any) -> Any:
    """Take the side that changed; both changed is a conflict."""
    if ours == theirs or theirs == old:
        return ours
    if ours == old:
        return theirs
    return Conflict("both sides changed it", old, ours, theirs)


def idempotent(old: Any, ours: Any, theirs: Any) -> Any:
    """Both sides made the same change, or it is a conflict."""
    return ours if ours == theirs else Conflict("the sides differ", old, ours, theirs)


def counter(old: int | None, ours: int, theirs: int) -> int:
    """Add what each side added: old + (ours - old) + (theirs - old)."""
    return ours + theirs - (old or 0)


def sets(old: frozenset[Any] | None, ours: frozenset[Any], theirs: frozenset[Any]) -> frozenset[Any]:
    """Keep what a side added, drop what a side removed."""
    before: frozenset[Any] = old if old is not None else frozenset()
    return (ours & theirs) | (ours - before) | (theirs - before)


def latest(old: Any, ours: tuple[int, Any], theirs: tuple[int, Any]) -> tuple[int, Any]:
    """Of two (time, value) the later; at the same time the larger value."""
    return max(ours, theirs)


def option(inner: Merge) -> Merge:
    """A merge of values that may be absent (None): a side that removes what the other changes is a conflict."""

    def merge(old: Any, ours: Any, theirs: Any) -> Any:
        if ours == theirs or theirs == old:
            return ours
        if ours == old:
            return theirs
        if ours is None or theirs is None:
            return Conflict("one side removed what the other changed", old, ours, theirs)
        return inner(old, ours, theirs)

    return merge


def pair(first: Merge, second: Merge) -> Merge:
    """A merge of pairs, each half on its own."""

    def merge(old: Any, ours: Any, theirs: Any) -> Any:
        halves = []
        for at, inner in enumerate((first, second)):
            half = inner(None if old is None else old[at], ours[at], theirs[at])
            if isinstance(half, Conflict):
                return half
            halves.append(half)
        return tuple(halves)

    return merge


def mapping(inner: Merge) -> Merge:
    """A merge of dictionaries, key by key; a key that one side removed and the other changed is a conflict."""

    def merge(old: Mapping[str, Any] | None, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Any:
        before: Mapping[str, Any] = old or {}
        merged = {}
        for key in sorted({*ours, *theirs}, key=str):
            was, one, two = before.get(key, _NOTHING), ours.get(key, _NOTHING), theirs.get(key, _NOTHING)
            if one is _NOTHING or two is _NOTHING:
                there = two if one is _NOTHING else one
                if was is _NOTHING:
                    merged[key] = there
                elif there != was:
                    return Conflict(f"key {key!r}: one side removed what the other changed", old, ours, theirs)
                continue
            value = inner(None if was is _NOTHING else was, one, two)
            if isinstance(value, Conflict):
                return Conflict(f"key {key!r}: {value.why}", old, ours, theirs)
            merged[key] = value
        return merged

    return merge


def first_of(*merges: Merge) -> Merge:
    """Try each; the first that is no conflict wins."""

    def merge(old: Any, ours: Any, theirs: Any) -> Any:
        result: Any = Conflict("no merge was given", old, ours, theirs)
        for inner in merges:
            result = inner(old, ours, theirs)
            if not isinstance(result, Conflict):
                break
        return result

    return merge


def via(there: Callable[[S], T], back: Callable[[T], S], inner: Merge) -> Merge:
    """A merge through another type: `there` and `back` lead to it and home."""

    def merge(old: Any, ours: Any, theirs: Any) -> Any:
        result = inner(None if old is None else there(old), there(ours), there(theirs))
        return result if isinstance(result, Conflict) else back(result)

    return merge
