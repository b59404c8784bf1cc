"""view: a transaction as MirageOS 2.0 had them: what was read and written is recorded, and replayed on what is there by then.

A replay conflicts only if a read would now give another result; what others changed meanwhile and nobody here looked at
does not matter.  That is the difference to a merge of trees: a blind write always goes through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.merge import Conflict
from mirage_lab.irmin.merging import Conflicts
from mirage_lab.irmin.path import Path, Steps, steps_of
from mirage_lab.irmin.store import Store
from mirage_lab.irmin.tree import Tree

__all__ = ["Action", "View"]


@dataclass(frozen=True, slots=True)
class Action:
    """A step of a view: a read or a list with what it gave, a write or a remove with what it put there."""

    kind: Literal["read", "list", "write", "remove"]
    path: Steps
    result: Any = None


class View:
    """Work on a private copy of a branch; `merge_path` replays it there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.actions: list[Action] = []
        self._tree = store.tree()

    @property
    def tree(self) -> Tree:
        """The private copy."""
        return self._tree

    def read(self, path: Path) -> Any:
        """Return the value at a path, None where there is none."""
        steps = steps_of(path)
        value = self._tree.find(steps)
        self.actions.append(Action("read", steps, value))
        return value

    def list(self, path: Path = ()) -> list[str]:
        """Return the names at a path."""
        steps = steps_of(path)
        names = [name for name, _ in self._tree.list(steps)]
        self.actions.append(Action("list", steps, tuple(names)))
        return names

    def write(self, path: Path, value: Any) -> None:
        """Set a value."""
        steps = steps_of(path)
        self._tree = self._tree.set(steps, value)
        self.actions.append(Action("write", steps, value))

    def remove(self, path: Path) -> None:
        """Remove what is at a path."""
        steps = steps_of(path)
        self._tree = self._tree.remove(steps)
        self.actions.append(Action("remove", steps))

    def replay(self, onto: Tree) -> Tree | Conflict:
        """Return `onto` with this view's writes, or the first read that gives another result there."""
        tree = onto
        for action in self.actions:
            match action.kind:
                case "read":
                    now: Any = tree.find(action.path)
                case "list":
                    now = tuple(name for name, _ in tree.list(action.path))
                case "write":
                    tree = tree.set(action.path, action.result)
                    continue
                case "remove":
                    tree = tree.remove(action.path)
                    continue
            if now != action.result:
                return Conflict(f"a {action.kind} would give another result", action.result, action.result, now, action.path)
        return tree

    def merge_path(self, message: str = "", author: str | None = None) -> Commit | Conflicts | None:
        """Replay on the branch as it is now, in one commit; the conflict, and no change, if a read would differ."""
        result = self.replay(self.store.tree())
        return [result] if isinstance(result, Conflict) else self.store.set_tree((), result, message or "merge view to /", author)

    def rebase(self) -> Conflict | None:
        """Take the branch as it is now for the private copy, with this view's writes; None when that went."""
        result = self.replay(self.store.tree())
        if isinstance(result, Conflict):
            return result
        self._tree = result
        return None


