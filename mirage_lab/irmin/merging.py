"""merging: two trees that came from one, made one again; and the ancestor to compare with when histories have crossed.

Entry by entry (old, ours, theirs): what only one side changed is that side's; two directories are merged inside; two values
go to the merge of the contents type; anything else is a conflict.  All conflicts are told, not only the first.
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.irmin.commit import Commit, common_ancestors
from mirage_lab.irmin.contents import Contents
from mirage_lab.irmin.merge import Conflict
from mirage_lab.irmin.node import EMPTY, Blob, Entry, Node, changed_steps
from mirage_lab.irmin.objects import Info, Kept
from mirage_lab.irmin.path import Steps

__all__ = ["Conflicts", "base_of", "merge_trees"]

MOST: Final = 1_000
"""Conflicts told."""
CROSSED: Final = 100
"""Crossings in a row that are merged to compare with; beyond them one of the ancestors has to do."""

Conflicts = list[Conflict]


def merge_trees(contents: Contents[Any], old: Node, ours: Node, theirs: Node) -> tuple[Node, Conflicts]:
    """Return the merged tree and the conflicts; where there is one, the tree has what `old` has there."""
    conflicts: Conflicts = []
    merged = _nodes(contents, old, ours, theirs, (), conflicts)
    return merged, conflicts


def _nodes(contents: Contents[Any], old: Node, ours: Node, theirs: Node, path: Steps, conflicts: Conflicts) -> Node:
    if ours is theirs or theirs is old:
        return ours
    if ours is old:
        return theirs
    if old.known is not None and (old.known in (ours.known, theirs.known)):
        return theirs if ours.known == old.known else ours
    mine, others = changed_steps(old, ours), changed_steps(old, theirs)
    result = ours if len(others) <= len(mine) else theirs
    into = theirs if result is ours else ours
    for step in sorted(others if result is ours else mine):
        before, one, two = old.children.get(step), ours.children.get(step), theirs.children.get(step)
        if (step in mine) != (step in others):
            entry: Entry | None = into.children.get(step)
        else:
            entry = _entry(contents, before, one, two, (*path, step), conflicts)
        if entry is None or (type(entry) is Node and entry.empty):
            result = result.without(step)
        else:
            result = result.put(step, entry)
    if ours.kept or theirs.kept:
        result = Node(result.children, None, None, _kept(old.kept, ours.kept, theirs.kept, result))
    return result


def _kept(old: Kept, ours: Kept, theirs: Kept, result: Node) -> Kept:
    """What Git alone knows, of who has changed it; of both, ours."""
    found = {}
    for step in sorted({*ours, *theirs}):
        row = theirs.get(step) if ours.get(step) == old.get(step) else ours.get(step)
        there = result.children.get(step)
        if row is not None and (type(there) is Blob if not row[1] else there is None):
            found[step] = row
    return found


def _entry(contents: Contents[Any], old: Entry | None, ours: Entry | None, theirs: Entry | None, path: Steps, conflicts: Conflicts) -> Entry | None:
    if ours is theirs:
        return ours
    if ours is not None and theirs is not None:
        if type(ours) is Node and type(theirs) is Node:
            return _nodes(contents, old if type(old) is Node else EMPTY, ours, theirs, path, conflicts)
        if type(ours) is Blob and type(theirs) is Blob:
            return _values(contents, old if type(old) is Blob else None, ours, theirs, path, conflicts)
    if _equal(old, ours):
        return theirs
    if _equal(old, theirs):
        return ours
    side = ours if theirs is None else theirs
    if ours is None or theirs is None:
        if type(old) is Node and type(side) is Node:
            return _nodes(contents, old, ours if type(ours) is Node else EMPTY, theirs if type(theirs) is Node else EMPTY, path, conflicts)
        why = "one side removed what the other changed"
    else:
        why = "a value on one side, a directory on the other"
    return _conflict(conflicts, Conflict(why, _told(contents, old), _told(contents, ours), _told(contents, theirs), path), old)


def _values(contents: Contents[Any], old: Blob | None, ours: Blob, theirs: Blob, path: Steps, conflicts: Conflicts) -> Entry | None:
    was = None if old is None else old.data
    if ours.data == was:
        return theirs
    if theirs.data == was or (ours.data == theirs.data and not contents.twice):
        return ours
    merged = contents.merged(was, ours.data, theirs.data)
    return _conflict(conflicts, merged.at(path), old) if isinstance(merged, Conflict) else Blob(merged)


def _conflict(conflicts: Conflicts, conflict: Conflict, old: Entry | None) -> Entry | None:
    if len(conflicts) < MOST:
        conflicts.append(conflict)
    return old


def _equal(one: Entry | None, other: Entry | None) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and one is not None and other is not None and one.name == other.name


def _told(contents: Contents[Any], entry: Entry | None) -> Any:
    return contents.decode(entry.data) if isinstance(entry, Blob) else entry


def base_of(contents: Contents[Any], ours: Commit, theirs: Commit, max_depth: int | None = None, crossed: int = 0) -> Node:
    """Return the tree to compare with: that of the common ancestor; of several, their merge (without what conflicts in it)."""
    found = common_ancestors(ours, theirs, max_depth)
    if not found:
        return EMPTY
    virtual = found[0]
    for other in found[1:] if crossed < CROSSED else ():
        before = base_of(contents, virtual, other, max_depth, crossed + 1)
        tree, _ = merge_trees(contents, before, virtual.root, other.root)
        virtual = Commit(tree, (virtual, other), Info(0, "", ""))
    return virtual.root
