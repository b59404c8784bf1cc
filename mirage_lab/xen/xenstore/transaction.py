"""Transaction: a view on top of the store that keeps its changes to itself until it commits.

It remembers what it looked at, with the generations then: a node it read, a list of children it took.  If one of them has
changed when it ends, the commit is refused with EAGAIN and the client tries again; otherwise its operations are carried
out on the store, one after the other, and only then do watches fire.
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.xen.abi import errno
from mirage_lab.xen.xenstore.store import ENTRIES, Node, Perms, Store, StoreError, View

__all__ = ["OPERATIONS", "Transaction"]

OPERATIONS: Final = 1_024
NODES: Final = 1_024
"""Nodes a guest may look at in one transaction."""


class Transaction(View):
    """One transaction of one domain."""

    def __init__(self, store: Store, tid: int, domid: int) -> None:
        super().__init__(lambda op, path, removed: None)
        self.tid = tid
        self.domid = domid
        self._store = store
        self._changes: dict[str, Node | None] = {}
        self._seen: dict[str, int] = {}
        self._listed: dict[str, int] = {}
        self._log: list[tuple[str, str, Any]] = []
        self._owned: dict[int, int] = {}
        self._generation = 1 << 62

    def _get(self, path: str, *, listing: bool = False) -> Node | None:
        if path in self._changes:
            return self._changes[path]
        node = self._store.nodes.get(path)
        if path not in self._seen:
            if self.domid and len(self._seen) >= NODES:
                raise StoreError(errno.ENOSPC, f"more than {NODES} nodes in one transaction")
            self._seen[path] = node.generation if node is not None else 0
        if listing and node is not None:
            self._listed.setdefault(path, node.children_generation)
        return node

    def _put(self, path: str, node: Node | None) -> None:
        self._changes[path] = node

    def _next(self) -> int:
        self._generation += 1
        return self._generation

    def _count(self, owner: int, step: int) -> None:
        self._owned[owner] = self._owned.get(owner, 0) + step

    def _room(self, owner: int, more: int) -> None:
        owned = self._store.owned.get(owner, 0) + self._owned.get(owner, 0)
        if owned + more > ENTRIES:
            raise StoreError(errno.ENOSPC, f"domain {owner} owns {owned} nodes; {ENTRIES} are allowed")

    def directory(self, path: str, domid: int = 0) -> list[str]:
        """Return the names of the children; a later change of the list is a conflict, even of a node changed here."""
        base = self._store.nodes.get(path)
        if base is not None:
            self._listed.setdefault(path, base.children_generation)
        return super().directory(path, domid)

    def _ready(self) -> None:
        if len(self._log) >= OPERATIONS:
            raise StoreError(errno.ENOSPC, f"more than {OPERATIONS} changes in one transaction")

    def write(self, path: str, value: bytes, domid: int = 0) -> None:
        """Write, for now only here."""
        self._ready()
        super().write(path, value, domid)
        self._log.append(("write", path, value))

    def mkdir(self, path: str, domid: int = 0) -> None:
        """Make a node, for now only here."""
        self._ready()
        super().mkdir(path, domid)
        self._log.append(("mkdir", path, None))

    def rm(self, path: str, domid: int = 0) -> None:
        """Remove, for now only here."""
        self._ready()
        super().rm(path, domid)
        self._log.append(("rm", path, None))

    def set_perms(self, path: str, perms: Perms, domid: int = 0) -> None:
        """Set permissions, for now only here."""
        self._ready()
        super().set_perms(path, perms, domid)
        self._log.append(("set_perms", path, perms))

    def commit(self) -> None:
        """Carry out on the store what was done here, all of it or nothing.

        Raises StoreError EAGAIN on a conflict, ENOSPC when the domain has come to own too much meanwhile.
        """
        nodes = self._store.nodes
        for path, generation in self._seen.items():
            node = nodes.get(path)
            if (node.generation if node is not None else 0) != generation:
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: {path} changed meanwhile")
        for path, generation in self._listed.items():
            node = nodes.get(path)
            if node is None or node.children_generation != generation:
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: the children of {path} changed meanwhile")
        if self.domid and self._owned.get(self.domid, 0) > 0:
            self._room(self.domid, 0)
        self._store.committing = True
        try:
            self._carry_out(self._store)
        finally:
            self._store.committing = False

    def _carry_out(self, store: Store) -> None:
        for op, path, value in self._log:
            if op == "write":
                store.write(path, value, self.domid)
            elif op == "mkdir":
                store.mkdir(path, self.domid)
            elif op == "rm":
                store.rm(path, self.domid)
            else:
                store.set_perms(path, value, self.domid)
