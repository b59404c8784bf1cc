"""Transaction: a view on top of the store as it was when it began, that keeps its changes to itself until it commits.

What is a conflict, and ends with EAGAIN, is the engine's to say; three are there to be compared:

    irmin    the operations are replayed on the store as it is by then; a conflict only if one would now be answered otherwise
    naive    something it looked at, parents of what it made included, has changed in any way (as the C xenstored)
    serial   anything at all has changed

Then the changes are carried out on the store, one after the other, and only then do watches fire.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, Literal

from mirage_lab.xen.abi import errno
from mirage_lab.xen.xenstore.store import ENTRIES, Node, Perms, Store, StoreError, View

__all__ = ["ENGINES", "OPERATIONS", "Engine", "Transaction"]

OPERATIONS: Final = 1_024
NODES: Final = 1_024
"""Nodes a guest may look at in one transaction."""
QUESTIONS: Final = 4_096
"""Operations of a guest in one transaction, questions included: they are asked again at its end."""

Engine = Literal["irmin", "naive", "serial"]
ENGINES: Final[tuple[Engine, ...]] = ("irmin", "naive", "serial")


class Transaction(View):
    """One transaction of one domain."""

    def __init__(self, store: Store, tid: int, domid: int, engine: Engine = "irmin") -> None:
        super().__init__(lambda op, path, removed: None)
        self.tid = tid
        self.domid = domid
        self.engine = engine
        self._store = store
        self._before = store.nodes
        self._started = store.version
        self._changes: dict[str, Node | None] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._log: list[tuple[str, tuple[Any, ...], Any]] = []
        self._changed_so_far = 0
        self._owned: dict[int, int] = {}
        self._generation = 1 << 62

    @property
    def log(self) -> list[tuple[str, tuple[Any, ...], Any]]:
        """What was done in it: operation, arguments, answer (None for a change that was made)."""
        return self._log

    @classmethod
    def revived(cls, store: Store, tid: int, domid: int, engine: Engine, log: list[tuple[str, tuple[Any, ...], Any]]) -> Transaction:
        """Return a transaction that was open when xenstored was killed: what was changed in it is changed again, for now only there."""
        found = cls(store, tid, domid, engine)
        for name, args, answer in log:
            if answer is None:
                with contextlib.suppress(StoreError):  # its end will find that it does not hold any more
                    getattr(found, name)(*args)
        found._log = log
        found._started = -1
        found._seen = {"/": (-1, -1)}  # nobody knows what has changed of what it saw
        return found

    def _get(self, path: str, *, listing: bool = False) -> Node | None:
        if path in self._changes:
            return self._changes[path]
        node = self._before.get(path)
        if path not in self._seen:
            if self.domid and len(self._seen) >= NODES:
                raise StoreError(errno.ENOSPC, f"more than {NODES} nodes in one transaction")
            self._seen[path] = _generations(node)
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

    # operations, each noted with its answer ------------------------------------------------------------------------

    def _noted(self, name: str, act: Callable[..., Any], *args: Any) -> Any:
        if self.domid and len(self._log) >= QUESTIONS:
            raise StoreError(errno.ENOSPC, f"more than {QUESTIONS} operations in one transaction")
        try:
            answer = act(*args)
        except StoreError as error:
            self._log.append((name, args, error.name))
            raise
        self._log.append((name, args, answer))
        return answer

    def _ready(self) -> None:
        if self._changed_so_far >= OPERATIONS:
            raise StoreError(errno.ENOSPC, f"more than {OPERATIONS} changes in one transaction")
        self._changed_so_far += 1

    def exists(self, path: str, domid: int = 0) -> bool:
        """True if the domain can read a node there."""
        found: bool = self._noted("exists", super().exists, path, domid)
        return found

    def read(self, path: str, domid: int = 0) -> bytes:
        """Return a value."""
        value: bytes = self._noted("read", super().read, path, domid)
        return value

    def directory(self, path: str, domid: int = 0) -> list[str]:
        """Return the names of the children."""
        names: list[str] = self._noted("directory", super().directory, path, domid)
        return names

    def get_perms(self, path: str, domid: int = 0) -> Perms:
        """Return the permissions."""
        perms: Perms = self._noted("get_perms", super().get_perms, path, domid)
        return perms

    def write(self, path: str, value: bytes, domid: int = 0) -> None:
        """Write, for now only here."""
        self._ready()
        self._noted("write", super().write, path, value, domid)

    def mkdir(self, path: str, domid: int = 0) -> None:
        """Make a node, for now only here."""
        self._ready()
        self._noted("mkdir", super().mkdir, path, domid)

    def rm(self, path: str, domid: int = 0) -> None:
        """Remove, for now only here."""
        self._ready()
        self._noted("rm", super().rm, path, domid)

    def set_perms(self, path: str, perms: Perms, domid: int = 0) -> None:
        """Set permissions, for now only here."""
        self._ready()
        self._noted("set_perms", super().set_perms, path, perms, domid)

    # the end -------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Carry out on the store what was done here, all of it or nothing.

        Raises StoreError EAGAIN on a conflict, ENOSPC when the domain has come to own too much meanwhile.
        """
        if self._store.version != self._started:
            self._validate()
        if self.domid and self._owned.get(self.domid, 0) > 0:
            self._room(self.domid, 0)
        self._store.committing = True
        try:
            for name, args, answer in self._log:
                if answer is None:
                    getattr(self._store, name)(*args)
        finally:
            self._store.committing = False

    def _validate(self) -> None:
        """Raise EAGAIN if what was answered here does not hold on the store as it is now."""
        match self.engine:
            case "serial":
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: the store has changed meanwhile")
            case "naive":
                for path, generations in self._seen.items():
                    if _generations(self._store.nodes.get(path)) != generations:
                        raise StoreError(errno.EAGAIN, f"transaction {self.tid}: {path} changed meanwhile")
            case "irmin":
                self._replay()

    def _replay(self) -> None:
        again = Transaction(self._store, self.tid, self.domid)
        for name, args, answer in self._log:
            try:
                now = getattr(again, name)(*args)
            except StoreError as error:
                if error.name == "ENOSPC" and answer is None:
                    raise
                now = error.name
            if now != answer:
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: {name} {args[0]} would be answered otherwise now")


def _generations(node: Node | None) -> tuple[int, int]:
    return (0, 0) if node is None else (node.generation, node.children_generation)
