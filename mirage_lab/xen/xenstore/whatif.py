"""whatif: the store as it was, as it might be, and back: branches of its history.

    main      o──o──o──o──o───────o  merge: what only the branch changed is changed in the running store, by dom0
                  \\               /
    what-if        o──o──────────o

To go back is to change everything that has changed since: watches fire for each difference, and the history goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.irmin import BYTES, StoreError
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.merge import Conflict
from mirage_lab.irmin.merging import base_of, merge_trees
from mirage_lab.irmin.node import Blob
from mirage_lab.irmin.node import find as find_entry
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.history import change_root, decode_entry, entries_of, of_steps, steps_of
from mirage_lab.xen.xenstore.sessions import BRANCH
from mirage_lab.xen.xenstore.store import Perms, absolute

if TYPE_CHECKING:
    from mirage_lab.xen.xenstore.daemon import Daemon

__all__ = ["begin", "commit_of", "drop", "merge", "restore", "write"]

Entries = dict[str, tuple[bytes, Perms]]
DOM0: Perms = ((0, "n"),)


def commit_of(daemon: Daemon, name: str) -> Commit:
    """Return the commit whose name begins so (four hexadecimal digits at least), or the head of a branch; raises StoreError."""
    repo = daemon.history.repo
    if name in repo.heads:
        return repo.heads[name]
    if len(name) >= 4:
        waiting, seen = list(repo.heads.values()), set()
        while waiting:
            commit = waiting.pop()
            if commit in seen:
                continue
            seen.add(commit)
            if commit.name.hex().startswith(name):
                return commit
            waiting += commit.parents
    raise StoreError(f"{name!r} is no commit and no branch of this store; lab.xenstore.log() lists them")


def begin(daemon: Daemon, name: str, at: str) -> str:
    """Make a branch at a commit, or put it there again; return the commit's name.  Raises StoreError."""
    if name in ("main", BRANCH):
        raise StoreError(f"the branch {name} is xenstored's own: choose another name")
    commit = commit_of(daemon, at or "main")
    daemon.history.repo.branch(name).set_head(commit)
    return commit.name.hex()


def drop(daemon: Daemon, name: str) -> None:
    """Forget a branch."""
    if name in ("main", BRANCH):
        raise StoreError(f"the branch {name} is xenstored's own")
    daemon.history.repo.branch(name).set_head(None)


def write(daemon: Daemon, name: str, path: str, value: bytes | None) -> None:
    """Set a value on a branch (None: remove it and what is below); nobody else sees it.  Raises StoreError."""
    repo = daemon.history.repo
    head = repo.heads.get(name)
    if head is None or name in ("main", BRANCH):
        raise StoreError(f"there is no branch {name!r} to try things on: lab.xenstore.branch({name!r}) makes it")
    path = absolute(path, 0)
    before = find_entry(head.root, steps_of(path, "value"))
    perms = DOM0
    if isinstance(before, Blob):
        perms = decode_entry(before.data)[1]
    told = f"rm {path}" if value is None else f"write {path}"
    root = change_root(head.root, path, None if value is None else (value, perms))
    repo.branch(name).set_head(Commit(root, (head,), repo.info(f"what if: {told}", "what-if")))


def merge(daemon: Daemon, name: str) -> list[Conflict]:
    """Do in the running store what was done on a branch; return the conflicts, with paths of the store: then nothing was done."""
    history = daemon.history
    theirs, ours = history.repo.heads.get(name), history.head
    if theirs is None or ours is None:
        raise StoreError(f"there is no branch {name!r}")
    root, conflicts = merge_trees(BYTES, base_of(BYTES, ours, theirs), ours.root, theirs.root)
    if conflicts:
        return [_spoken(conflict) for conflict in conflicts]
    _become(daemon, entries_of(Commit(root, (), ours.info)), theirs)
    return []


def restore(daemon: Daemon, name: str) -> int:
    """Go back to a commit; return how many nodes were changed.  Raises StoreError."""
    return _become(daemon, entries_of(commit_of(daemon, name)), None)


def _spoken(conflict: Conflict) -> Conflict:
    return Conflict(conflict.why, conflict.ancestor, conflict.ours, conflict.theirs, (of_steps(conflict.path),))


def _become(daemon: Daemon, wanted: Entries, other: Commit | None) -> int:
    """Make the store what it is to be, as one commit of dom0 (a merge with `other`); watches fire."""
    store = daemon.store
    gone = [path for path in sorted(store.nodes) if path not in wanted and path != "/"]
    tops = [path for path in gone if path.rpartition("/")[0] not in set(gone)]
    changed = 0
    with daemon.acting_as(Domid(0), other):
        for path in tops:
            store.rm(path)
        for path in sorted(wanted):
            value, perms = wanted[path]
            node = store.nodes.get(path)
            if node is None or node.value != value:
                store.write(path, value)
                changed += 1
            if store.nodes[path].perms != perms:
                store.set_perms(path, perms)
    return changed + len(gone)
